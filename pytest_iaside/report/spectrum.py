"""Whether the user's own images are such that SRC's prior holds: their spectrum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pytest_iaside.images.reference import ReferenceSample

IMAGES = 32  # of the sample: a spectrum's shape needs no more, and every image takes a while
POINTS = 32
# The exponent of the power law from which on images count as natural ones, which have about 2;
# white noise has 0.
NATURAL = 1.0
EMPTY: Mapping[str, Any] = MappingProxyType({})


def spectrum_facts(
    sample: ReferenceSample, perturbations: Mapping[str, Callable[[ReferenceSample], Any]] = EMPTY
) -> dict[str, Any]:
    """The energy spectral density of the first images, at frequencies that are evenly spaced
    in their logarithm, and its power law (SPEC.md 1.8).

    Of each of ``perturbations``, which makes perturbed images of a sample, also the ratio of the
    images' energy to its own in dB, at 10 % of their energy.
    """
    # Here, where a model has run: the controller of xdist's workers draws reports without torch.
    from pytest_iaside.images.density import energy_spectral_density, power_law_exponent

    some = sample.take(range(min(IMAGES, len(sample))))
    pixels = some.pixels()
    radius, density = energy_spectral_density(pixels)
    exponent = power_law_exponent(radius, density)
    places = np.unique(np.geomspace(1, max(len(radius) - 1, 1), POINTS).round().astype(int))
    places = places[places < len(radius)]
    return {
        "images": len(pixels),
        "frequencies": (radius[places] / min(sample.shape[1:])).tolist(),
        "density": density[places].tolist(),
        "exponent": exponent if np.isfinite(exponent) else None,
        "natural": bool(exponent >= NATURAL),
        "snr": [
            {"perturbation": name, "decibel": _snr(some, perturb(some))[places].tolist()}
            for name, perturb in perturbations.items()
        ],
    }


def _snr(sample: ReferenceSample, perturbed: Any) -> NDArray[np.float64]:
    from pytest_iaside.images.density import spectral_snr

    pixels = sample.pixels()
    # Some corruptions leave some images as they are, as fog does a white one.
    moved = (pixels != perturbed).flatten(1).any(dim=1)
    _, decibel = spectral_snr(pixels[moved], perturbed[moved])
    return decibel


def spectrum_sentence(facts: dict[str, Any]) -> str:
    """What the spectrum means for the score."""
    if facts["exponent"] is None:
        return "The images hold no energy besides their means: no spectrum can be told."
    law = f"Energy falls with frequency as f^−{facts['exponent']:.2f}".replace("^−-", "^+")
    if facts["natural"]:
        return (
            f"{law} (natural images: about f^−2): what the images show lies at low frequencies, "
            "as the score takes for granted."
        )
    return (
        f"{law}, natural images as about f^−2: these images show much at high frequencies. The "
        "score takes for granted that they do not, so go by the bands and v(all), not by SRC."
    )

"""Whether the user's own images are such that SRC's prior holds: their spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pytest_iaside.data.reference import ReferenceSample

IMAGES = 32  # of the sample: a spectrum's shape needs no more, and every image takes a while
POINTS = 32
# The exponent of the power law from which on images count as natural ones, which have about 2;
# white noise has 0.
NATURAL = 1.0


def spectrum_facts(sample: ReferenceSample) -> dict[str, Any]:
    """The energy spectral density of the first images, at frequencies that are evenly spaced
    in their logarithm, and its power law (SPEC.md 1.8)."""
    # Here, where a model has run: the controller of xdist's workers draws reports without torch.
    from pytest_iaside.spectrum.density import energy_spectral_density, power_law_exponent

    pixels = sample.pixels(0, IMAGES)
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
    }


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

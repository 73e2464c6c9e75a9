"""The spectrum of the user's own images: whether it is what SRC takes for granted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.report.charts.spectra import snr_chart, spectrum_chart
from pytest_iaside.report.figures import Figure, Table
from pytest_iaside.report.numbers import NONE, finite, finite_list, fixed
from pytest_iaside.report.record import SpectrumRecord

if TYPE_CHECKING:
    from pytest_iaside.images.reference import ReferenceSample

IMAGES = 32  # of the sample: enough for the shape of a spectrum, and every image takes a while
POINTS = 32
# The least exponent of the power law of natural images: they have about 2, white noise has 0.
NATURAL = 1.0
EMPTY: Mapping[str, Any] = MappingProxyType({})


def spectrum_record(
    sample: ReferenceSample, perturbations: Mapping[str, Callable[[ReferenceSample], Any]] = EMPTY
) -> SpectrumRecord:
    """The energy spectral density of the first images, and its power law (SPEC.md 1.8).

    The logarithms of its frequencies are evenly spaced. Each of ``perturbations`` makes perturbed
    images of a sample: the record tells the ratio of the images' energy to the perturbation's, in
    dB, where the perturbation is scaled to 10 % of their energy.
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


def spectrum_sentence(record: SpectrumRecord) -> str:
    """What the spectrum means for the score."""
    if record["exponent"] is None:
        return "The images hold no energy besides their means: no spectrum can be told."
    law = f"Energy falls with frequency as f^−{record['exponent']:.2f}".replace("^−-", "^+")
    if record["natural"]:
        return (
            f"{law} (natural images: about f^−2): what the images show lies at low frequencies, "
            "as the score takes for granted."
        )
    return (
        f"{law}, natural images as about f^−2: these images show much at high frequencies. The "
        "score takes for granted that they do not, so go by the bands and v(all), not by SRC."
    )


def spectrum_figures(record: SpectrumRecord, ident: str) -> list[Figure]:
    """Energy by frequency, and before it the perturbations' share where there are any."""
    frequencies, density = record["frequencies"], finite_list(record["density"])
    rows = [
        [fixed(frequency, 4), NONE if value is None else f"{value:.3g}"]
        for frequency, value in zip(frequencies, density, strict=True)
    ]
    energy = Figure(
        "Spectrum of the images",
        f"{spectrum_sentence(record)} Measured on {record['images']} images of the reference "
        "sample.",
        Table(("cycles/pixel", "mean energy"), rows),
        spectrum_chart(f"{ident}-spectrum", frequencies, density, finite(record["exponent"])),
    )
    if not record["snr"]:
        return [energy]
    curves = {each["perturbation"]: finite_list(each["decibel"]) for each in record["snr"]}
    rows = [
        [fixed(frequency, 4), *(fixed(curve[at], 1) for curve in curves.values())]
        for at, frequency in enumerate(frequencies)
    ]
    perturbed = Figure(
        "Where the perturbations lie",
        "Energy of the images over that of each perturbation, which is scaled to 10 % of theirs: "
        "a perturbation lies where its line is low. Measured on "
        f"{record['images']} images; attacks are left out, as they depend on the model.",
        Table(("cycles/pixel", *curves), rows),
        snr_chart(f"{ident}-snr", frequencies, curves),
    )
    return [perturbed, energy]

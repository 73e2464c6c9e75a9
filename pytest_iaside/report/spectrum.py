"""The spectrum of the user's own images: whether it is what SRC takes for granted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, log10
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.svg import LEFT, RIGHT, Scale, value_axis
from pytest_iaside.report.figures import Figure, Table
from pytest_iaside.report.numbers import NONE, finite, finite_list, fixed
from pytest_iaside.report.record import SnrRecord, SpectrumRecord

if TYPE_CHECKING:
    from pytest_iaside.images.reference import ReferenceSample

IMAGES = 32  # of the sample: enough for the shape of a spectrum, and every image takes a while
POINTS = 32
# The least exponent of the power law of natural images: they have about 2, white noise has 0.
NATURAL = 1.0
Values = Sequence[float | None]
TOP, BOTTOM = 20.0, 150.0
DASHES = 6  # strokes that the style sheet tells apart
LINE = 13.0


def spectrum_record(
    sample: ReferenceSample,
    perturbations: Mapping[str, Callable[[ReferenceSample], Any]] | None = None,
) -> SpectrumRecord:
    """The energy spectral density of the first images, and its power law (SPEC.md 1.8).

    The logarithms of its frequencies are evenly spaced. Each of ``perturbations`` makes perturbed
    images of a sample: the record tells the ratio of the images' energy to the perturbation's, in
    dB, where the perturbation is scaled to 10 % of their energy.
    """
    # Here, where a model has run: the controller of xdist's workers draws reports without torch.
    from pytest_iaside.images import density as spectra

    some = sample.take(range(min(IMAGES, len(sample))))
    pixels = some.pixels()
    radius, density = spectra.energy_spectral_density(pixels)
    exponent = spectra.power_law_exponent(radius, density)
    places = np.unique(np.geomspace(1, max(len(radius) - 1, 1), POINTS).round().astype(int))
    places = places[places < len(radius)]
    snr: list[SnrRecord] = []
    for name, perturb in (perturbations or {}).items():
        perturbed = perturb(some)
        # Some corruptions leave some images as they are, as fog does a white one.
        moved = (pixels != perturbed).flatten(1).any(dim=1)
        _, decibel = spectra.spectral_snr(pixels[moved], perturbed[moved])
        snr.append({"perturbation": name, "decibel": decibel[places].tolist()})
    return {
        "images": len(pixels),
        "frequencies": (radius[places] / min(sample.shape[1:])).tolist(),
        "density": density[places].tolist(),
        "exponent": exponent if np.isfinite(exponent) else None,
        "natural": bool(exponent >= NATURAL),
        "snr": snr,
    }


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
    names = [fixed(frequency, 4) for frequency in frequencies]
    shown = [NONE if value is None else f"{value:.3g}" for value in density]
    energy = Figure(
        "Spectrum of the images",
        f"{spectrum_sentence(record)} Measured on {record['images']} images of the reference "
        "sample.",
        Table(("cycles/pixel", "mean energy"), zip(names, shown, strict=True)),
        _spectrum_chart(f"{ident}-spectrum", frequencies, density, finite(record["exponent"])),
    )
    if not record["snr"]:
        return [energy]
    curves = {each["perturbation"]: finite_list(each["decibel"]) for each in record["snr"]}
    columns = [[fixed(value, 1) for value in curve] for curve in curves.values()]
    perturbed = Figure(
        "Where the perturbations lie",
        "Energy of the images over that of each perturbation, which is scaled to 10 % of theirs: "
        "a perturbation lies where its line is low. Measured on "
        f"{record['images']} images; attacks are left out, as they depend on the model.",
        Table(("cycles/pixel", *curves), zip(names, *columns, strict=True)),
        _snr_chart(f"{ident}-snr", frequencies, curves),
    )
    return [perturbed, energy]


def _spectrum_chart(
    ident: str, frequencies: Sequence[float], density: Values, exponent: float | None
) -> Markup:
    """Energy at each frequency, itself on a logarithmic scale, and the power law that fits best."""
    points = [
        (log10(f), log10(d)) for f, d in zip(frequencies, density, strict=True) if d and d > 0
    ]
    heights = [y for _, y in points]
    up = Scale(min(heights, default=-1.0) - 0.3, max(heights, default=0.0) + 0.3, BOTTOM, TOP)
    across, parts = _frequency_axis(frequencies)
    parts.append(svg.text(2, TOP - 8, "mean energy", "note", "start"))
    ticks = list(range(ceil(up.low), floor(up.high) + 1))
    ticks = ticks[:: max(1, len(ticks) // 5)]
    parts.append(svg.strokes([(LEFT, up(tick), RIGHT - LEFT, 0) for tick in ticks], "grid"))
    for tick in ticks:
        told = f"{10.0**tick:g}" if abs(tick) <= 2 else f"1e{tick}".replace("-", "−")
        parts.append(svg.text(LEFT - 5, up(tick) + 3.5, told, "", "end"))
    if exponent is not None and points:
        # The line of least squares goes through the points' mean.
        x, y = np.mean(points, axis=0).tolist()
        ends = [(at, y - exponent * (at - x)) for at in (points[0][0], points[-1][0])]
        inside = [(across(at), up(up.clip(value))) for at, value in ends]
        parts.append(svg.polyline(inside, "path baseline"))
    parts += [svg.diamond(across(x), up(y), "mark candidate") for x, y in points]
    law = "no power law" if exponent is None else f"falls as f^−{fixed(exponent, 2)}"
    description = f"{len(points)} frequencies from {frequencies[0]:.3g} to 0.5 cycles/pixel; {law}."
    return svg.document(ident, "Energy by frequency", description, BOTTOM + 36, parts)


def _snr_chart(ident: str, frequencies: Sequence[float], curves: Mapping[str, Values]) -> Markup:
    """A curve of decibels for each perturbation, by its name."""
    known = [value for curve in curves.values() for value in curve if value is not None]
    up = Scale(*svg.domain(known), BOTTOM, TOP)
    across, parts = _frequency_axis(frequencies)
    parts += value_axis(up, "SNR in dB")
    told = []
    y = BOTTOM + 44
    for number, (name, curve) in enumerate(curves.items()):
        css = f"path series-{number % DASHES}"
        points = [
            (f, value) for f, value in zip(frequencies, curve, strict=True) if value is not None
        ]
        parts.append(svg.polyline([(across(log10(f)), up(value)) for f, value in points], css))
        parts.append(svg.polyline([(LEFT, y - 3.5), (LEFT + 26, y - 3.5)], css))
        parts.append(svg.text(LEFT + 32, y, name, "", "start"))
        y += LINE
        if points:
            frequency, value = min(points, key=itemgetter(1))
            told.append(f"{name} {fixed(value, 0)} dB at {frequency:.3g}")
    description = f"Least SNR of each perturbation, at cycles/pixel: {'; '.join(told)}."
    return svg.document(ident, "SNR by frequency", description, y, parts)


def _frequency_axis(frequencies: Sequence[float]) -> tuple[Scale, list[str]]:
    """The scale of the logarithms of ``frequencies``, and its axis."""
    across = Scale(log10(frequencies[0]) - 0.05, log10(0.5), LEFT, RIGHT)
    parts = [svg.line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis")]
    for place in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
        if across.covers(log10(place)):
            parts.append(svg.text(across(log10(place)), BOTTOM + 14, f"{place:g}"))
    parts.append(svg.text(across.end, BOTTOM + 29, "cycles/pixel", "note", "end"))
    return across, parts

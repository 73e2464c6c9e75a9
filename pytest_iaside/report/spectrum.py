"""The spectrum of the user's own images: whether it is what SRC takes for granted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, log10
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.svg import LEFT, RIGHT, Scale, value_axis
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
Values = Sequence[float | None]
TOP, BOTTOM = 20.0, 150.0
DASHES = 6  # strokes that the style sheet tells apart
LINE = 13.0


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


def spectrum_chart(
    ident: str, frequencies: Sequence[float], density: Values, exponent: float | None
) -> Markup:
    """Energy at each frequency, itself on a logarithmic scale, and the power law that fits best."""
    points = [
        (log10(f), log10(d)) for f, d in zip(frequencies, density, strict=True) if d and d > 0
    ]
    low, high = min((y for _, y in points), default=-1.0), max((y for _, y in points), default=0.0)
    up = Scale(low - 0.3, high + 0.3, BOTTOM, TOP)
    parts = [svg.text(2, TOP - 8, "mean energy", "note", "start")]
    ticks = list(range(ceil(up.low), floor(up.high) + 1))
    ticks = ticks[:: max(1, len(ticks) // 5)]
    parts.append(svg.strokes([(LEFT, up(tick), RIGHT - LEFT, 0) for tick in ticks], "grid"))
    parts += [svg.text(LEFT - 5, up(t) + 3.5, _power(t), "", "end") for t in ticks]
    across, axis = _frequency_axis(frequencies)
    parts += axis
    if exponent is not None and points:
        # The line of least squares goes through the points' mean.
        x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
        ends = [(at, y - exponent * (at - x)) for at in (points[0][0], points[-1][0])]
        inside = [(across(at), up(up.clip(value))) for at, value in ends]
        parts.append(svg.polyline(inside, "path baseline"))
    parts += [svg.diamond(across(x), up(y), "mark candidate") for x, y in points]
    law = "no power law" if exponent is None else f"falls as f^−{fixed(exponent, 2)}"
    description = f"{len(points)} frequencies from {frequencies[0]:.3g} to 0.5 cycles/pixel; {law}."
    return svg.document(ident, "Energy by frequency", description, BOTTOM + 36, parts)


def snr_chart(ident: str, frequencies: Sequence[float], curves: Mapping[str, Values]) -> Markup:
    """A curve of decibels for each perturbation, by its name."""
    known = [value for curve in curves.values() for value in curve if value is not None]
    up = Scale(*svg.domain(known), BOTTOM, TOP)
    across, axis = _frequency_axis(frequencies)
    parts = [*value_axis(up, "SNR in dB"), *axis]
    told = []
    for number, (name, curve) in enumerate(curves.items()):
        css = f"path series-{number % DASHES}"
        points = [
            (value, frequency)
            for frequency, value in zip(frequencies, curve, strict=True)
            if value is not None
        ]
        parts.append(svg.polyline([(across(log10(f)), up(value)) for value, f in points], css))
        y = BOTTOM + 44 + number * LINE
        parts.append(svg.polyline([(LEFT, y - 3.5), (LEFT + 26, y - 3.5)], css))
        parts.append(svg.text(LEFT + 32, y, name, "", "start"))
        if points:
            value, frequency = min(points)
            told.append(f"{name} {fixed(value, 0)} dB at {frequency:.3g}")
    description = f"Least SNR of each perturbation, at cycles/pixel: {'; '.join(told)}."
    height = BOTTOM + 44 + len(curves) * LINE
    return svg.document(ident, "SNR by frequency", description, height, parts)


def _frequency_axis(frequencies: Sequence[float]) -> tuple[Scale, list[str]]:
    """The scale of the logarithms of ``frequencies``, and its axis."""
    across = Scale(log10(frequencies[0]) - 0.05, log10(0.5), LEFT, RIGHT)
    parts = [svg.line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis")]
    for place in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
        if across.covers(log10(place)):
            parts.append(svg.text(across(log10(place)), BOTTOM + 14, f"{place:g}"))
    parts.append(svg.text(across.end, BOTTOM + 29, "cycles/pixel", "note", "end"))
    return across, parts


def _power(exponent: int) -> str:
    return f"1e{exponent}".replace("-", "−") if abs(exponent) > 2 else f"{10.0**exponent:g}"

"""Charts over frequency on a logarithmic scale: the images' energy, and what perturbs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10

from markupsafe import Markup

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.svg import LEFT, RIGHT, Scale, value_axis
from pytest_iaside.report.numbers import fixed

Values = Sequence[float | None]
TOP, BOTTOM = 20.0, 150.0
DASHES = 6  # strokes that the style sheet tells apart
LINE = 13.0


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

"""The spectrum of the images, and of what perturbs them, as figures."""

from __future__ import annotations

from math import log10
from typing import Any

from markupsafe import Markup

from pytest_iaside.report.charts import gate as charts
from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.gate import LEFT, RIGHT, TOP
from pytest_iaside.report.charts.svg import Scale
from pytest_iaside.report.figures import Figure
from pytest_iaside.report.numbers import NONE, finite, finite_list, fixed
from pytest_iaside.report.spectrum import spectrum_sentence
from pytest_iaside.report.tables import Table, plain_row

DASHES = 6  # strokes that the style sheet tells apart
LINE = 13.0


def spectrum_figure(ident: str, facts: dict[str, Any]) -> Figure:
    """Energy by frequency, with its power law."""
    density = finite_list(facts["density"])
    chart = charts.spectrum_chart(ident, facts["frequencies"], density, facts["exponent"])
    rows = [
        plain_row(fixed(frequency, 4), NONE if value is None else f"{value:.3g}")
        for frequency, value in zip(facts["frequencies"], density, strict=True)
    ]
    return Figure(
        "Spectrum of the images",
        f"{spectrum_sentence(facts)} Measured on {facts['images']} images of the reference sample.",
        Markup(chart),
        Table(("cycles/pixel", "mean energy"), rows),
        marks="",
    )


def snr_figure(ident: str, facts: dict[str, Any]) -> Figure:
    """Where in the spectrum each perturbation lies: SNR in dB at 10 % of the images' energy."""
    curves = {each["perturbation"]: finite_list(each["decibel"]) for each in facts["snr"]}
    rows = [
        plain_row(fixed(frequency, 4), *(fixed(curve[at], 1) for curve in curves.values()))
        for at, frequency in enumerate(facts["frequencies"])
    ]
    return Figure(
        "Where the perturbations lie",
        "Energy of the images over that of each perturbation, which is scaled to 10 % of theirs: "
        f"where a line is low, that perturbation lies. Measured on {facts['images']} images; "
        "attacks are left out, as they depend on the model.",
        Markup(_snr_chart(ident, facts["frequencies"], curves)),
        Table(("cycles/pixel", *curves), rows),
        marks="",
    )


def _snr_chart(ident: str, frequencies: list[float], curves: dict[str, list[float | None]]) -> str:
    bottom = 150.0
    known = [value for curve in curves.values() for value in curve if value is not None]
    up = Scale(*svg.domain(known), bottom, TOP)
    across = Scale(log10(frequencies[0]) - 0.05, log10(0.5), LEFT, RIGHT)
    parts = charts.value_axis(up, "SNR in dB")
    parts.append(svg.line(LEFT, bottom, RIGHT, bottom, "axis"))
    for place in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
        if across.holds(log10(place)):
            parts.append(svg.text(across(log10(place)), bottom + 14, f"{place:g}"))
    parts.append(svg.text(across.end, bottom + 29, "cycles/pixel", "note", "end"))
    for number, (name, curve) in enumerate(curves.items()):
        css = f"path series-{number % DASHES}"
        points = [
            (across(log10(frequency)), up(value))
            for frequency, value in zip(frequencies, curve, strict=True)
            if finite(value) is not None and value is not None
        ]
        parts.append(svg.polyline(points, css))
        y = bottom + 44 + number * LINE
        parts.append(svg.polyline([(LEFT, y - 3.5), (LEFT + 26, y - 3.5)], css))
        parts.append(svg.text(LEFT + 32, y, name, "", "start"))
    lowest = {
        name: min((v, f) for f, v in zip(frequencies, curve, strict=True) if v is not None)
        for name, curve in curves.items()
        if any(value is not None for value in curve)
    }
    told = "; ".join(f"{name} {fixed(v, 0)} dB at {f:.3g}" for name, (v, f) in lowest.items())
    description = f"Least SNR of each perturbation, at cycles/pixel: {told}."
    height = bottom + 44 + len(curves) * LINE
    return svg.document(ident, "SNR by frequency", description, height, parts)

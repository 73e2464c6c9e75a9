"""Figures of checkpoints, drawn from their records: SIDs as a heat map, and scores as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import finite_list, fixed, share, signed
from pytest_iaside.track.charts import Curve, Values, curves_chart, sid_heat_map
from pytest_iaside.track.records import PointRecord, TrendRecord


def trend_figures(record: TrendRecord, ident: str) -> list[Figure]:
    """The SIDs and the scores of the checkpoints that a trend is fitted to."""
    points = record["points"]
    return [
        sid_figure(f"{ident}-sids", "Spectral importance over checkpoints", points),
        scores_figure(
            f"{ident}-scores",
            "Scores over checkpoints",
            "With the intervals of signed SRC over images.",
            [point["step"] for point in points],
            curves_of(points),
            more={"checkpoint": [point["name"] for point in points]},
        ),
    ]


def sid_figure(
    ident: str, title: str, points: Sequence[PointRecord], bands: Sequence[str] = ()
) -> Figure:
    """The SIDs of checkpoints as a heat map, and in numbers; ``bands`` are their frequencies."""
    steps = [point["step"] for point in points]
    shares = np.array([point["sid"] for point in points], dtype=np.float64)
    names = [f"band {band}" for band in range(shares.shape[1])]
    if bands:
        names = [f"{name} ({label})" for name, label in zip(names, bands, strict=True)]
    rows = [
        [str(step), *(fixed(value) for value in one)]
        for step, one in zip(steps, shares, strict=True)
    ]
    return Figure(
        title,
        "The share of importance (SID) of each frequency band, a column for each checkpoint, low "
        "frequencies at the bottom. The more of it lies there, the higher the score.",
        Table(("step", *names), rows),
        sid_heat_map(ident, shares, steps, bands or names),
    )


def scores_figure(
    ident: str,
    title: str,
    about: str,
    steps: Sequence[int],
    curves: Sequence[Curve],
    *,
    interval: str = "CI",
    more: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Quantities of checkpoints as curves, and in numbers; ``more`` are columns of the table."""
    columns = [("step", [str(step) for step in steps])]
    for curve in curves:
        columns.append((curve.name, list(map(curve.form, curve.values))))
        if curve.low:
            bounds = zip(curve.low, curve.high, strict=True)
            columns.append((interval, [interval_text(*each, curve.bound_form) for each in bounds]))
    columns += [(name, list(texts)) for name, texts in (more or {}).items()]
    table = Table([name for name, _ in columns], zip(*(texts for _, texts in columns), strict=True))
    known = [curve for curve in curves if any(value is not None for value in curve.values)]
    return Figure(title, about, table, curves_chart(ident, known, steps))


def curves_of(
    points: Sequence[PointRecord],
    *,
    value_low: Values = (),
    value_high: Values = (),
    hollow: Sequence[bool] = (),
    line: Sequence[float] = (),
) -> list[Curve]:
    """Signed SRC, v(all), accuracy and loss of checkpoints, in this order."""
    # The axes span so much at least, lest rounding errors fill them.
    return [
        Curve(
            "signed SRC",
            finite_list([point["signed_src"] for point in points]),
            finite_list([point["low"] for point in points]),
            finite_list([point["high"] for point in points]),
            bound_form=signed,
            least=0.02,
            hollow=hollow,
            line=line,
        ),
        Curve(
            "v(all), nats",
            [point["value"] for point in points],
            value_low,
            value_high,
            form=_hundredths,
            bound_form=_hundredths,
            least=0.1,
        ),
        Curve("accuracy", [point["accuracy"] for point in points], form=share, least=0.02),
        Curve("loss", [point["loss"] for point in points]),
    ]


def _hundredths(value: float | None) -> str:
    return fixed(value, 2)

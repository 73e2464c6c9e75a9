"""The page of a training run: its SIDs, its scores, and the trend of its last checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.words import confidence
from pytest_iaside.report.figures import Figure, Table, interval_text, settings_table
from pytest_iaside.report.numbers import finite_list, fixed, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.report.record import measurement_record
from pytest_iaside.track.charts import Curve, Values, curves_chart, sid_heat_map
from pytest_iaside.track.history import Point
from pytest_iaside.track.records import PointRecord, TrendRecord, trend_record
from pytest_iaside.track.trend import LAST, unlike


def track_page(
    points: Sequence[Point],
    trend: Comparison | None,
    *,
    level: float,
    last: int = LAST,
    no_trend: str = "",
) -> Page:
    """The page of ``points`` of one run, by step; ``trend`` is that of the ``last`` ones.

    ``no_trend`` says why there is none. Points that were not measured as the last one are left
    out, and the page says so.
    """
    left_out = unlike(points)
    alike = [point for point in points if not unlike([point, points[-1]])]
    profile = points[-1].profile
    recent = alike[-last:] if trend else []
    dashed = " Dashed: the line fitted to the last checkpoints." if trend else ""
    values = [point.profile.interval("value", level) for point in alike]
    structured = [point.profile.structured for point in alike]
    records = trend_record(alike, level)["points"]
    curves = curves_of(
        records,
        value_low=finite_list([each.low for each in values]),
        value_high=finite_list([each.high for each in values]),
        hollow=[not each for each in structured],
        line=_line(recent, trend),
    )
    return Page(
        title="robustness over checkpoints",
        headline=_headline(trend, len(recent), len(alike)),
        about=(
            f"{trend.summary() if trend else no_trend}. Run {points[-1].run}, step "
            f"{alike[0].step} to {alike[-1].step}, each checkpoint measured on {len(profile)} "
            f"images in {profile.rules.bands} bands."
        ),
        warnings=_warnings(alike, trend, left_out),
        figures=[
            sid_figure(
                "sid-heat-map",
                "Spectral importance over checkpoints",
                records,
                profile.partition.labels,
            ),
            scores_figure(
                "score-curves",
                "Scores over checkpoints",
                f"With intervals over images ({confidence(level)}), the same images for every "
                "checkpoint: changes between checkpoints are known better than the intervals "
                f"look.{dashed}",
                [point.step for point in alike],
                curves,
                interval=confidence(level),
                more={
                    "": ["" if each else "unstructured" for each in structured],
                    "checkpoint": [point.name for point in alike],
                },
            ),
        ],
        settings=settings_table({"last checkpoint": measurement_record(profile, level)})[0],
    )


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


def _headline(trend: Comparison | None, recent: int, points: int) -> str:
    if trend is None:
        return f"{points} checkpoints, and no trend"
    words = {"pass": "No decline", "drift": "Decline", "inconclusive": "Undecided"}
    return f"{words[trend.verdict]} over the last {recent} checkpoints of {points}"


def _warnings(
    points: Sequence[Point], trend: Comparison | None, left_out: Sequence[str]
) -> list[str]:
    warnings = list(trend.notes) if trend else []
    if left_out:
        warnings.append(
            f"{len(left_out)} checkpoints are left out, they were not measured as the last one "
            f"(there): {left_out[0]}"
        )
    unstructured = [point.step for point in points if not point.profile.structured]
    if unstructured:
        warnings.append(
            f"{len(unstructured)} checkpoints are unstructured (step {some_steps(unstructured)}): "
            "their ψ cannot be told from noise, and their SID and SRC mean nothing. Their marks "
            "are hollow."
        )
    return warnings


def some_steps(steps: Sequence[int]) -> str:
    """The first few of ``steps``."""
    return ", ".join(map(str, steps[:8])) + ("…" if len(steps) > 8 else "")


def _line(points: Sequence[Point], trend: Comparison | None) -> list[float]:
    """The fitted signed SRC at each of the trend's checkpoints."""
    check = next((c for c in trend.checks if c.name == "src"), None) if trend else None
    if check is None:
        return []
    first, last = points[0].step, points[-1].step
    return [
        check.baseline + check.change * (point.step - first) / (last - first) for point in points
    ]

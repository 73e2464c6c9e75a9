"""The page of a training run: its SIDs, its scores, and the trend of its last checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.figures import Figure
from pytest_iaside.report.numbers import finite, finite_list, fixed, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.report.tables import Table, interval_text, plain_row, settings_table
from pytest_iaside.track.charts import Curve, curves_chart, sid_heat_map
from pytest_iaside.track.history import Point
from pytest_iaside.track.trend import Trend, unlike

# What the axes span at least, lest rounding errors fill them.
LEAST_SCORE, LEAST_NATS, LEAST_ACCURACY = 0.02, 0.1, 0.02


def track_page(
    points: Sequence[Point], trend: Trend | None, *, level: float, no_trend: str = ""
) -> Page:
    """The page of ``points`` of one run, by step; ``no_trend`` says why there is none.

    Those that were not measured as the last one are left out, and said to be.
    """
    left_out = unlike(points)
    alike = [point for point in points if not unlike([point, points[-1]])]
    last = points[-1].profile
    steps = f"step {alike[0].step} to {alike[-1].step}"
    return Page(
        title="robustness over checkpoints",
        headline=_headline(trend, alike),
        about=(
            f"{trend.summary() if trend else no_trend}. Run {points[-1].run}, {steps}, each "
            f"checkpoint measured on {len(last)} images in {last.rules.bands} bands."
        ),
        warnings=_warnings(alike, trend, left_out),
        figures=[_sids(alike), _curves(alike, trend, level)],
        facts=settings_table({"last checkpoint": last.as_dict(level)})[0],
    )


def _headline(trend: Trend | None, points: Sequence[Point]) -> str:
    if trend is None:
        return f"{len(points)} checkpoints, and no trend"
    words = {"pass": "No decline", "drift": "Decline", "inconclusive": "Undecided"}
    over = f"over the last {len(trend.points)} checkpoints"
    return f"{words[trend.verdict]} {over} of {len(points)}"


def _warnings(points: Sequence[Point], trend: Trend | None, left_out: Sequence[str]) -> list[str]:
    warnings = list(trend.notes) if trend else []
    if left_out:
        warnings.append(
            f"{len(left_out)} checkpoints are left out, they were not measured as the last one "
            f"(there): {left_out[0]}"
        )
    unstructured = [point.step for point in points if not point.profile.structured]
    if unstructured:
        shown = ", ".join(map(str, unstructured[:8])) + ("…" if len(unstructured) > 8 else "")
        warnings.append(
            f"{len(unstructured)} checkpoints are unstructured (step {shown}): their ψ cannot be "
            "told from noise, and their SID and SRC mean nothing. Their marks are hollow."
        )
    return warnings


def _sids(points: Sequence[Point]) -> Figure:
    profiles = [point.profile for point in points]
    steps = [point.step for point in points]
    labels = profiles[-1].partition.labels
    shares = np.array([profile.sid for profile in profiles])
    rows = [
        plain_row(str(step), *(fixed(value) for value in one))
        for step, one in zip(steps, shares, strict=True)
    ]
    head = ("step", *(f"band {band} ({label})" for band, label in enumerate(labels)))
    return Figure(
        "Spectral importance over checkpoints",
        "The share of importance (SID) of each frequency band, a column for each checkpoint, low "
        "frequencies at the bottom. The more of it lies there, the higher the score.",
        Markup(sid_heat_map("sid-heat-map", shares, steps, labels)),
        Table(head, rows),
        "",
    )


def _curves(points: Sequence[Point], trend: Trend | None, level: float) -> Figure:
    steps = [point.step for point in points]
    profiles = [point.profile for point in points]
    scores, values = (
        [profile.interval(what, level) for profile in profiles] for what in ("signed_src", "value")
    )
    curves = [
        Curve(
            "signed SRC",
            finite_list([profile.signed_src for profile in profiles]),
            finite_list([each.low for each in scores]),
            finite_list([each.high for each in scores]),
            least=LEAST_SCORE,
            hollow=[not profile.structured for profile in profiles],
            line=_line(trend),
        ),
        Curve(
            "v(all), nats",
            [profile.value for profile in profiles],
            finite_list([each.low for each in values]),
            finite_list([each.high for each in values]),
            digits=2,
            least=LEAST_NATS,
        ),
        Curve("accuracy", [p.accuracy for p in points], least=LEAST_ACCURACY),
        Curve("loss", [point.loss for point in points]),
    ]
    known = [curve for curve in curves if any(value is not None for value in curve.values)]
    interval = confidence(level)
    rows = [
        plain_row(
            str(point.step),
            fixed(point.profile.signed_src),
            interval_text(score.low, score.high, signed),
            fixed(point.profile.value, 2),
            interval_text(value.low, value.high, _nats),
            share(point.accuracy),
            fixed(point.loss),
            "" if point.profile.structured else "unstructured",
            point.name,
        )
        for point, score, value in zip(points, scores, values, strict=True)
    ]
    head = ("step", "signed SRC", interval, "v(all), nats", interval, "accuracy", "loss", "")
    dashed = " Dashed: the line fitted to the last checkpoints." if trend else ""
    return Figure(
        "Scores over checkpoints",
        f"With intervals over images ({interval}), the same images for every checkpoint: changes "
        f"between checkpoints are known better than the intervals look.{dashed}",
        Markup(curves_chart("score-curves", known, steps)),
        Table((*head, "checkpoint"), rows),
        "",
    )


def _line(trend: Trend | None) -> list[float]:
    """The fitted signed SRC at each of the trend's checkpoints."""
    check = next((c for c in trend.checks if c.name == "src"), None) if trend else None
    if trend is None or check is None:
        return []
    first, last = trend.points[0].step, trend.points[-1].step
    return [
        check.baseline + check.change * (point.step - first) / (last - first)
        for point in trend.points
    ]


def _nats(value: Any) -> str:
    return fixed(finite(value), 2)

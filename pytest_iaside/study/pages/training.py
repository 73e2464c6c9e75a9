"""The study of a training run, as a page and as lines."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from pytest_iaside.compare.comparison import confidence
from pytest_iaside.report.charts.band_curves import Line, curves_by_band
from pytest_iaside.report.figures import Figure
from pytest_iaside.report.numbers import finite_list, fixed, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.report.tables import Table, interval_text, plain_row
from pytest_iaside.study.pages.common import COLUMNS, aligned, facts_table
from pytest_iaside.study.training import SETTLED, TrainingStudy
from pytest_iaside.track.charts import Curve, curves_chart, sid_heat_map
from pytest_iaside.track.history import Point

SHOWN = 5  # curves in one chart, lines on a terminal beside the first and the last


def page(study: TrainingStudy) -> Page:
    """The page of ``study``."""
    last = study.points[-1].profile
    return Page(
        title="SIDs over training",
        headline=sentence(study),
        about=(
            f"Run {study.run}: {len(study.points)} checkpoints, step {study.points[0].step} to "
            f"{study.points[-1].step}, each measured on the same {len(last)} images. Changes are "
            f"paired by image, with {confidence(study.level)}."
        ),
        warnings=_warnings(study),
        figures=[_heat_map(study), _curves(study), _scores(study), _changes(study)],
        facts=facts_table(last, study.level),
    )


def lines(study: TrainingStudy) -> list[str]:
    """The main table for a terminal, at most 80 columns."""
    head = ("step", "signed SRC", "v(all)", "distance to last SID", "accuracy", "loss")
    distances = {
        point.step: value for point, value in zip(study.structured, study.distances, strict=True)
    }
    rows = [
        (
            str(point.step),
            signed(point.profile.signed_src),
            fixed(point.profile.value, 2),
            fixed(distances.get(point.step)),
            share(point.accuracy),
            fixed(point.loss),
        )
        for point in study.points
    ]
    return [*aligned([head, *rows]), "", *textwrap.wrap(sentence(study), COLUMNS)]


def sentence(study: TrainingStudy) -> str:
    """How the signed SRC moved from the first checkpoint to the last, and when the SID settled."""
    moved, first, last = study.signed_src, study.structured[0], study.structured[-1]
    interval = interval_text(moved.low, moved.high, signed)
    settled = (
        "the SID was still moving at the end"
        if study.settled is last
        else f"from step {study.settled.step} on the SID stays within {SETTLED:g} of the last one"
    )
    return (
        f"From step {first.step} to {last.step} the signed SRC went from "
        f"{signed(first.profile.signed_src)} to {signed(last.profile.signed_src)}, by "
        f"{signed(moved.change)} ({confidence(study.level)} {interval}); {settled}."
    )


def _warnings(study: TrainingStudy) -> list[str]:
    silent = [point.step for point in study.points if not point.profile.structured]
    if not silent:
        return []
    return [
        f"The ψ of {len(silent)} checkpoints cannot be told from noise (step "
        f"{', '.join(map(str, silent[:8]))}{'…' if len(silent) > 8 else ''}): their SID and SRC "
        "mean nothing, and nothing is concluded from them."
    ]


def _heat_map(study: TrainingStudy) -> Figure:
    labels = study.points[-1].profile.partition.labels
    steps = [point.step for point in study.points]
    shares = np.array([point.profile.sid for point in study.points])
    rows = [
        plain_row(str(step), *(fixed(value) for value in one))
        for step, one in zip(steps, shares, strict=True)
    ]
    head = ("step", *(f"band {band} ({label})" for band, label in enumerate(labels)))
    return Figure(
        "SID over training",
        "A column for each checkpoint, low frequencies at the bottom.",
        Markup(sid_heat_map("heat-map", shares, steps, labels)),
        Table(head, rows),
        "",
    )


def _curves(study: TrainingStudy) -> Figure:
    partition = study.points[-1].profile.partition
    chosen = _spread(study.structured)
    drawn = [Line(f"step {point.step}", point.profile.sid.tolist()) for point in chosen]
    title = "SID of some checkpoints"
    head = ("checkpoint", *(f"band {band}" for band in range(partition.bands)))
    return Figure(
        title,
        "The later the checkpoint, the stronger the line.",
        Markup(curves_by_band("sid", partition.edges.tolist(), drawn, ordered=True, title=title)),
        Table(head, [plain_row(line.name, *(fixed(v) for v in line.values)) for line in drawn]),
        "",
    )


def _scores(study: TrainingStudy) -> Figure:
    points = study.points
    scores = [point.profile.interval("signed_src", study.level) for point in points]
    distances = dict(
        zip((point.step for point in study.structured), study.distances.tolist(), strict=True)
    )
    curves = [
        Curve(
            "signed SRC",
            finite_list([point.profile.signed_src for point in points]),
            finite_list([each.low for each in scores]),
            finite_list([each.high for each in scores]),
            hollow=[not point.profile.structured for point in points],
        ),
        Curve("distance to the last SID", [distances.get(point.step) for point in points]),
        Curve("accuracy", [point.accuracy for point in points]),
        Curve("loss", [point.loss for point in points]),
    ]
    known = [curve for curve in curves if any(value is not None for value in curve.values)]
    rows = [
        plain_row(
            str(point.step),
            signed(point.profile.signed_src),
            interval_text(score.low, score.high, signed),
            fixed(distances.get(point.step)),
            share(point.accuracy),
            fixed(point.loss),
        )
        for point, score in zip(points, scores, strict=True)
    ]
    head = ("step", "signed SRC", confidence(study.level), "distance", "accuracy", "loss")
    return Figure(
        "Scores over training",
        "The distance of two SIDs is half the sum of their absolute differences.",
        Markup(curves_chart("scores", known, [point.step for point in points])),
        Table(head, rows),
        "",
    )


def _changes(study: TrainingStudy) -> Figure:
    labels = study.points[-1].profile.partition.labels
    rows = [
        plain_row(
            f"band {band} ({label})",
            signed(study.psi.change[band]),
            interval_text(study.psi.low[band], study.psi.high[band], signed),
            signed(study.sid.change[band]),
            interval_text(study.sid.low[band], study.sid.high[band], signed),
        )
        for band, label in enumerate(labels)
    ]
    first, last = study.structured[0].step, study.structured[-1].step
    interval = confidence(study.level)
    return Figure(
        f"From step {first} to {last}",
        f"What each band gained or lost, paired by image; {interval} for each band by itself.",
        Markup(""),
        Table(("", "change in ψ, nats", interval, "change in SID", interval), rows),
        "",
        wide=True,
    )


def _spread(points: Sequence[Point]) -> list[Point]:
    """A few of ``points``, evenly spaced, the first and the last among them."""
    places = np.unique(np.linspace(0, len(points) - 1, SHOWN).round().astype(int))
    return [points[place] for place in places]

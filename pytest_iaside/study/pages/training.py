"""The study of a training run, as a page and as lines."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.charts.band_curves import Line
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import fixed, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.study.pages.common import COLUMNS, aligned, curves_figure, study_settings
from pytest_iaside.study.training import SETTLED, TrainingStudy
from pytest_iaside.track.charts import Curve
from pytest_iaside.track.figures import curves_of, scores_figure, sid_figure
from pytest_iaside.track.history import Point
from pytest_iaside.track.page import some_steps
from pytest_iaside.track.records import trend_record

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
        settings=study_settings(last),
    )


def lines(study: TrainingStudy) -> list[str]:
    """The main table for a terminal, at most 80 columns."""
    head = ("step", "signed SRC", "v(all)", "distance to last SID", "accuracy", "loss")
    distances = _distances(study)
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
        f"{some_steps(silent)}): their SID and SRC mean nothing, and nothing is concluded from "
        "them."
    ]


def _heat_map(study: TrainingStudy) -> Figure:
    records = trend_record(study.points, study.level)["points"]
    labels = study.points[-1].profile.partition.labels
    return sid_figure("heat-map", "SID over training", records, labels)


def _curves(study: TrainingStudy) -> Figure:
    return curves_figure(
        "SID of some checkpoints",
        "The later the checkpoint, the stronger the line.",
        study.points[-1].profile.partition,
        [
            Line(f"step {point.step}", point.profile.sid.tolist())
            for point in _spread(study.structured)
        ],
        ordered=True,
        head=("checkpoint",),
    )


def _scores(study: TrainingStudy) -> Figure:
    points, distances = study.points, _distances(study)
    hollow = [not point.profile.structured for point in points]
    score, _, *others = curves_of(trend_record(points, study.level)["points"], hollow=hollow)
    distance = Curve("distance to the last SID", [distances.get(point.step) for point in points])
    return scores_figure(
        "scores",
        "Scores over training",
        "The distance of two SIDs is half the sum of their absolute differences.",
        [point.step for point in points],
        [score, distance, *others],
        interval=confidence(study.level),
    )


def _distances(study: TrainingStudy) -> dict[int, float]:
    """The distance of each structured checkpoint's SID to the last one's, by step."""
    steps = (point.step for point in study.structured)
    return dict(zip(steps, study.distances.tolist(), strict=True))


def _changes(study: TrainingStudy) -> Figure:
    labels = study.points[-1].profile.partition.labels
    rows = [
        [
            f"band {band} ({label})",
            signed(study.psi.change[band]),
            interval_text(study.psi.low[band], study.psi.high[band], signed),
            signed(study.sid.change[band]),
            interval_text(study.sid.low[band], study.sid.high[band], signed),
        ]
        for band, label in enumerate(labels)
    ]
    first, last = study.structured[0].step, study.structured[-1].step
    interval = confidence(study.level)
    return Figure(
        f"From step {first} to {last}",
        f"What each band gained or lost, paired by image; {interval} for each band by itself.",
        Table(("", "change in ψ, nats", interval, "change in SID", interval), rows),
        wide=True,
    )


def _spread(points: Sequence[Point]) -> list[Point]:
    """A few of ``points``, evenly spaced, the first and the last among them."""
    places = np.unique(np.linspace(0, len(points) - 1, SHOWN).round().astype(int))
    return [points[place] for place in places]

"""The study of a training run, as a page and as lines."""

import numpy as np

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.charts.band_curves import Line
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import fixed, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.study.pages.common import aligned, curves_figure, lines_of, study_settings
from pytest_iaside.study.training import SETTLED, TrainingStudy
from pytest_iaside.track.charts import Curve, curves_of, scores_figure, sid_figure
from pytest_iaside.track.page import some_steps
from pytest_iaside.track.records import trend_record

SHOWN = 5  # curves in one chart


def page(study: TrainingStudy) -> Page:
    """The page of ``study``."""
    points, last = study.points, study.points[-1].profile
    records = trend_record(points, study.level)["points"]
    # A few checkpoints, evenly spaced, the first and the last among them.
    places = np.unique(np.linspace(0, len(study.structured) - 1, SHOWN).round().astype(int))
    curves = [study.structured[place] for place in places]
    hollow = [not point.profile.structured for point in points]
    score, _, *others = curves_of(records, hollow=hollow)
    distances = [study.distance_at.get(point.step) for point in points]
    warnings = []
    if silent := [point.step for point in points if not point.profile.structured]:
        warnings.append(
            f"The ψ of {len(silent)} checkpoints cannot be told from noise (step "
            f"{some_steps(silent)}): their SID and SRC mean nothing, and nothing is concluded "
            "from them."
        )
    return Page(
        title="SIDs over training",
        headline=sentence(study),
        about=(
            f"Run {study.run}: {len(points)} checkpoints, step {points[0].step} to "
            f"{points[-1].step}, each measured on the same {len(last)} images. Changes are paired "
            f"by image, with {confidence(study.level)}."
        ),
        warnings=warnings,
        figures=[
            sid_figure("heat-map", "SID over training", records, last.partition.labels),
            curves_figure(
                "SID of some checkpoints",
                "The later the checkpoint, the stronger the line.",
                last,
                [Line(f"step {point.step}", point.profile.sid.tolist()) for point in curves],
                ordered=True,
                head=("checkpoint",),
            ),
            scores_figure(
                "scores",
                "Scores over training",
                "The distance of two SIDs is half the sum of their absolute differences.",
                records,
                [score, Curve("distance to the last SID", distances), *others],
                interval=confidence(study.level),
            ),
            _changes(study),
        ],
        settings=study_settings(last),
    )


def lines(study: TrainingStudy) -> list[str]:
    """The main table for a terminal, at most 80 columns."""
    rows = [("step", "signed SRC", "v(all)", "distance to last SID", "accuracy", "loss")]
    for point in study.points:
        rows.append(
            (
                str(point.step),
                signed(point.profile.signed_src),
                fixed(point.profile.value, 2),
                fixed(study.distance_at.get(point.step)),
                share(point.accuracy),
                fixed(point.loss),
            )
        )
    return lines_of(aligned(rows), sentence=sentence(study))


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


def _changes(study: TrainingStudy) -> Figure:
    rows = []
    for band, label in enumerate(study.points[-1].profile.partition.labels):
        row = [f"band {band} ({label})"]
        for moved in (study.psi, study.sid):
            interval = interval_text(moved.low[band], moved.high[band], signed)
            row += [signed(moved.change[band]), interval]
        rows.append(row)
    first, last = study.structured[0].step, study.structured[-1].step
    interval = confidence(study.level)
    return Figure(
        f"From step {first} to {last}",
        f"What each band gained or lost, paired by image; {interval} for each band by itself.",
        Table(("", "change in ψ, nats", interval, "change in SID", interval), rows),
        wide=True,
    )

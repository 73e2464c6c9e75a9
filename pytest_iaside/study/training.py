"""When does a network learn which band? SIDs over the checkpoints of a training run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pytest_iaside.compare.words import confidence
from pytest_iaside.errors import SettingsError
from pytest_iaside.report.charts.groups import Line
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import fixed, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.stats import sid_intervals as shares
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import joined
from pytest_iaside.stats.intervals import STUDENT, paired_error
from pytest_iaside.stats.score import sid, signed_src
from pytest_iaside.study.models import SCORES
from pytest_iaside.study.pages import (
    aligned,
    curves_figure,
    information_figure,
    lines_of,
    study_settings,
)
from pytest_iaside.track.charts import Curve, curves_of, scores_figure, sid_figure
from pytest_iaside.track.history import Point
from pytest_iaside.track.page import some_steps
from pytest_iaside.track.records import trend_record, unit_of

# Of its final SID a run is said to have settled within so much, in total variation.
SETTLED = 0.05


@dataclass(frozen=True, eq=False)
class Moved:
    """A quantity at the last structured checkpoint less that at the first, paired by image."""

    change: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingStudy:
    """What ``training_study`` found; ``points`` are by step, the structured ones by themselves.

    ``distances`` are between the SID of each structured point and the last one's, half the sum
    of absolute differences: 0 for equal ones, 1 for such that share no band. ``sid`` (M,) and
    ``signed_src`` () are how they moved, ``psi`` (M,) how the raw ψ did, in nats.
    """

    run: str
    points: Sequence[Point]
    structured: Sequence[Point]
    distances: Floats
    settled: Point  # The first point from which on no distance is above 0.05.
    sid: Moved
    psi: Moved
    signed_src: Moved
    level: float

    @property
    def distance_at(self) -> dict[int, float]:
        """The distance of each structured checkpoint's SID to the last one's, by step."""
        steps = (point.step for point in self.structured)
        return dict(zip(steps, self.distances.tolist(), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Everything that was found, in plain values and arrays, NaN and infinite ones too."""
        return {
            "run": self.run,
            "points": [
                {
                    "step": one.step,
                    "name": one.name,
                    "structured": one.profile.structured,
                    **{name: getattr(one.profile, name) for name in SCORES},
                    "distance_to_last": self.distance_at.get(one.step),
                    "accuracy": one.accuracy,
                    "loss": one.loss,
                }
                for one in self.points
            ],
            "settled_at": self.settled.step,
            "moved": {name: asdict(getattr(self, name)) for name in ("sid", "psi", "signed_src")},
            "level": self.level,
        }


def training_study(points: Sequence[Point], *, level: float = 0.95) -> TrainingStudy:
    """What became of the SID over the ``points`` of one run.

    Raises SettingsError for points of several runs, settings or samples, and where fewer than two
    have ψ that can be told from noise.
    """
    points = sorted(points, key=lambda point: point.step)
    _check_alike(points)
    structured = [point for point in points if point.profile.structured]
    if len(structured) < 2:
        raise SettingsError(
            f"{len(structured)} of {len(points)} checkpoints have ψ that can be told from noise; "
            "this study needs at least 2: track later checkpoints, or more images"
        )
    sids = np.stack([point.profile.sid for point in structured])
    distances = np.abs(sids - sids[-1]).sum(axis=1) / 2
    far = np.flatnonzero(distances > SETTLED)
    ends = [structured[at].profile for at in (0, -1)]
    first, last = (one.distinct(one.image_psi) for one in ends)
    given = [one.groups for one in ends if one.groups is not None]
    groups = joined(ends[0].digests, *given) if given else None
    change = last.mean(axis=0) - first.mean(axis=0)
    error, freedom = paired_error(last, first, np.subtract, groups)
    reach = STUDENT.reach(level, freedom) * error

    def moved(statistic: shares.Shares) -> Moved:
        after, before = (
            statistic(psi, shares.least(psi)) for psi in (last.mean(axis=0), first.mean(axis=0))
        )
        bounds = shares.change_interval(last, first, statistic, level, groups=groups)
        return Moved(after - before, *bounds)

    return TrainingStudy(
        run=points[0].run,
        points=points,
        structured=structured,
        distances=distances,
        settled=structured[int(far[-1]) + 1 if len(far) else 0],
        sid=moved(sid),
        psi=Moved(change, change - reach, change + reach),
        signed_src=moved(lambda psi, least: signed_src(sid(psi, least))),
        level=level,
    )


def _check_alike(points: Sequence[Point]) -> None:
    if len(points) < 2:
        raise SettingsError(
            f"{len(points)} checkpoints are no training; track at least 2 with iaside track"
        )
    runs = sorted({point.run for point in points})
    if len(runs) > 1:
        raise SettingsError(f"the points are of the runs {', '.join(runs)}; choose one of them")
    first = points[0]
    for point in points[1:]:
        profile = point.profile
        if (profile.rules, profile.digests) != (first.profile.rules, first.profile.digests):
            raise SettingsError(
                f"step {point.step} was measured with other settings or on other images than step "
                f"{first.step}; measure both alike, or keep them as different runs"
            )


def _counted(study: TrainingStudy) -> str:
    """What the steps of the checkpoints count."""
    return unit_of([point.name for point in study.points])


def page(study: TrainingStudy) -> Page:
    """The page of ``study``."""
    points, last, counted = study.points, study.points[-1].profile, _counted(study)
    records = trend_record(points, study.level)["points"]
    # A few checkpoints, evenly spaced, the first and the last among them.
    places = np.unique(np.linspace(0, len(study.structured) - 1, 5).round().astype(int))
    curves = [study.structured[place] for place in places]
    hollow = [not point.profile.structured for point in points]
    score, _, *others = curves_of(records, hollow=hollow)
    distances = [study.distance_at.get(point.step) for point in points]
    warnings = []
    if silent := [point.step for point in points if not point.profile.structured]:
        warnings.append(
            f"The ψ of {len(silent)} checkpoints cannot be told from noise ({counted} "
            f"{some_steps(silent)}): their SID and SRC mean nothing, and nothing is concluded "
            "from them."
        )
    return Page(
        title="SIDs over training",
        headline=sentence(study),
        about=(
            f"Run {study.run}: {len(points)} checkpoints, {counted} {points[0].step} to "
            f"{points[-1].step}, each measured on the same {last.size}. Changes are paired "
            f"by image, with {confidence(study.level)}."
        ),
        warnings=warnings,
        figures=[
            sid_figure("heat-map", "SID over training", records, last.partition.labels),
            curves_figure(
                "SID of some checkpoints",
                "The later the checkpoint, the stronger the line.",
                last,
                [Line(f"{counted} {point.step}", point.profile.sid.tolist()) for point in curves],
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
            information_figure({str(point.step): point.profile for point in points}, counted),
        ],
        settings=study_settings(last),
    )


def lines(study: TrainingStudy) -> list[str]:
    """The main table for a terminal, at most 80 columns."""
    rows = [(_counted(study), "signed SRC", "v(all)", "distance to last SID", "accuracy", "loss")]
    for point in study.points:
        scores = signed(point.profile.signed_src), fixed(point.profile.value, 2)
        distance = fixed(study.distance_at.get(point.step))
        rows.append((str(point.step), *scores, distance, share(point.accuracy), fixed(point.loss)))
    return lines_of(aligned(rows), sentence=sentence(study))


def sentence(study: TrainingStudy) -> str:
    """How the signed SRC moved from the first checkpoint to the last, and when the SID settled."""
    moved, first, last = study.signed_src, study.structured[0], study.structured[-1]
    counted = _counted(study)
    interval = interval_text(moved.low, moved.high, signed)
    since = f"from {counted} {study.settled.step} on"
    settled = (
        "the SID was still moving at the end"
        if study.settled is last
        else f"{since} the SID stays within {SETTLED:g} of the last one"
    )
    return (
        f"From {counted} {first.step} to {last.step} the signed SRC went from "
        f"{signed(first.profile.signed_src)} to {signed(last.profile.signed_src)}, by "
        f"{signed(moved.change)} ({confidence(study.level)} {interval}); {settled}."
    )


def _changes(study: TrainingStudy) -> Figure:
    rows = []
    for band, label in enumerate(study.points[-1].profile.partition.labels):
        rows.append([f"band {band} ({label})"])
        for moved in (study.psi, study.sid):
            interval = interval_text(moved.low[band], moved.high[band], signed)
            rows[-1] += [signed(moved.change[band]), interval]
    first, last = study.structured[0].step, study.structured[-1].step
    interval = confidence(study.level)
    about = f"What each band gained or lost, paired by image; {interval} for each band by itself."
    table = Table(("", "change in ψ, nats", interval, "change in SID", interval), rows)
    return Figure(f"From {_counted(study)} {first} to {last}", about, table, wide=True)

"""The trend of robustness over the last points of a run's history, and the gate on it."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pytest_iaside.checks import check_choice, check_level, check_whole
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.trend import compare_trend
from pytest_iaside.compare.words import nats, signed
from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.testing.current_test import CurrentTest
from pytest_iaside.testing.gate import Gate
from pytest_iaside.testing.place import Place
from pytest_iaside.testing.running import run_gate
from pytest_iaside.thresholds import LEVEL, FailOn, Thresholds
from pytest_iaside.track.history import History, Point
from pytest_iaside.track.records import trend_record, unit_of

KIND = "trend"
LAST = 5
MAX_SRC_DROP, MAX_VALUE_DROP = 0.02, 0.05
USUAL = Thresholds()


def assert_no_robustness_decline(
    history: History | str | Path | Sequence[Point],
    *,
    run: str | None = None,
    last: int = LAST,
    max_src_drop: float | None = MAX_SRC_DROP,
    max_value_drop: float | None = MAX_VALUE_DROP,
    max_accuracy_drop: float | None = USUAL.max_accuracy_drop,
    max_log_likelihood_drop: float | None = USUAL.max_log_likelihood_drop,
    max_probability_drop: float | None = USUAL.max_probability_drop,
    level: float = LEVEL,
    fail_on: FailOn = "drift",
    name: str | None = None,
) -> Comparison:
    """Raise AssertionError where robustness fell over the ``last`` checkpoints of a run.

    ``history`` is a History, its path, or the points themselves; ``run`` is needed where they are
    of several. A line is fitted to the signed SRC of the checkpoints: from the first to the last
    it may fall by ``max_src_drop``; that of v(all) may fall by the share ``max_value_drop``. Those
    of accuracy, log-likelihood (nats) and probability of the label, on clean images at the model's
    own temperature, may fall by the other three, where the images have labels (SPEC.md 12).
    Drift is a fall whose whole interval at ``level`` lies beyond; ``fail_on`` "inconclusive" asks
    for certainty that there is none. ``name`` tells it apart in reports. Works in a test and
    outside, with the plugin or without.

    Returns the comparison of the line's ends: its candidate is the last checkpoint, its baseline
    the first. Raises BaselineError where there is no trend: less than two checkpoints, not
    measured alike, or unstructured; SettingsError for arguments that cannot be used.
    """
    __tracebackhide__ = True
    known = History(history) if isinstance(history, (str, Path)) else history
    points: list[Point] = []
    trends: list[Comparison] = []

    def measured(model: Any, sample: Any, labels_from: Measurement | None) -> Measurement:
        points.extend(_points_of_run(known, run)[-last:])
        limits = {
            "max_src_drop": max_src_drop,
            "max_value_drop": max_value_drop,
            "max_accuracy_drop": max_accuracy_drop,
            "max_log_likelihood_drop": max_log_likelihood_drop,
            "max_probability_drop": max_probability_drop,
        }
        trends.append(trend_of(points, **limits, level=level))
        return trends[0].candidate

    def prepare(test: CurrentTest | None) -> Gate:
        check_whole("last", last, 2)
        check_choice("fail_on", fail_on, FailOn)
        return Gate(
            kind=KIND,
            measure=measured,
            compare=lambda candidate, baseline: trends[0],
            limits={},
            level=level,
            fail_on=fail_on,
            needs_baseline=False,
            needs_reference=False,
            tell_more=lambda *_: {"sections": {KIND: trend_record(points, level)}},
            details=lambda: [
                "checkpoints:",
                *(
                    f"  {_place(point)}: signed SRC {signed(point.profile.signed_src)}, "
                    f"v(all) {nats(point.profile.value)} nats, {point.name}"
                    for point in points
                ),
            ],
        )

    where = known.path.as_posix() if isinstance(known, History) else ""
    place = Place(title="history", shown=where)
    return run_gate(KIND, prepare, model=None, name=name, place=place)


def trend_of(
    points: Sequence[Point],
    *,
    max_src_drop: float | None = MAX_SRC_DROP,
    max_value_drop: float | None = MAX_VALUE_DROP,
    max_accuracy_drop: float | None = USUAL.max_accuracy_drop,
    max_log_likelihood_drop: float | None = USUAL.max_log_likelihood_drop,
    max_probability_drop: float | None = USUAL.max_probability_drop,
    level: float = LEVEL,
) -> Comparison:
    """The trend over ``points`` of one run, in any order (compare/trend.py).

    The signed SRC's fitted line may fall by ``max_src_drop``, that of v(all) by the share
    ``max_value_drop`` of its first value, those of clean accuracy, log-likelihood and probability
    by the other three; None leaves a check out.

    Raises BaselineError for less than two points, for points that were not measured alike, and
    for unstructured ones, which have no score; SettingsError for thresholds out of range.
    """
    check_level(level)
    thresholds = Thresholds(
        max_src_drop=max_src_drop,
        max_value_drop=max_value_drop,
        max_accuracy_drop=max_accuracy_drop,
        max_log_likelihood_drop=max_log_likelihood_drop,
        max_probability_drop=max_probability_drop,
        max_sid_shift=None,
        max_band_drop=None,
        max_upper_band_change=None,
    )
    if len(points) < 2:
        raise BaselineError(
            f"a trend needs at least 2 checkpoints, there are {len(points)}; measure more of them "
            "(iaside track)"
        )
    ordered = sorted(points, key=lambda point: point.step)
    steps = [point.step for point in ordered]
    counted = unit_of([point.name for point in ordered])
    for step, following in pairwise(steps):
        if step == following:
            raise BaselineError(
                f"two checkpoints have {counted} {step}; give points of a single run, each with "
                f"{'an' if counted == 'epoch' else 'a'} {counted} of its own"
            )
    if differences := unlike(ordered):
        raise BaselineError(
            f"{len(differences)} of {len(points)} checkpoints were not measured as the last one, "
            f"so nothing was compared: {differences[0]}. Measure all of them alike, or keep "
            "another history"
        )
    if unstructured := [point for point in ordered if not point.profile.structured]:
        first = unstructured[0]
        raise BaselineError(
            f"{len(unstructured)} of {len(points)} checkpoints are unstructured, so their scores "
            f"say nothing; {_place(first)} ({first.name}): {first.profile.unstructured_because}"
        )
    profiles = [point.profile for point in ordered]
    return compare_trend(profiles, steps, thresholds, level=level, counted=counted)


def _place(point: Point) -> str:
    """Where in the run ``point`` is, as "epoch 3"."""
    return f"{unit_of([point.name])} {point.step}"


def unlike(points: Sequence[Point]) -> list[str]:
    """What keeps ``points`` from being compared with the last of them, one line each."""
    differences, last = [], points[-1].profile
    for point in points[:-1]:
        this = point.profile
        found = this.rules.differences(last.rules, ("this one", "the last one"))
        if this.reference != last.reference:
            found.append(
                f"reference sample: this one {this.reference.images} images "
                f"({this.reference.digest[:8]}), the last one {last.reference.images} "
                f"({last.reference.digest[:8]})"
            )
        if this.model.classes != last.model.classes:
            found.append(
                f"classes: this one {this.model.classes}, the last one {last.model.classes}"
            )
        if found:
            differences.append(f"{_place(point)} ({point.name}): {'; '.join(found)}")
    return differences


def _points_of_run(history: History | Sequence[Point], run: str | None) -> list[Point]:
    """The points of the one run that is meant, by step; raises SettingsError for anything else."""
    if isinstance(history, History):
        if not history.path.exists():
            raise BaselineError(
                f"there is no history at {history.path}; measure checkpoints with iaside track, or "
                "check the path"
            )
        where, found = str(history.path), history.points()
    else:
        # By what they have: pytester imports this package anew, and its Point is another one.
        if not isinstance(history, Sequence) or not all(hasattr(p, "profile") for p in history):
            raise SettingsError(
                f"the history is a {type(history).__name__}; expected a History, its path, or the "
                "points of one"
            )
        where, found = "the points", list(history)
    runs = sorted({point.run for point in found})
    if run is None and len(runs) > 1:
        raise SettingsError(
            f"{where} are of {len(runs)} runs: {', '.join(runs)}; say which with run="
        )
    if run is not None and run not in runs:
        raise SettingsError(
            f"there is no run {run!r} in {where}, only {', '.join(runs) or 'nothing at all'}"
        )
    return sorted((p for p in found if run in (None, p.run)), key=lambda point: point.step)

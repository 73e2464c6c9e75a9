"""assert_no_robustness_decline: the gate on the last checkpoints of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_iaside.checks import check_choice, check_whole
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.words import nats, signed
from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.testing.current_test import CurrentTest
from pytest_iaside.testing.gate import Gate, run_gate
from pytest_iaside.testing.place import Place
from pytest_iaside.thresholds import LEVEL, FailOn
from pytest_iaside.track.history import History, Point
from pytest_iaside.track.records import trend_record
from pytest_iaside.track.trend import LAST, MAX_SRC_DROP, MAX_VALUE_DROP, trend_of

KIND = "trend"


def assert_no_robustness_decline(
    history: History | str | Path | Sequence[Point],
    *,
    run: str | None = None,
    last: int = LAST,
    max_src_drop: float | None = MAX_SRC_DROP,
    max_value_drop: float | None = MAX_VALUE_DROP,
    level: float = LEVEL,
    fail_on: FailOn = "drift",
    name: str | None = None,
) -> Comparison:
    """Raise AssertionError where robustness fell over the ``last`` checkpoints of a run.

    ``history`` is a History, its path, or the points themselves; ``run`` is needed where they are
    of several. A line is fitted to the signed SRC of the checkpoints: from the first to the last
    it may fall by ``max_src_drop``; that of v(all) may fall by the share ``max_value_drop``.
    Drift is a fall whose whole interval at ``level`` lies beyond; ``fail_on`` "inconclusive" asks
    for certainty that there is none. ``name`` tells it apart in reports. Works in a test and
    outside, with the plugin or without.

    Returns the comparison of the line's ends: its candidate is the last checkpoint, its baseline
    the first. Raises BaselineError where there is no trend: less than two checkpoints, not
    measured alike, or unstructured; SettingsError for arguments that cannot be used.
    """
    __tracebackhide__ = True
    known = History(history) if isinstance(history, (str, Path)) else history
    if not isinstance(known, History) and not _are_points(known):
        raise SettingsError(
            f"the history is a {type(known).__name__}; expected a History, its path, or the "
            "points of one"
        )
    points: list[Point] = []
    trends: list[Comparison] = []

    def measured(model: Any, sample: Any, labels_from: Measurement | None) -> Measurement:
        points.extend(_points_of_run(known, run)[-last:])
        limits = {"max_src_drop": max_src_drop, "max_value_drop": max_value_drop}
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
                    f"  step {point.step}: signed SRC {signed(point.profile.signed_src)}, "
                    f"v(all) {nats(point.profile.value)} nats, {point.name}"
                    for point in points
                ),
            ],
        )

    where = known.path.as_posix() if isinstance(known, History) else ""
    place = Place(title="history", shown=where)
    return run_gate(KIND, prepare, model=None, name=name, place=place)


def _are_points(given: Any) -> bool:
    return isinstance(given, Sequence) and all(hasattr(each, "profile") for each in given)


def _points_of_run(history: History | Sequence[Point], run: str | None) -> list[Point]:
    """The points of the one run that is meant, by step."""
    if isinstance(history, History):
        if not history.path.exists():
            raise BaselineError(
                f"there is no history at {history.path}; measure checkpoints with iaside track, or "
                "check the path"
            )
        where, found = str(history.path), history.points()
    else:
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

"""assert_no_robustness_decline: red where the last checkpoints of a run lose robustness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.thresholds import FailOn
from pytest_iaside.track.history import History, Point
from pytest_iaside.track.trend import (
    LAST,
    LEVEL,
    MAX_SRC_DROP,
    MAX_VALUE_DROP,
    Trend,
    fit_trend,
)


def assert_no_robustness_decline(
    history: History | str | Path | Sequence[Point],
    *,
    run: str | None = None,
    last: int = LAST,
    max_src_drop: float | None = MAX_SRC_DROP,
    max_value_drop: float | None = MAX_VALUE_DROP,
    level: float = LEVEL,
    fail_on: FailOn = "drift",
) -> Trend:
    """Raise AssertionError where robustness fell over the ``last`` checkpoints of a run.

    ``history`` is a History, its path, or the points themselves; ``run`` is needed where they are
    of several. A line is fitted to the signed SRC of the checkpoints: from the first to the last
    it may fall by ``max_src_drop``; that of v(all) may fall by the share ``max_value_drop``.
    Drift is a fall whose whole interval at ``level`` lies beyond; ``fail_on`` "inconclusive" asks
    for certainty that there is none. Works in a test and outside, with the plugin or without.

    Returns the trend. Raises BaselineError where there is none: less than two checkpoints, not
    measured alike, or unstructured; SettingsError for arguments that cannot be used.
    """
    __tracebackhide__ = True
    if not isinstance(last, int) or isinstance(last, bool) or last < 2:
        raise SettingsError(f"last={last!r} cannot be used; expected a whole number above 1")
    if fail_on not in get_args(FailOn):
        raise SettingsError(
            f"fail_on={fail_on!r} is unknown; use one of {', '.join(get_args(FailOn))}"
        )
    trend = fit_trend(
        _points(history, run)[-last:],
        max_src_drop=max_src_drop,
        max_value_drop=max_value_drop,
        level=level,
    )
    if trend.fails(fail_on):
        raise AssertionError("\n".join([trend.summary(), *_details(trend)]))
    return trend


def _points(history: History | str | Path | Sequence[Point], run: str | None) -> list[Point]:
    """The points of the one run that is meant, by step."""
    if isinstance(history, (str, Path)):
        history = History(history)
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


def _details(trend: Trend) -> list[str]:
    """What a failure says after its first line."""
    lines = ["", f"{trend.verdict}, by {trend.images} images; checkpoints:"]
    for point in trend.points:
        score = f"{point.profile.signed_src:+.3f}".replace("-", "−")
        value = f"v(all) {point.profile.value:.2f} nats"
        lines.append(f"  step {point.step}: signed SRC {score}, {value}, {point.name}")
    return [*lines, *(f"note: {note}" for note in trend.notes)]

"""The trend of robustness over the last points of a run's history."""

from collections.abc import Sequence

from pytest_iaside.checks import check_level
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.trend import compare_trend
from pytest_iaside.errors import BaselineError
from pytest_iaside.thresholds import LEVEL, Thresholds
from pytest_iaside.track.history import Point

LAST = 5
MAX_SRC_DROP, MAX_VALUE_DROP = 0.02, 0.05  # as a gate allows


def trend_of(
    points: Sequence[Point],
    *,
    max_src_drop: float | None = MAX_SRC_DROP,
    max_value_drop: float | None = MAX_VALUE_DROP,
    level: float = LEVEL,
) -> Comparison:
    """The trend over ``points`` of one run, in any order (compare/trend.py).

    The signed SRC's fitted line may fall by ``max_src_drop``, that of v(all) by the share
    ``max_value_drop`` of its first value; None leaves a check out.

    Raises BaselineError for less than two points, for points that were not measured alike, and
    for unstructured ones, which have no score; SettingsError for thresholds out of range.
    """
    check_level(level)
    thresholds = Thresholds(
        max_src_drop=max_src_drop,
        max_value_drop=max_value_drop,
        max_sid_shift=None,
        max_band_drop=None,
    )
    if len(points) < 2:
        raise BaselineError(
            f"a trend needs at least 2 checkpoints, there are {len(points)}; measure more of them "
            "(iaside track)"
        )
    ordered = sorted(points, key=lambda point: point.step)
    steps = [point.step for point in ordered]
    twice = next((step for step in steps if steps.count(step) > 1), None)
    if twice is not None:
        raise BaselineError(
            f"two checkpoints have step {twice}; give points of a single run, each with a step of "
            "its own"
        )
    if differences := unlike(ordered):
        raise BaselineError(
            f"{len(differences)} of {len(points)} checkpoints were not measured as the last one, "
            f"so nothing was compared: {differences[0]}. Measure all of them alike, or keep "
            "another history"
        )
    profiles = [point.profile for point in ordered]
    unstructured = [point for point in ordered if not point.profile.structured]
    if unstructured:
        first = unstructured[0]
        raise BaselineError(
            f"{len(unstructured)} of {len(points)} checkpoints are unstructured, so their scores "
            f"say nothing; step {first.step} ({first.name}): {first.profile.unstructured_because}"
        )
    return compare_trend(profiles, steps, thresholds, level=level)


def unlike(points: Sequence[Point]) -> list[str]:
    """What keeps ``points`` from being compared with the last of them, one line each."""
    differences: list[str] = []
    last = points[-1].profile
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
            differences.append(f"step {point.step} ({point.name}): {'; '.join(found)}")
    return differences

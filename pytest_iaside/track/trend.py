"""The trend of robustness over the last checkpoints of a run, and whether it is a decline.

A line is fitted by least squares to the signed SRC of the checkpoints, against their steps. What
it falls from the first of them to the last is held against what may be lost, and so is the line
of v(all). All checkpoints were measured on the same images: what images have in common cancels,
as it does between a model and its baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.compare.comparison import BandChange, Check, Verdict, confidence, fails
from pytest_iaside.compare.evidence import (
    SHARE_RESOLUTION,
    Evidence,
    band_changes,
    run_checks,
    worst,
)
from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.stats.intervals import Rows
from pytest_iaside.stats.score import sid, signed_src
from pytest_iaside.stats.sid_contrasts import contrast_interval
from pytest_iaside.thresholds import FailOn, Thresholds
from pytest_iaside.track.history import Point

LAST = 5
LEVEL = 0.95
MAX_SRC_DROP, MAX_VALUE_DROP = 0.02, 0.05  # as a gate allows


@dataclass(frozen=True, eq=False, kw_only=True)
class Trend:
    """What became of robustness over some checkpoints of a run, immutable.

    Of each of ``checks`` and ``bands``, ``baseline`` and ``candidate`` are the fitted line's
    values at the first and the last of ``points``, and ``change`` is what lies between, with its
    interval ``low``…``high``; that of v(all) is a share of its fitted value at the first.
    ``images`` is how many decided it.
    """

    points: tuple[Point, ...]
    images: int
    level: float
    checks: tuple[Check, ...]
    bands: tuple[BandChange, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the checks: one drift makes drift, else one inconclusive inconclusive."""
        return worst([check.verdict for check in self.checks])

    @property
    def changed(self) -> bool:
        """Whether anything changed at all, allowed or not."""
        return any(check.changed for check in self.checks) or any(b.moved for b in self.bands)

    def fails(self, fail_on: FailOn = "drift") -> bool:
        """Whether an assertion is red under ``fail_on``."""
        return fails(self.verdict, self.changed, fail_on)

    def summary(self) -> str:
        """The verdict in one line, the line that CI annotations show: what decides, first."""
        order: tuple[Verdict, ...] = ("drift", "inconclusive", "pass")
        head, *rest = sorted(self.checks, key=lambda check: order.index(check.verdict))
        first, last = self.points[0].step, self.points[-1].step
        over = f" over the last {len(self.points)} checkpoints (step {first} to {last})"
        parts = [self._sentence(head, over)]
        parts += [self._sentence(check) for check in rest if check.verdict != "pass"]
        moved = [band for band in self.bands if band.moved]
        if moved:
            fallen = [band for band in moved if band.change < 0]
            worst_band = max(fallen or moved, key=lambda band: abs(band.change))
            nats = f"{worst_band.change:+.2f}".replace("-", "−")
            parts.append(f"{worst_band.name} {nats} nats")
        return "; ".join(parts)

    def _sentence(self, check: Check, over: str = "") -> str:
        show = _percent if check.name == "value" else _score
        rose = check.change > 0
        low, high = (check.low, check.high) if rose else (-check.high, -check.low)
        allowed = f"allowed {'is a fall of ' if rose else ''}{show(-check.limit)}"
        return (
            f"{_name(check)} {'rose' if rose else 'fell'} by {show(abs(check.change))} "
            f"({confidence(self.level)} {show(low)}…{show(high)}){over}, {allowed}"
        )


def fit_trend(
    points: Sequence[Point],
    *,
    max_src_drop: float | None = MAX_SRC_DROP,
    max_value_drop: float | None = MAX_VALUE_DROP,
    level: float = LEVEL,
) -> Trend:
    """The trend over ``points`` of one run, in any order, on the images that all of them have.

    The signed SRC's fitted line may fall by ``max_src_drop``, that of v(all) by the share
    ``max_value_drop`` of its first value; None leaves a check out. Intervals are the jackknife's
    over images, left out of all points together (contrast.py where the least band is in doubt).

    Raises BaselineError for less than two points, for points that were not measured alike, and
    for unstructured ones, which have no score; SettingsError for thresholds out of range.
    """
    thresholds = Thresholds(
        max_src_drop=max_src_drop,
        max_value_drop=max_value_drop,
        max_sid_shift=None,
        max_band_drop=None,
    )
    if max_src_drop is None and max_value_drop is None:
        raise SettingsError(
            "max_src_drop and max_value_drop are both None, so nothing is asked; give one of them"
        )
    if not 0 < level < 1:
        raise SettingsError(f"level={level!r} cannot be used; expected a number between 0 and 1")
    ordered = tuple(sorted(points, key=lambda point: point.step))
    _check_points(ordered)
    rows = _same_images(ordered)
    at_first, at_last = _line([point.step for point in ordered])
    profile = ordered[-1].profile
    evidence = Evidence(
        np.tensordot(at_last, rows, axes=1),
        np.tensordot(at_first, rows, axes=1),
        profile.partition,
        level,
    )
    # v(all) and ψ are linear: their line's ends are compared as two models are. The score's line is
    # not the score of a line.
    checks = run_checks(evidence, replace(thresholds, max_src_drop=None))
    if max_src_drop is not None:
        checks.insert(0, _src_check(rows, at_first, at_last, max_src_drop, level))
    notes = []
    if profile.reference.labels == "predicted":
        notes.append(
            "the reference sample has no labels: each checkpoint is scored on its own predictions"
        )
    return Trend(
        points=ordered,
        images=rows.shape[1],
        level=level,
        checks=tuple(checks),
        bands=band_changes(evidence),
        notes=tuple(notes),
    )


def unlike(points: Sequence[Point]) -> list[str]:
    """What keeps ``points`` from being compared with the last of them, one line each."""
    differences: list[str] = []
    for point in points[:-1]:
        ours, theirs = point.profile, points[-1].profile
        found = ours.rules.differences(theirs.rules)
        if ours.reference != theirs.reference:
            found.append(
                f"reference sample: {ours.reference.images} images ({ours.reference.digest[:8]}) "
                f"here, {theirs.reference.images} ({theirs.reference.digest[:8]}) there"
            )
        if ours.model.classes != theirs.model.classes:
            found.append(f"classes: {ours.model.classes} here, {theirs.model.classes} there")
        if found:
            differences.append(f"step {point.step} ({point.name}): {'; '.join(found)}")
    return differences


def _check_points(points: Sequence[Point]) -> None:
    if len(points) < 2:
        raise BaselineError(
            f"a trend needs at least 2 checkpoints, there are {len(points)}; measure more of them "
            "(iaside track)"
        )
    steps = [point.step for point in points]
    twice = next((step for step in steps if steps.count(step) > 1), None)
    if twice is not None:
        raise BaselineError(
            f"two checkpoints have step {twice}; give points of a single run, each with a step of "
            "its own"
        )
    if differences := unlike(points):
        raise BaselineError(
            f"{len(differences)} of {len(points)} checkpoints were not measured as the last one "
            f"(there), so nothing was compared: {differences[0]}. Measure all of them alike, or "
            "keep another history"
        )
    unstructured = [point for point in points if not point.profile.structured]
    if unstructured:
        first = unstructured[0]
        raise BaselineError(
            f"{len(unstructured)} of {len(points)} checkpoints are unstructured, so their scores "
            f"say nothing; step {first.step} ({first.name}): {first.profile.unstructured_because}"
        )


def _same_images(points: Sequence[Point]) -> Rows:
    """ψ (points, K, M) of the images that all points have, in an order of their own."""
    common = set.intersection(*(set(point.profile.digests) for point in points))
    if len(common) < 2:
        raise BaselineError(
            f"the checkpoints have {len(common)} measured images in common, at least 2 are needed; "
            "measure them with the same samples="
        )
    rows = []
    for point in points:
        place = {digest: row for row, digest in enumerate(point.profile.digests)}
        rows.append(point.profile.image_psi[[place[digest] for digest in sorted(common)]])
    return np.stack(rows)


def _line(steps: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each point adds to the fitted line's value at the first point, and at the last."""
    # As Python's own integers: steps may be too large for a float to tell apart.
    x = np.array([step - steps[0] for step in steps], dtype=np.float64)
    from_mean = x - x.mean()
    slope = from_mean / (from_mean**2).sum()
    first, last = (1 / len(steps) + from_mean[end] * slope for end in (0, -1))
    return first, last


def _src_check(
    rows: Rows,
    at_first: NDArray[np.float64],
    at_last: NDArray[np.float64],
    allowed: float,
    level: float,
) -> Check:
    scores = signed_src(sid(rows.mean(axis=1)))
    weights = at_last - at_first
    low, high = (
        float(bound) for bound in contrast_interval(list(rows), list(weights), _score_of, level)
    )
    return Check(
        name="src",
        baseline=float(at_first @ scores),
        candidate=float(at_last @ scores),
        change=float(weights @ scores),
        low=low,
        high=high,
        limit=-allowed,
        verdict="drift" if high < -allowed else "pass" if low >= -allowed else "inconclusive",
        changed=low > SHARE_RESOLUTION or high < -SHARE_RESOLUTION,
    )


def _score_of(psi: Rows, at: Rows) -> Rows:
    return signed_src(sid(psi, at))


def _name(check: Check) -> str:
    if check.name == "value":
        return "v(all)"
    return "signed SRC" if min(check.baseline, check.candidate) < 0 else "SRC"


def _score(value: float) -> str:
    return _known(f"{round(value, 3) + 0.0:.3f}")


def _percent(value: float) -> str:
    return _known(f"{round(100 * value, 1) + 0.0:.1f}%")


def _known(text: str) -> str:
    return "n/a" if "nan" in text else text.replace("-", "−").replace("inf", "∞")

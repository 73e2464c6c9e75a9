"""The sentence of an explanation: at which scale, and where, an answer comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pytest_iaside.explain.explanation import Explanation
from pytest_iaside.explain.measurements import level_title


@dataclass(frozen=True, kw_only=True)
class LevelChange:
    """One level's share in an image's answer, and its change from a baseline where there is one.

    ``low``…``high`` holds for all levels together. It is about the sampling of masks alone: the
    image is not one of many.
    """

    level: int
    title: str
    candidate: float
    baseline: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def moved(self) -> bool:
        """Whether the interval of the change leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def level_changes(
    candidate: Explanation, baseline: Explanation | None, image: int, level: float
) -> list[LevelChange]:
    """Every wavelet level of ``image``, the coarsest first; intervals at confidence ``level``."""
    return _changes(candidate, baseline, [image], level)


def mean_changes(
    candidate: Explanation, baseline: Explanation | None, level: float
) -> list[LevelChange]:
    """The same of the mean over all images."""
    return _changes(candidate, baseline, range(len(candidate.names)), level)


def _changes(
    candidate: Explanation, baseline: Explanation | None, images: Sequence[int], level: float
) -> list[LevelChange]:
    depth, points = candidate.wavelet.depth, candidate.wavelet.rules.points
    shares, errors = _mean_shares(candidate, images)
    found = [
        LevelChange(level=at, title=level_title(at, depth), candidate=float(shares[at]))
        for at in range(depth + 1)
    ]
    if baseline is None:
        return found
    before, errors_before = _mean_shares(baseline, images)
    # Both see the same masks, so the change is less uncertain than this.
    reach = _reach(np.hypot(errors, errors_before), points, 1 - (1 - level) / (depth + 1))
    change = shares - before
    return [
        replace(
            each,
            baseline=float(before[at]),
            change=float(change[at]),
            low=float(change[at] - reach[at]),
            high=float(change[at] + reach[at]),
        )
        for at, each in enumerate(found)
    ]


def sentence(
    candidate: Explanation, baseline: Explanation | None, image: int, changes: list[LevelChange]
) -> str:
    """Where, and at which scale, the candidate leans on details more than the baseline does."""
    if baseline is None:
        # Of the details: the coarsest level is most of every answer.
        most = max(changes[1:], key=lambda each: each.candidate)
        return (
            f"The candidate takes {_percent(changes[0].candidate)} of its answer from "
            f"{changes[0].title}; of finer ones most, {_percent(most.candidate)}, from "
            f"{most.title}{_around(candidate, image, most.level, ', ')}."
        )
    risen = [each for each in changes if each.moved and (each.change or 0.0) > 0]
    if not risen:
        return (
            "The candidate leans on the same scales as the baseline, as far as the masks that were "
            f"drawn can tell; it gives the label {_percent(candidate.probabilities[image])}, the "
            f"baseline gave it {_percent(baseline.probabilities[image])}."
        )
    most = max(risen, key=lambda each: each.change or 0.0)
    return (
        f"The candidate leans on {most.title}{_around(candidate, image, most.level)}: "
        f"{_percent(most.candidate)} of its answer comes from them; the baseline took "
        f"{_percent(most.baseline or 0.0)} from them."
    )


def _around(explanation: Explanation, image: int, level: int, before: str = " ") -> str:
    place = explanation.place(image, level)
    return "" if place is None else f"{before}around the {where(*place)}"


def where(row: float, column: float) -> str:
    """A place in an image in words, from shares of its height and width."""
    vertical = ("top", "middle", "bottom")[min(int(3 * row), 2)]
    horizontal = ("left", "centre", "right")[min(int(3 * column), 2)]
    if (vertical, horizontal) == ("middle", "centre"):
        return "centre"
    if vertical == "middle":
        return horizontal
    return vertical if horizontal == "centre" else f"{vertical} {horizontal}"


def _mean_shares(
    explanation: Explanation, images: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean level shares of ``images``, and their standard errors: masks differ by image."""
    rows = list(images)
    errors = explanation.wavelet.level_errors[rows]
    return (
        explanation.wavelet.levels[rows].mean(axis=0),
        np.sqrt((errors**2).sum(axis=0)) / len(rows),
    )


def _reach(errors: NDArray[np.float64], points: int, level: float) -> NDArray[np.float64]:
    freedom = max(points - 1, 1)
    return np.asarray(special.stdtrit(freedom, 0.5 + level / 2) * errors)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if share < 0.1 else f"{100 * share:.0f}%"

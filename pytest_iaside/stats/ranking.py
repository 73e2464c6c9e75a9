"""Ranks of models on the same images, as far as paired comparisons tell them apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import Groups
from pytest_iaside.stats.intervals import STUDENT, holm, jackknife_error


def rank_ranges(
    losses: Floats, level: float, groups: Groups = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The best and the worst rank (N,) that each of N models may have; 1 loses least.

    ``losses`` (N, K) are of the same K images. Every two models are compared image by image, by
    Student's t over images or ``groups`` of them, and Holm's p-values count all pairs: with
    probability ``level`` no pair is told apart the wrong way round. No p-value is below that of as
    many tosses of a coin as images or groups tell the two apart, 2^(1−m): hits that differ alike
    on every image have no spread, and Student's t alone would be certain after two. A model's best
    rank is one more than how many are better for certain, its worst one less how many are worse;
    models with the same ranks are tied (Mogstad, Romano, Shaikh and Wilhelm, 2024).
    """
    count = len(losses)
    pairs = list(combinations(range(count), 2))
    best, worst = np.ones(count, dtype=np.int64), np.full(count, count)
    if not pairs:
        return best, worst
    first, second = (losses[[pair[side] for pair in pairs]] for side in (0, 1))
    change = (second - first).mean(axis=1)
    error = jackknife_error((second - first).T, np.asarray, groups)
    units = losses.shape[1] if groups is None else int(groups.max()) + 1
    p = np.ones(len(pairs))
    # One image says nothing; of models that answer alike nothing differs.
    known = np.isfinite(error) & (change != 0)
    with np.errstate(divide="ignore"):
        ratio = np.abs(change[known]) / error[known]
    p[known] = STUDENT.p_value(ratio, np.asarray(max(units - 1, 1)))
    p = np.maximum(p, np.minimum(2.0 ** (1 - _told_by(second - first, groups)), 1.0))
    for (one, other), found, gap in zip(pairs, holm(p), change, strict=True):
        if found < 1 - level:
            better, poorer = (one, other) if gap > 0 else (other, one)
            best[poorer] += 1
            worst[better] -= 1
    return best, worst


def _told_by(changes: Floats, groups: Groups) -> NDArray[np.int64]:
    """On how many images, or groups, each of the rows of ``changes`` (P, K) is not 0."""
    if groups is not None:
        each = np.arange(int(groups.max()) + 1)
        changes = changes @ (groups[:, None] == each).astype(np.float64)
    return np.asarray(np.count_nonzero(changes, axis=1))

"""Effective robustness: accuracy beyond what clean accuracy explains (Taori et al., NeurIPS 2020).

Over a set of models the log-odds of the accuracy under a perturbation lie near a line of those of
clean accuracy. What a model has above that line is robustness; the line itself is accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pytest_iaside.errors import SettingsError
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.correlation import LEAST_MODELS
from pytest_iaside.stats.groups import Groups
from pytest_iaside.stats.intervals import leave_one_out
from pytest_iaside.stats.log_odds import log_odds, smoothed


@dataclass(frozen=True, eq=False, kw_only=True)
class EffectiveRobustness:
    """How far the accuracies of N models lie above the line, with their intervals.

    ``values``, ``low`` and ``high`` (N,) are shares of 1. ``slope`` and ``intercept`` are of the
    line, in log-odds; of several perturbations (E,). ``standard_error`` (N,) is of the line's
    models and of the images together.
    """

    values: Floats
    low: Floats
    high: Floats
    standard_error: Floats
    slope: Floats
    intercept: Floats
    level: float


def effective_robustness(
    clean: ArrayLike,
    corrupted: ArrayLike,
    groups: Sequence[str] | None = None,
    level: float = 0.95,
    *,
    image_groups: Groups = None,
) -> EffectiveRobustness:
    """Accuracy above the line of log-odds over the models at hand, SPEC.md 14.

    ``clean`` and ``corrupted`` (N, K) say which of K images each of N models answers right, 0 or
    1, image by image the same; of E perturbations ``corrupted`` is (E, N, K), each has a line of
    its own, and the mean over them counts. Models of a group (trainings of one recipe) count
    together as one in the line. The interval takes both into account that the line is drawn
    through few groups (one is left out at a time) and that accuracies are of few images (likewise,
    or a group of ``image_groups`` at a time). Where all are right or wrong, log-odds are those of
    half an image more of each.

    Raises SettingsError for other shapes, or fewer than three groups.
    """
    first, second = (np.asarray(each, dtype=np.float64) for each in (clean, corrupted))
    if first.ndim != 2 or second.ndim not in (2, 3) or first.shape != second.shape[-2:]:
        raise SettingsError(
            f"clean and corrupted are of the shapes {first.shape} and {second.shape}; give both as "
            "(models, images), or corrupted as (perturbations, models, images)"
        )
    models, images = first.shape
    rows = [first, *np.atleast_3d(second.T).T]  # One of (N, K), then each perturbation's.
    members = _members(groups, models)
    count, weights = int(members.max()) + 1, _weights(members)
    means = np.stack([each.mean(axis=1) for each in rows])
    lines = np.array([_line(means[[0, at]], weights, images) for at in range(1, len(means))])
    values = _mean_above(means, weights, images)
    # Without each group: another line; without each image: other accuracies too.
    without_group = np.stack(
        [_mean_above(means, weights * (members != g), images) for g in range(count)]
    )
    left = np.stack([leave_one_out(each.T, image_groups) for each in rows], axis=1)
    without_image = np.stack([_mean_above(each, weights, images) for each in left])
    error = np.sqrt(sum(_jackknife(each) ** 2 for each in (without_group, without_image)))
    reach = special.stdtrit(count - 1, 0.5 + level / 2) * error
    return EffectiveRobustness(
        values=values,
        low=values - reach,
        high=values + reach,
        standard_error=error,
        slope=lines[:, 0] if second.ndim == 3 else lines[0, 0],
        intercept=lines[:, 1] if second.ndim == 3 else lines[0, 1],
        level=level,
    )


def above_the_line(clean: Floats, corrupted: Floats, groups: Sequence[str], images: int) -> Floats:
    """The values of ``effective_robustness`` (R, N), of accuracies (R, N) on so many images.

    A row each: of all images, say, and without each of them.
    """
    weights = _weights(_members(groups, clean.shape[1]))
    pairs = zip(clean, corrupted, strict=True)
    return np.stack([_above(np.stack(pair), weights, images) for pair in pairs])


def _members(groups: Sequence[str] | None, models: int) -> NDArray[np.int64]:
    """The number of each model's group; raises as ``effective_robustness``."""
    names = list(groups) if groups is not None else [str(model) for model in range(models)]
    _, members = np.unique(names, return_inverse=True)
    count = int(members.max()) + 1
    if len(names) != models or count < LEAST_MODELS:
        raise SettingsError(
            f"{len(names)} models in {count} groups for {models} rows; a line needs a group for "
            f"every model, and at least {LEAST_MODELS} groups"
        )
    return np.asarray(members, dtype=np.int64)


def _weights(members: NDArray[np.int64]) -> Floats:
    return np.asarray(1 / np.bincount(members)[members])


def _line(means: Floats, weights: Floats, images: int) -> tuple[float, float]:
    """Slope and intercept of the weighted least squares of log-odds; ``means`` are (2, N)."""
    x, y = log_odds(means, images)
    x_mean, y_mean = (np.average(each, weights=weights) for each in (x, y))
    spread = (weights * (x - x_mean) ** 2).sum()
    # Models that are all as accurate say nothing of a slope.
    slope = (weights * (x - x_mean) * (y - y_mean)).sum() / spread if spread > 1e-12 else 0.0
    return float(slope), float(y_mean - slope * x_mean)


def _mean_above(means: Floats, weights: Floats, images: int) -> Floats:
    """The mean over perturbations of accuracies (1+E, N), the clean ones first."""
    each = [_above(means[[0, at]], weights, images) for at in range(1, len(means))]
    return np.asarray(np.mean(each, axis=0))


def _above(means: Floats, weights: Floats, images: int) -> Floats:
    slope, intercept = _line(means, weights, images)
    line = special.expit(intercept + slope * log_odds(means[0], images))
    return np.asarray(smoothed(means[1], images) - line)


def _jackknife(left_out: Floats) -> Floats:
    return np.asarray(np.sqrt(len(left_out) - 1) * left_out.std(axis=0))

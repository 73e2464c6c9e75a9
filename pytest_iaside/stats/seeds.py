"""How far another training of a recipe, or checkpoint, would lie: a prediction t (SPEC.md 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import Groups, group_count
from pytest_iaside.stats.intervals import Change, jackknife_error, leave_one_out


@dataclass(frozen=True, eq=False)
class PredictionError:
    """What makes a change between two recipes uncertain, squares of errors (P,).

    ``between`` is the spread between trainings of one recipe on these images, with ``freedom``
    degrees of freedom; ``inside`` the part of it that comes from how each training takes each
    image; ``images`` what images add where the recipes differ, with ``images_freedom``.
    """

    between: Floats
    inside: Floats
    images: Floats
    freedom: float
    images_freedom: float

    def reach(self, level: float) -> Floats:
        """Half the width (P,) of an interval at ``level``.

        If both are of one recipe, Student's t of ``between`` is exact, whatever images there are.
        If they are not, seeds and images count by their own degrees of freedom, as Cochran (1964)
        adds them. The larger of the two is taken.
        """
        of_seeds, of_images = self._squares(level)
        alone = self._quantile(level, self.freedom) ** 2 * self.between
        return np.asarray(np.sqrt(np.maximum(alone, of_seeds + of_images)))

    def of_seeds(self, level: float) -> Floats:
        """Which share of the square of that width seeds make, 0 to 1; the rest is of images."""
        square = self.reach(level) ** 2
        part = np.maximum(square - self._squares(level)[1], 0.0)
        return np.divide(part, square, out=np.zeros_like(square), where=square > 0)

    @property
    def error(self) -> Floats:
        """The standard error, (P,)."""
        seeds = np.maximum(self.between - self.inside, 0.0)
        return np.asarray(np.sqrt(np.maximum(self.between, seeds + self.images)))

    def _squares(self, level: float) -> tuple[Floats, Floats]:
        seeds = np.maximum(self.between - self.inside, 0.0)
        return (
            self._quantile(level, self.freedom) ** 2 * seeds,
            self._quantile(level, self.images_freedom) ** 2 * self.images,
        )

    def _quantile(self, level: float, freedom: float) -> float:
        return float(special.stdtrit(freedom, 0.5 + level / 2))


def prediction_error(
    candidate: Floats,
    baseline: Floats,
    change: Change,
    *,
    images: Floats | None = None,
    groups: Groups = None,
) -> PredictionError:
    """The error of ``change`` between the means of T and S trainings, (T, K, D) and (S, K, D).

    Both of the same K images; T + S is at least 3. ``images`` (P,) is the square of the error that
    images make, where something better than the jackknife knows it; ``groups`` those of images.
    """
    both = (candidate, baseline)
    means = tuple(rows.mean(axis=0) for rows in both)  # (K, D): of each image over trainings.
    squares, inside = np.zeros(1), np.zeros(1)
    for side, rows in enumerate(both):
        if len(rows) > 1:
            # Each training in place of its side's mean.
            found = _spread(
                [(each, means[1]) if side == 0 else (means[0], each) for each in rows],
                change,
                groups,
            )
            squares, inside = squares + found[0], inside + found[1]
    freedom = len(candidate) + len(baseline) - 2
    repeats = (1 / len(candidate) + 1 / len(baseline)) / freedom
    if images is None:
        images = _error_of_images(means[0], means[1], change, groups) ** 2
    drawn = group_count(groups, len(means[0]))
    return PredictionError(squares * repeats, inside * repeats, images, freedom, drawn - 1)


def trend_error(
    points: Floats,
    at_first: Floats,
    at_last: Floats,
    change: Change,
    *,
    images: Floats | None = None,
    groups: Groups = None,
) -> PredictionError:
    """The error of ``change`` between the ends of lines fitted to N checkpoints, (N, K, D).

    ``at_first`` and ``at_last`` (N,) are what each checkpoint adds to a line's ends. How far
    checkpoints lie off their line is the noise of training, with N − 2 degrees of freedom, as if
    they were drawn one by one; N is at least 3.
    """
    first, last = (np.tensordot(each, points, axes=1) for each in (at_first, at_last))
    fitted = _fitted(points, at_first, at_last)
    squares, inside = _spread([(last + each, first) for each in points - fitted], change, groups)
    freedom = len(points) - 2
    repeats = float(((at_last - at_first) ** 2).sum()) / freedom
    if images is None:
        images = _error_of_images(last, first, change, groups) ** 2
    drawn = group_count(groups, points.shape[1])
    return PredictionError(squares * repeats, inside * repeats, images, freedom, drawn - 1)


def _fitted(points: Floats, at_first: Floats, at_last: Floats) -> Floats:
    """The line's values (N, K, D) at each of ``points``."""
    slope = at_last - at_first  # Of a point as a multiple of its distance from the mean.
    place = slope / (slope**2).sum()
    rise = np.tensordot(slope, points, axes=1)
    return np.asarray(points.mean(axis=0) + place[:, None, None] * rise)


def line_error(values: Floats, at_first: Floats, at_last: Floats) -> Floats:
    """Standard error (P,) of the change along a line that is fitted to ``values`` (N, P)."""
    off = values - _fitted(values[:, None], at_first, at_last)[:, 0]
    square = (off**2).sum(axis=0) / (len(values) - 2)
    return np.asarray(np.sqrt(square * ((at_last - at_first) ** 2).sum()))


def _spread(
    sides: Sequence[tuple[Floats, Floats]], change: Change, groups: Groups
) -> tuple[Floats, Floats]:
    """Sums of squares (P,) of ``change`` over ``sides``, pairs of rows (K, D), around their mean.

    Of the whole, and of what each image adds to it.
    """
    whole = np.array([change(*(rows.mean(axis=0) for rows in pair)) for pair in sides])
    left_out = np.array([change(*(leave_one_out(rows, groups) for rows in pair)) for pair in sides])
    spread = left_out - left_out.mean(axis=0)
    spread = spread - spread.mean(axis=1, keepdims=True)
    count = left_out.shape[1]
    return (
        ((whole - whole.mean(axis=0)) ** 2).sum(axis=0),
        (count - 1) / count * (spread**2).sum(axis=(0, 1)),
    )


def _error_of_images(candidate: Floats, baseline: Floats, change: Change, groups: Groups) -> Floats:
    width = candidate.shape[1]
    return jackknife_error(
        np.hstack([candidate, baseline]),
        lambda mean: change(mean[..., :width], mean[..., width:]),
        groups,
    )

"""How far another training of the same recipe would lie: a prediction t (SPEC.md 9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from pytest_iaside.stats.arrays import Floats
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
    candidate: Floats, baseline: Floats, change: Change, *, images: Floats | None = None
) -> PredictionError:
    """The error of ``change`` between the means of T and S trainings, (T, K, D) and (S, K, D).

    Both of the same K images; T + S is at least 3. ``images`` (P,) is the square of the error that
    images make, where something better than the jackknife knows it.
    """
    both = (candidate, baseline)
    means = tuple(rows.mean(axis=0) for rows in both)  # (K, D): of each image over trainings.
    count, width = means[0].shape
    squares, of_images = np.zeros(1), np.zeros(1)
    for side, rows in enumerate(both):
        if len(rows) > 1:
            found = [_with(change, means, side, each) for each in rows]
            whole = np.array([each for each, _ in found])
            left_out = np.array([each for _, each in found])  # (S, K, P)
            squares = squares + ((whole - whole.mean(axis=0)) ** 2).sum(axis=0)
            spread = left_out - left_out.mean(axis=0)
            spread = spread - spread.mean(axis=1, keepdims=True)
            of_images = of_images + (count - 1) / count * (spread**2).sum(axis=(0, 1))
    freedom = len(candidate) + len(baseline) - 2
    repeats = 1 / len(candidate) + 1 / len(baseline)
    if images is None:
        error = jackknife_error(
            np.hstack(means), lambda mean: change(mean[..., :width], mean[..., width:])
        )
        images = error**2
    return PredictionError(
        squares / freedom * repeats, of_images / freedom * repeats, images, freedom, count - 1
    )


def _with(
    change: Change, means: tuple[Floats, ...], side: int, rows: Floats
) -> tuple[Floats, Floats]:
    """The change where one side is the training ``rows`` (K, D), and with an image left out."""
    some = [rows if at == side else mean for at, mean in enumerate(means)]
    whole = change(*(each.mean(axis=0) for each in some))
    return np.asarray(whole), np.asarray(change(*(leave_one_out(each) for each in some)))

"""Evidence: values of the same quantities of candidate and baseline, and how far they differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_iaside.compare.check import Estimates
from pytest_iaside.measure.quantities import Quantity
from pytest_iaside.stats import sid_intervals
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.estimate import Estimate
from pytest_iaside.stats.groups import Groups, design_effect, group_count
from pytest_iaside.stats.intervals import (
    STUDENT,
    Change,
    Law,
    Statistic,
    jackknife_interval,
    paired_error,
    unpaired_error,
)
from pytest_iaside.stats.seeds import PredictionError, prediction_error
from pytest_iaside.stats.sid_intervals import Shares, least


@dataclass(frozen=True, eq=False)
class Evidence:
    """Values (K, Q) of both, of the same images in the same order; copies of an image are one row.

    Not of the same images where ``paired`` is False; then (K, Q) and (L, Q). ``law`` says how many
    standard errors an interval reaches. ``resolution`` is what rounding moves on a single image:
    where no value differs by more, both gave the same answers, and no change is uncertain.
    """

    candidate: Floats
    baseline: Floats
    quantities: tuple[Quantity, ...]
    level: float
    paired: bool = True
    law: Law = STUDENT
    resolution: float = 0.0
    compared: tuple[int, ...] | None = None
    """The quantities in which the same answers are the same; all of them where it is None."""
    groups: Groups = None
    """The group of each row; of unpaired evidence that of each of the candidate's."""
    baseline_groups: Groups = None
    """Of unpaired evidence the group of each of the baseline's rows."""
    trainings: tuple[Floats, Floats] | None = None
    """Values (T, K, Q) and (S, K, Q) of each training of both, where there are several; the rows
    above are their means. Then what counts is how far another training would lie."""

    @property
    def same(self) -> bool:
        """Whether both gave the same answers to every image."""
        comparable = self.paired and self.resolution > 0 and self.trainings is None
        if not comparable:
            return False
        difference = abs(self.candidate - self.baseline)
        if self.compared is not None:
            difference = difference[:, self.compared]
        return bool((difference <= self.resolution).all())

    @property
    def drawn(self) -> int:
        """How many images, or groups of them, were drawn at random: each of them counts once."""
        return group_count(self.groups, len(self.candidate))

    def alone(self, some: list[int]) -> int:
        """Of how many single images the hits at ``some`` columns say as much."""
        if self.groups is None:
            return len(self.candidate)
        moved = self.candidate[:, some] - self.baseline[:, some]
        effect = max(design_effect(column, self.groups) for column in moved.T)
        return max(int(len(moved) / effect), 1)

    def means(self) -> tuple[Floats, Floats]:
        """The mean of every quantity, (Q,): candidate's, baseline's."""
        return self.candidate.mean(axis=0), self.baseline.mean(axis=0)

    def change_of(self, statistic: Statistic, change: Change, places: int) -> Estimates:
        """``change`` of what ``statistic`` reads off the means, at so many places together."""
        candidate, baseline = self.means()
        found = change(candidate, baseline)
        level, of_seeds = self.level_of_each(places), None
        if (uncertain := self.uncertainty(change)) is not None:
            reach, of_seeds = uncertain.reach(level), uncertain.of_seeds(level)
        else:
            error, freedom = self.error(change)
            reach = self.law.reach(level, freedom) * error
        return Estimates(
            statistic(baseline), statistic(candidate), found, found - reach, found + reach, of_seeds
        )

    def change_of_shares(self, shares: Shares, places: int) -> Estimates:
        """The change of what ``shares`` reads off the SID."""
        if self.trainings is not None:

            def moved(candidate: Floats, baseline: Floats) -> Floats:
                return shares(candidate, least(candidate)) - shares(baseline, least(baseline))

            return self.change_of(lambda psi: shares(psi, least(psi)), moved, places)
        candidate, baseline = (shares(psi, least(psi)) for psi in self.means())
        if self.paired and np.array_equal(self.candidate, self.baseline):
            # Whichever band is the least, it is the same in both.
            return Estimates(baseline, candidate, *3 * [candidate - baseline])
        low, high = sid_intervals.change_interval(
            self.candidate,
            self.baseline,
            shares,
            self.level_of_each(places),
            law=self.law,
            paired=self.paired,
            groups=self.groups,
            baseline_groups=self.baseline_groups,
        )
        return Estimates(baseline, candidate, candidate - baseline, low, high)

    def change_of_means(self, some: list[int]) -> Estimates:
        """The change of the mean of the quantities ``some``, together."""
        candidate, baseline = (mean[some] for mean in self.means())
        change = candidate - baseline
        if self.same:
            return Estimates(baseline, candidate, change, change, change)
        level = self.level_of_each(len(some))
        if (uncertain := self._of_means()) is not None:
            reach, of_seeds = uncertain.reach(level)[some], uncertain.of_seeds(level)[some]
            return Estimates(baseline, candidate, change, change - reach, change + reach, of_seeds)
        centre, error, freedom = (each[some] for each in self._changes())
        reach = self.law.reach(level, freedom) * error
        return Estimates(baseline, candidate, change, centre - reach, centre + reach)

    def p_values(self, resolution: float) -> Floats:
        """Two-sided p-values (Q,) of a change of each mean beyond ``resolution``, unadjusted."""
        if self.same:
            return np.ones(len(self.quantities))
        centre, error, freedom = self._changes()
        excess = np.maximum(np.abs(centre) - resolution, 0.0)
        certain = np.where(excess > 0, np.inf, 0.0)
        ratio = np.divide(excess, error, out=certain, where=error > 0)
        return self.law.p_value(ratio, freedom)

    def bounds_of_means(self, some: list[int]) -> Estimates:
        """The candidate's own means of the quantities ``some``, with intervals, together."""
        rows, level = self.candidate[:, some], self.level_of_each(len(some))
        candidate, baseline = (mean[some] for mean in self.means())
        found = jackknife_interval(rows, lambda mean: mean, level, law=self.law, groups=self.groups)
        for place, column in enumerate(some):
            if self.quantities[column].unit == "hit":
                share = Estimate.of_proportion(rows[:, place], level, self.groups)
                found.low[place], found.high[place] = share.low, share.high
        return Estimates(baseline, candidate, candidate, found.low, found.high)

    def bounds_of_shares(self, shares: Shares) -> Estimates:
        """What ``shares`` reads off the candidate's own SID, with its interval."""
        candidate, baseline = (shares(psi, least(psi)) for psi in self.means())
        low, high = sid_intervals.interval(
            self.candidate, shares, self.level, law=self.law, groups=self.groups
        )
        return Estimates(baseline, candidate, candidate, low, high)

    def level_of_each(self, places: int) -> float:
        """The level of each of so many intervals that are to hold together."""
        return 1 - (1 - self.level) / places

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the spread between trainings; infinite where it does not count."""
        if self.trainings is None:
            return np.inf
        return sum(len(each) for each in self.trainings) - 2

    def error(self, change: Change) -> tuple[Floats, Floats]:
        """Standard error and degrees of freedom of ``change``."""
        if self.paired:
            return paired_error(self.candidate, self.baseline, change, self.groups)
        sides = self.candidate, self.baseline
        return unpaired_error(*sides, change, self.groups, self.baseline_groups)

    def _changes(self) -> tuple[Floats, Floats, Floats]:
        """Centre, standard error and degrees of freedom (Q,) of the change of every mean."""
        centre = np.subtract(*self.means())
        if (uncertain := self._of_means()) is not None:
            return centre, uncertain.error, np.full_like(centre, uncertain.freedom)
        error, freedom = self.error(np.subtract)
        for column, quantity in enumerate(self.quantities):
            if quantity.unit == "hit" and self.drawn > 1:
                centre[column], error[column] = self._proportion(column)
                # Another law counts the images by it, and the error of groups is Student's.
                if self.law is STUDENT and self.groups is None and self.baseline_groups is None:
                    freedom[column] = np.inf
        return centre, error, freedom

    def uncertainty(self, change: Change, images: Floats | None = None) -> PredictionError | None:
        """What makes ``change`` uncertain where trainings are compared; None where they are not.

        ``images`` (P,) is the square of the error that images make, where it is known better.
        """
        if self.trainings is None:
            return None
        return prediction_error(*self.trainings, change, images=images, groups=self.groups)

    def _of_means(self) -> PredictionError | None:
        """The same of the change of every mean, (Q,)."""
        if not np.isfinite(self.freedom):
            return None
        images = paired_error(self.candidate, self.baseline, np.subtract, self.groups)[0] ** 2
        for column, quantity in enumerate(self.quantities):
            if quantity.unit == "hit":
                images[column] = self._proportion(column)[1] ** 2
        return self.uncertainty(np.subtract, images)

    def _proportion(self, column: int) -> tuple[float, float]:
        """Centre and standard error of the change of a share of hits.

        Where no image changed its side, the plain error would be 0 and every change excluded:
        Agresti and Min (Statistics in Medicine 2005) add half an image to each of the four cells
        of before and after. Of other images Agresti and Caffo (The American Statistician 2000) add
        a hit and a miss to each side. A row of copies with several labels is a share of hits; what
        is added counts beside it as beside a hit. In groups hits count as so many as would say as
        much alone (stats/groups.py), and what is added counts beside those.
        """
        if not self.paired:
            sides = (
                (self.candidate[:, column], self.groups),
                (self.baseline[:, column], self.baseline_groups),
            )
            means, squares = zip(*(_centre_and_square(*side, 1.0) for side in sides), strict=True)
            return means[0] - means[1], np.sqrt(sum(squares))
        moved = self.candidate[:, column] - self.baseline[:, column]
        centre, square = _centre_and_square(moved, self.groups)
        return centre, np.sqrt(square)


def _centre_and_square(rows: Floats, groups: Groups, total: float = 0.0) -> tuple[float, float]:
    """Mean of rows (K,) and two more, which add ``total`` to the sum and 1 to the squares.

    With the mean's squared standard error.
    """
    effect = design_effect(rows, groups)
    count = len(rows) / effect + 2
    centre = (float(rows.sum()) / effect + total) / count
    return centre, ((float((rows**2).sum()) / effect + 1) / count - centre**2) / count


def by_family(quantities: Sequence[Quantity]) -> dict[str, list[int]]:
    """The columns of each family of ``quantities``."""
    columns: dict[str, list[int]] = {}
    for column, quantity in enumerate(quantities):
        columns.setdefault(quantity.family, []).append(column)
    return columns

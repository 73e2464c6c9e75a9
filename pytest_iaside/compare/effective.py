"""Effective robustness of a candidate: what clean accuracy does not explain (SPEC.md 14).

Under a perturbation a model is right less often. Much of that change goes along with the change of
its clean accuracy, on a line of log-odds. What is left is the change of effective robustness.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from pytest_iaside.compare.check import Check, Estimates
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.compare.words import points, within
from pytest_iaside.measure.quantities import Quantity
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.log_odds import log_odds, smoothed

NAME = "effective"
PLACE = "effective robustness under "
CLEAN = ("clean accuracy", "accuracy, clean")
UNDER = "accuracy under "
BEYOND = "beyond what clean accuracy explains"
SLOPE = 1.0
"""Of the line in log-odds where a baseline's trainings tell none."""
FEWEST = 3
"""Trainings of different clean accuracies through which a line is drawn."""


@dataclass(frozen=True)
class Columns:
    """Where the clean accuracy and those under P perturbations stand among quantities."""

    clean: int
    perturbed: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def places(self) -> list[str]:
        return [f"{PLACE}{name}" for name in self.names]


def columns_of(quantities: Sequence[Quantity]) -> Columns | None:
    """Those columns; None where nothing tells how often the clean images are answered right."""
    clean = [at for at, each in enumerate(quantities) if each.name in CLEAN and _hit(each)]
    under = [at for at, each in enumerate(quantities) if each.name.startswith(UNDER) and _hit(each)]
    if not clean or not under:
        return None
    names = tuple(quantities[at].name.removeprefix(UNDER) for at in under)
    return Columns(clean[0], tuple(under), names)


def _hit(quantity: Quantity) -> bool:
    return quantity.unit == "hit"


@dataclass(frozen=True)
class Beyond:
    """The change of means (…, Q) that the line through the baseline's does not explain, (…, P).

    ``slope`` (P,) is of the line, in log-odds of so many ``images``.
    """

    columns: Columns
    slope: Floats
    images: int

    def __call__(self, candidate: Floats, baseline: Floats) -> Floats:
        clean, under = [self.columns.clean], list(self.columns.perturbed)
        moved = self._odds(candidate[..., clean]) - self._odds(baseline[..., clean])
        before = self._odds(baseline[..., under])
        explained = special.expit(before + self.slope * moved) - special.expit(before)
        return np.asarray(candidate[..., under] - baseline[..., under] - explained)

    def by_slope(self, candidate: Floats, baseline: Floats) -> Floats:
        """The derivative (P,) of that with respect to the slope."""
        at = self.columns.clean
        moved = self._odds(candidate[at]) - self._odds(baseline[at])
        place = self._odds(baseline[list(self.columns.perturbed)]) + self.slope * moved
        expected = special.expit(place)
        return np.asarray(-expected * (1 - expected) * moved)

    def by_clean(self, candidate: Floats, baseline: Floats) -> Floats:
        """How far (P,) a share of the clean images that turn moves that, at either side's rate."""
        at, found = self.columns.clean, []
        moved = self._odds(candidate[at]) - self._odds(baseline[at])
        before = self._odds(baseline[list(self.columns.perturbed)])
        expected = special.expit(before + self.slope * moved)
        for side in (candidate, baseline):
            right = smoothed(side[at], self.images)
            found.append(self.slope * expected * (1 - expected) / (right * (1 - right)))
        return np.asarray(np.sqrt(np.mean(np.square(found), axis=0)))

    def _odds(self, accuracy: Floats) -> Floats:
        return log_odds(accuracy, self.images)


@dataclass(frozen=True, eq=False)
class Effective:
    """The change of effective robustness at P places, (P,), with two-sided p-values of none.

    ``reach`` is half of each interval; they hold together.
    """

    change: Floats
    reach: Floats
    of_seeds: Floats | None
    p_value: Floats


def effective_estimates(evidence: Evidence, columns: Columns) -> Estimates:
    """The change of effective robustness at every place, with intervals that hold together.

    ``baseline`` and ``candidate`` are the accuracies themselves.
    """
    return as_estimates(evidence, columns, effective_change(evidence, columns))


def as_estimates(evidence: Evidence, columns: Columns, found: Effective) -> Estimates:
    """``found`` beside the accuracies; no share of images changes by more than 1."""
    candidate, baseline = (mean[list(columns.perturbed)] for mean in evidence.means())
    low, high = (np.clip(found.change + side * found.reach, -1.0, 1.0) for side in (-1, 1))
    return Estimates(baseline, candidate, found.change, low, high, found.of_seeds)


def effective_change(evidence: Evidence, columns: Columns) -> Effective:
    """What of each accuracy's change the line through the baseline does not explain.

    The line is the baseline's own: through its trainings where at least three have different clean
    accuracies, else of slope 1 in log-odds.
    """
    means, images = evidence.means(), len(evidence.candidate)
    slope, error = _line(evidence, columns)
    change = Beyond(columns, slope, images)
    moved, level = change(*means), evidence.level_of_each(len(slope))
    if evidence.same:
        nothing = np.zeros_like(moved)
        return Effective(moved, nothing, None, np.ones_like(moved))
    unseen = _unseen(evidence, columns, change.by_clean(*means))
    law = evidence.law
    if (known := evidence.uncertainty(change)) is not None and np.isfinite(evidence.freedom):
        known = replace(known, images=known.images + unseen)
        if error is not None:
            # The line takes one of the degrees of freedom that tell how far trainings lie from it.
            left = known.freedom - 1
            known = replace(known, between=known.between * known.freedom / left, freedom=left)
        of_slope = 0.0 if error is None else error * np.abs(change.by_slope(*means))
        quantile = special.stdtrit(known.freedom, 0.5 + level / 2)
        reach = np.sqrt(known.reach(level) ** 2 + (quantile * of_slope) ** 2)
        error_of_all = np.sqrt(known.error**2 + of_slope**2)
        p_value = _p_value(moved, error_of_all, np.full_like(moved, known.freedom), law)
        return Effective(moved, reach, known.of_seeds(level), p_value)
    square, freedom = evidence.error(change)
    together = np.sqrt(square**2 + unseen)
    reach = law.reach(level, freedom) * together
    return Effective(moved, reach, None, _p_value(moved, together, freedom, law))


def _p_value(moved: Floats, error: Floats, freedom: Floats, law: Any) -> Floats:
    certain = np.where(moved == 0, 0.0, np.inf)
    ratio = np.divide(np.abs(moved), error, out=certain, where=error > 0)
    return np.asarray(law.p_value(ratio, freedom))


def _line(evidence: Evidence, columns: Columns) -> tuple[Floats, Floats | None]:
    """The slopes (P,) and their standard errors over trainings; None where they are 1 by rule."""
    count = len(columns.perturbed)
    if evidence.trainings is None:
        return np.full(count, SLOPE), None
    trainings = evidence.trainings[1].mean(axis=1)
    odds = log_odds(trainings, evidence.trainings[1].shape[1])
    x, y = odds[:, columns.clean], odds[:, list(columns.perturbed)]
    if len(np.unique(trainings[:, columns.clean])) < FEWEST:
        return np.full(count, SLOPE), None
    x = x - x.mean()
    slope = x @ y / (x @ x)
    left = y - y.mean(axis=0) - x[:, None] * slope
    return slope, np.sqrt((left**2).sum(axis=0) / (len(x) - 2) / (x @ x))


def _unseen(evidence: Evidence, columns: Columns, by_clean: Floats) -> Floats:
    """The square of the error (P,) of what no image showed and one image more might.

    As Agresti and Min (2005) add half an image to each cell of before and after, of the clean
    images and of the perturbed ones: without it an accuracy that no image moved would be known for
    certain.
    """
    if not evidence.paired:
        counts = np.array([len(evidence.candidate), len(evidence.baseline)])
        return np.asarray((1 + by_clean**2) * (1 / (counts + 2.0) ** 2).sum())
    clean, *under = (evidence.alone([at]) for at in (columns.clean, *columns.perturbed))
    return np.asarray(1 / (np.array(under) + 2.0) ** 2 + (by_clean / (clean + 2.0)) ** 2)


def effective_sentence(check: Check, level: float) -> str:
    """The change under the perturbation that decides, in points."""
    name = check.where.removeprefix(PLACE)
    return f"{BEYOND}: {name} {points(check.change)} points ({within(check, level, points)})"

"""Sobol indices: which inputs a function's variance comes from (SPEC.md 3.1).

A and B are independent points of the unit cube, C^k is A with the column of input k taken from
B. Jansen's estimators compare f(C^k) with f(A), point by point, for total indices, and with f(B)
for those of first order.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from pytest_iaside.checks import check_whole, is_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.intervals import jackknife_error

Variance = Literal["both", "paper"]
Sequence = Literal["sobol", "halton", "latin-hypercube", "monte-carlo"]
MOST_INPUTS = int(qmc.Sobol.MAXDIM) // 2  # Each takes two dimensions of the sequence.


@dataclass(frozen=True, eq=False, kw_only=True)
class Points:
    """Where f is evaluated: ``a`` and ``b`` (points, inputs) float64 in [0, 1)."""

    a: Floats
    b: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluations:
    """What f is there: ``a`` and ``b`` (points,), ``c`` (inputs, points) float64."""

    a: Floats
    b: Floats
    c: Floats

    @property
    def squares(self) -> Floats:
        """½·(f(A_j) − f(C_j^k))², (inputs, points): their means are variances, V·ST_k."""
        return np.asarray((self.a - self.c) ** 2 / 2)


def points_by(sequence: Sequence, inputs: int, points: int, seed: int | list[int]) -> Points:
    """A and B of ``sequence``: the scrambled Sobol one, or another of the paper's (SPEC.md 5).

    Raises as ``sobol_points`` for that one; others take any number of points, two or more.
    """
    if sequence == "sobol":
        return sobol_points(inputs, points, seed)
    check_points(points, sequence)
    generator = np.random.default_rng(seed)
    if sequence == "halton":
        drawn = qmc.Halton(2 * inputs, scramble=True, rng=generator).random(points)
        # As below: neighbouring dimensions are alike where points are few.
        drawn = drawn[:, generator.permutation(2 * inputs)]
    elif sequence == "latin-hypercube":
        drawn = qmc.LatinHypercube(2 * inputs, rng=generator).random(points)
    else:
        drawn = generator.random((points, 2 * inputs))
    return Points(a=drawn[:, :inputs], b=drawn[:, inputs:])


def sobol_points(inputs: int, points: int, seed: int | list[int]) -> Points:
    """``points`` points A and as many B, of one scrambled Sobol sequence in 2·inputs dimensions.

    Raises SettingsError where ``points`` is no power of two, or there are too many inputs.
    """
    check_points(points)
    if not 1 <= inputs <= MOST_INPUTS:
        raise SettingsError(
            f"{inputs} inputs need {2 * inputs} dimensions, but the Sobol sequence has "
            f"{qmc.Sobol.MAXDIM}; use 1 to {MOST_INPUTS} inputs"
        )
    generator = np.random.default_rng(seed)
    drawn = qmc.Sobol(2 * inputs, scramble=True, rng=generator).random(points)
    # Of few points, some pairs of dimensions are alike even when scrambled. Dealt out in random
    # order they fall on other inputs for every seed; always on the same ones they would be a
    # bias that no standard error sees.
    drawn = drawn[:, generator.permutation(2 * inputs)]
    return Points(a=drawn[:, :inputs], b=drawn[:, inputs:])


def check_points(points: int, sequence: Sequence = "sobol") -> None:
    """Raise SettingsError for too few ``points``, and unless they are a power of two for Sobol's.

    Others unbalance that sequence.
    """
    if sequence != "sobol":
        check_whole("points", points, 2)
        return
    if is_whole(points) and points >= 2 and points.bit_count() == 1:
        return
    lower = 1 << (points.bit_length() - 1) if is_whole(points) and points > 2 else 0
    near = f": {lower} or {2 * lower}" if lower else ""
    raise SettingsError(f"points={points!r} must be a power of two, at least 2{near}")


def output_variance(found: Evaluations, variance: Variance = "both") -> float:
    """V, of f(A) and f(B), or as in the paper of f(A) alone; ddof 1, exactly 0 if all are equal."""
    values = np.concatenate([found.a, found.b]) if variance == "both" else found.a
    return 0.0 if np.ptp(values) == 0 else float(values.var(ddof=1))


def total_indices(found: Evaluations, variance: Variance = "both") -> Floats:
    """ST_k = Σ_j (f(A_j) − f(C_j^k))² / (2·N·V), (inputs,): Jansen's estimator (SPEC.md 3.1, 5).

    Never negative, and 0 for an input that changes nothing. NaN where V is 0.
    """
    spread = output_variance(found, variance)
    means: Floats = found.squares.mean(axis=1)
    return means / spread if spread > 0 else np.full_like(means, np.nan)


def first_order_indices(found: Evaluations, variance: Variance = "both") -> Floats:
    """S_k = 1 − Σ_j (f(B_j) − f(C^k_j))² / (2·N·V), (inputs,): Jansen's estimator.

    What an input explains alone; of few points it may come out negative. NaN where V is 0.
    """
    spread = output_variance(found, variance)
    means: Floats = ((found.b - found.c) ** 2 / 2).mean(axis=1)
    return 1 - means / spread if spread > 0 else np.full_like(means, np.nan)


def group_shares(
    found: Evaluations, groups: NDArray[np.int64], count: int
) -> tuple[Floats, Floats]:
    """Shares (count,) of ``groups`` (inputs,) in the sum of all ST, and their standard errors.

    V cancels, so a share is a ratio of means over the points, and its error the jackknife's that
    leaves out one point at a time: in hundreds of dimensions they are as good as independent.
    """
    rows = np.zeros((len(found.a), count))
    np.add.at(rows.T, groups, found.squares)
    return shares(rows.mean(axis=0)), jackknife_error(rows, shares)


def shares(sums: Floats) -> Floats:
    """``sums`` (…, n) normalised to 1; NaN where all are 0."""
    total = sums.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0))

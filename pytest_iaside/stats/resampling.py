"""Power by resampling: what share of gates on images drawn anew finds a fall (SPEC.md 11).

Differences of log-likelihoods are skewed, and what is a share of v(all) varies with v(all) itself,
so that no law of a textbook foretells their power at fifty images. The images at hand do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import Groups, group_sums

DRAWS, MOST_NUMBERS = 4000, 4_000_000
"""Gates that are drawn, and numbers in all of them together: 99 % is known to 0.2 points then."""
MOST = 1e3
"""No fall is looked for beyond this."""
PRECISE, LEAST = 1e-3, 1e-6
"""How near a fall is found, as a share of what it lies beyond the limit, and at all."""


@dataclass(frozen=True, eq=False)
class Pool:
    """The images that gates are drawn from, or groups of them: sums over each of N units.

    Of paired ``differences`` (N, P), of what they are a share of, ``whole`` (N,), and of images,
    ``sizes`` (N,). A fall is taken to be the same on every image.
    """

    differences: Floats
    whole: Floats
    sizes: Floats

    @classmethod
    def of(cls, differences: Floats, whole: Floats | None = None, groups: Groups = None) -> Pool:
        """Of images (K, P) and (K,); without ``whole`` changes are what they are, not shares."""
        ones = np.ones(len(differences))
        rows = np.column_stack([differences, ones if whole is None else whole, ones])
        sums = rows if groups is None else group_sums(rows, groups)
        return cls(sums[:, :-2], sums[:, -2], sums[:, -1])

    def __len__(self) -> int:
        return len(self.sizes)

    def at(self, place: int) -> Pool:
        """The pool of one of the P places alone."""
        return replace(self, differences=self.differences[:, [place]])

    def shift(self, fall: Floats | float) -> Floats:
        """How far the differences of each image are above those that fall by ``fall``, (P,)."""
        above = self.differences.sum(axis=0) + np.asarray(fall) * self.whole.sum()
        return np.asarray(above / self.sizes.sum())

    def deviation(self, fall: Floats | float) -> Floats:
        """Standard deviation (P,) over units of what each adds to a change of −``fall``."""
        adds = self.differences - np.multiply.outer(self.sizes, self.shift(fall))
        adds += np.multiply.outer(self.whole, np.asarray(fall) * np.ones(adds.shape[1]))
        return np.asarray(np.sqrt((adds**2).sum(axis=0) / (len(self) - 1)) / self.whole.mean())


class Gates:
    """Gates on so many ``units`` drawn from each of ``pools``."""

    def __init__(self, pools: Sequence[Pool], units: int) -> None:
        self.pools, self.units = pools, units
        width = len(pools) * units * pools[0].differences.shape[1]
        draws = max(min(DRAWS, MOST_NUMBERS // max(width, 1)) // len(pools), 100)
        # The same in every run, and for every quantity of the same images.
        generator = np.random.default_rng(units)
        self._drawn = [generator.integers(0, len(pool), (draws, units)) for pool in pools]

    def power(self, fall: Floats | float, allowed: float, level: float) -> Floats:
        """The share (P,) of gates that find a true ``fall`` to be drift.

        The upper end of Student's interval at ``level``, with the jackknife's error, lies beyond
        what is ``allowed`` then. 0 below two units.
        """
        found = [
            self._found(pool, drawn, fall, allowed, level)
            for pool, drawn in zip(self.pools, self._drawn, strict=True)
        ]
        return np.asarray(np.mean(found, axis=0))

    def smallest(self, allowed: float, level: float, power: float) -> Floats:
        """The smallest falls (P,) that are found with ``power``; infinite where none is."""
        high = np.full(self.pools[0].differences.shape[1], 2 * max(allowed, 1e-6))
        low = high / 2
        while (short := self.power(high, allowed, level) < power).any() and high.max() < MOST:
            low, high = np.where(short, high, low), np.where(short, 2 * high, high)
        # Where nothing varies every fall beyond the limit is found, however little beyond.
        while (high - low > np.maximum(PRECISE * (high - allowed), LEAST)).any():
            middle = (low + high) / 2
            enough = self.power(middle, allowed, level) >= power
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return np.asarray(np.where(short, np.inf, high))

    def _found(
        self, pool: Pool, drawn: NDArray[Any], fall: Floats | float, allowed: float, level: float
    ) -> Floats:
        if self.units < 2 or len(pool) < 2:
            return np.zeros(pool.differences.shape[1])
        moved = (pool.differences - np.multiply.outer(pool.sizes, pool.shift(fall)))[drawn]
        whole = pool.whole[drawn][..., None]
        sums, wholes = moved.sum(axis=1, keepdims=True), whole.sum(axis=1, keepdims=True)
        # A gate that gains nothing has no share to lose.
        wholes = np.where(wholes > 0, wholes, np.nan)
        left_out = (sums - moved) / (wholes - whole)
        error = np.sqrt((self.units - 1) * left_out.var(axis=1))
        reach = special.stdtrit(self.units - 1, 0.5 + level / 2)
        return np.asarray(((sums / wholes)[:, 0] + reach * error < -allowed).mean(axis=0))

"""Two one-sided tests: what it takes to show that a difference lies within a margin.

Schuirmann (Journal of Pharmacokinetics and Biopharmaceutics 1987): a difference is shown to be
within ±margin at α where both one-sided tests reject at α, which is where its interval of
confidence 1 − 2α lies within ±margin. Of several quantities all must be: no correction is needed
for that, because every one of them would have to err (intersection-union, Berger 1982). That some
quantity differs is found where any one does: there the intervals hold together.
"""

from __future__ import annotations

import numpy as np

from pytest_iaside.stats.arrays import Floats


def within_margin(low: Floats, high: Floats, margin: float) -> Floats:
    """Where an interval lies within ±``margin``: both one-sided tests reject. NaN is nowhere."""
    return np.asarray((low >= -margin) & (high <= margin))


def beyond_margin(low: Floats, high: Floats, margin: float) -> Floats:
    """Where an interval lies wholly beyond ±``margin``, on either side of it."""
    return np.asarray((low > margin) | (high < -margin))


def images_to_show(images: int, change: float, reach: float, margin: float) -> float:
    """How many images an equivalence takes if the ``change`` and the noise stay as they are.

    ``reach`` is half the interval's width at so many ``images``. Infinite where the change itself
    is not within ±``margin``.
    """
    left = margin - abs(change)
    if not left > 0:
        return np.inf
    return images * float(reach / left) ** 2

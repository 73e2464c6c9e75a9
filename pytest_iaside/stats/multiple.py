"""Many tests at once: what their p-values are worth together."""

from __future__ import annotations

import numpy as np

from pytest_iaside.stats.arrays import Floats


def holm(p_values: Floats) -> Floats:
    """Holm's step-down adjustment (1979): reject where the result is below the level."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted

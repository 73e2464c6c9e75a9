"""How sure a share of gates is, where few models stand behind many gates."""

import numpy as np

from pytest_iaside.stats.estimate import Estimate


def over_models(shares: np.ndarray, mean: float) -> tuple[float, float]:
    """95 % interval of ``mean``, by Student's t over the ``shares`` (N,) of each model, 0 to 1.

    Where all are 0, or all are 1, what so many models can show at most (Clopper and Pearson).
    """
    if mean in (0.0, 1.0):
        bound = 1 - 0.025 ** (1 / len(shares))
        return (0.0, bound) if mean == 0 else (1 - bound, 1.0)
    told = Estimate.of_mean(shares, 0.95)
    return min(max(told.low, 0.0), mean), max(min(told.high, 1.0), mean)

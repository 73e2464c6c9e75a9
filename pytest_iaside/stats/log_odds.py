"""Log-odds of accuracies, along which accuracy under a perturbation follows clean accuracy.

Over many models the log-odds of both lie near a line (Taori et al., NeurIPS 2020; SPEC.md 14).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from pytest_iaside.stats.arrays import Floats


def log_odds(accuracy: ArrayLike, images: int) -> Floats:
    """Log-odds of accuracies (…) on so many images; of half an image more of each, so finite."""
    return np.asarray(special.logit(smoothed(accuracy, images)))


def smoothed(accuracy: ArrayLike, images: int) -> Floats:
    """The accuracies (…) whose log-odds those are: half an image right more, and half wrong."""
    return (np.asarray(accuracy, dtype=np.float64) * images + 0.5) / (images + 1)

"""The temperature of a classifier: what its confidence has to be divided by to say the most.

A model whose logits are all halved gives the same answers with other confidence. Answers taken at
each model's own temperature do not see that (SPEC.md 14).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pytest_iaside.stats.arrays import Floats, one_hot

# The share of every label that is spread over all classes. Without it the temperature of a model
# that is always right would be 0, and jump with its first error.
SMOOTHING = 0.02
BOUNDS = (1e-3, 1e3)
STEPS = 2**40


def temperature_of(logits: Floats, labels: NDArray[Any]) -> float:
    """The temperature at which ``logits`` (K, C) say the most of ``labels``.

    These are (K,) classes or (K, C) distributions. Halved logits have half of it.
    """
    targets = labels if labels.ndim == 2 else one_hot(labels, logits.shape[1])
    return _temperature(logits, targets)


def temperature_of_labels(logits: Floats, targets: Floats) -> float:
    """The same of C labels that do not depend on each other: ``logits``, ``targets`` (K, C)."""
    both = np.stack([logits / 2, -logits / 2], axis=-1).reshape(-1, 2)
    return _temperature(both, np.stack([targets, 1 - targets], axis=-1).reshape(-1, 2))


def _temperature(logits: Floats, targets: Floats) -> float:
    """The temperature of ``logits`` with distributions ``targets``, both (K, C)."""
    targets = (1 - SMOOTHING) * targets + SMOOTHING / logits.shape[1]
    # In units of the spread of the logits, so that the search is the same for any of them.
    spread = float((logits.max(axis=1) - logits.min(axis=1)).mean())
    if not spread > 0:
        return 1.0

    low, high = BOUNDS
    scaled = (logits - logits.max(axis=1, keepdims=True)) / spread

    def temperature(step: int) -> float:
        return float(low * (high / low) ** (step / STEPS))

    def slope(step: int) -> float:
        """What a lower temperature adds to the likelihood; it rises with the temperature."""
        expected = special.softmax(scaled / temperature(step), axis=1)
        return float(((targets - expected) * scaled).sum(axis=1).mean())

    # The likelihood is concave in 1/T, so that its slope changes sign once. (scipy.optimize
    # would take longer to import than an unchanged model to be gated.)
    return spread * temperature(bisect_left(range(STEPS), 0.0, key=slope))

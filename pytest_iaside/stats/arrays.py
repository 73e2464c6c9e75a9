"""The array type of all numbers here, rows as users give them, and random numbers by a text."""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
"""float64, whatever the shape."""


def as_row(values: ArrayLike) -> Floats:
    """``values`` (n,) as float64; empty where they are no numbers in a row."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return np.empty(0)
    return found if found.ndim == 1 else np.empty(0)


def random_by(key: str) -> np.random.Generator:
    """A generator whose numbers depend on ``key`` alone."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest(), "little"))

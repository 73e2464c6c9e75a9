"""The array type of all numbers here, rows as users give them, and random numbers by a text."""

import hashlib
from collections.abc import Sequence

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


def one_hot(labels: NDArray[np.int64], classes: int) -> Floats:
    """Distributions (K, C) of ``labels`` (K,); nothing of size (C, C), which of 22,000 is 4 GB."""
    found = np.zeros((len(labels), classes))
    found[np.arange(len(labels)), labels] = 1.0
    return found


def averaged(rows: Floats, keys: Sequence[str]) -> Floats:
    """The mean of the rows (K, …) of each key, in the order in which the keys first come."""
    places: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    if len(places) == len(rows):
        return rows
    found = np.empty((len(places), *rows.shape[1:]))
    for at, some in enumerate(places.values()):
        # Sorted, so that no bit depends on the order of the rows; equal ones are not rounded.
        values = np.sort(rows[some], axis=0)
        found[at] = np.where(values[0] == values[-1], values[0], values.mean(axis=0))
    return found


def random_by(key: str) -> np.random.Generator:
    """A generator whose numbers depend on ``key`` alone."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest(), "little"))

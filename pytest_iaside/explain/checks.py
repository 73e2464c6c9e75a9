"""Numbers that are given as settings, checked, and random numbers that a text decides."""

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pytest_iaside.errors import SettingsError
from pytest_iaside.stats.arrays import Floats


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_whole(name: str, value: Any, least: int | None = None, why: str = "") -> None:
    """Raise SettingsError unless ``value`` is a whole number, of at least ``least``."""
    if not is_whole(value) or (least is not None and value < least):
        smallest = "" if least is None else f" of at least {least}"
        raise SettingsError(f"{name}={value!r} must be a whole number{smallest}{why}")


def check_positive(name: str, value: Any) -> None:
    """Raise SettingsError unless ``value`` is a finite number above 0."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise SettingsError(f"{name}={value!r} must be a finite number above 0")


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

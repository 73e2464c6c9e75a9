"""What is read off squared gradients at several scales of noise (SPEC.md 4)."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional

from pytest_iaside.errors import SettingsError
from pytest_iaside.stats.arrays import Floats

Maps = Floats
Per = Literal["sample", "image", "pixel"]
# Values this close are the same but for rounding, and tie.
ROUNDING = 1e-9
DOWNSAMPLING = 5


def check_scales(scales: ArrayLike) -> tuple[float, ...]:
    """``scales`` as numbers, if they are at least one, in [0, 1] and strictly ascending.

    Raises SettingsError otherwise.
    """
    try:
        found = np.asarray(scales, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    expected = "expected at least one number in [0, 1], each greater than the one before"
    if found.ndim != 1 or not found.size:
        raise SettingsError(f"scales={scales!r}; {expected}, as (0, 0.5, 1)")
    # Written so that NaN, which fails every comparison, counts as wrong.
    if not ((found >= 0) & (found <= 1)).all():
        wrong = found[~((found >= 0) & (found <= 1))][0]
        raise SettingsError(f"scales has {wrong:g}; {expected}: how large noise is at 1 is `noise`")
    if not (np.diff(found) > 0).all():
        at = int(np.flatnonzero(np.diff(found) <= 0)[0])
        raise SettingsError(f"scales has {found[at]:g} before {found[at + 1]:g}; {expected}")
    return tuple(found.tolist())


def argmax_scale(scales: ArrayLike, values: ArrayLike) -> Maps:
    """The scale at which ``values`` (S, …) are largest, (…); of ties the smallest."""
    found = np.asarray(values, dtype=np.float64)
    return np.asarray(scales, dtype=np.float64)[_first_largest(found)]


def optimal_scale(
    scales: ArrayLike, sg2: ArrayLike, *, exponent: float = 2.5, per: Per = "image"
) -> Maps:
    """argmax over scales s of s^γ · ‖SG2(s)‖₁, γ = ``exponent``, for ``sg2`` (S, K, H, W).

    ``per="sample"`` () sums over all images, ``"image"`` (K,) over each, ``"pixel"`` (K, H, W)
    takes every pixel by itself. Ties go to the smallest scale.
    """
    if per not in get_args(Per):
        raise SettingsError(f"per={per!r} is unknown; use one of {', '.join(get_args(Per))}")
    maps = np.asarray(sg2, dtype=np.float64)
    axes = {"sample": (1, 2, 3), "image": (2, 3), "pixel": ()}[per]
    return argmax_scale(scales, weighted(scales, maps.sum(axis=axes), exponent))


def weighted(scales: ArrayLike, norms: ArrayLike, exponent: float) -> Maps:
    """s^γ · norms(s), for ``norms`` (S, …)."""
    values = np.asarray(norms, dtype=np.float64)
    weights: Any = np.asarray(scales, dtype=np.float64) ** exponent
    return np.asarray(weights.reshape(-1, *[1] * (values.ndim - 1)) * values)


def at_end(scales: ArrayLike, chosen: ArrayLike) -> NDArray[np.bool_]:
    """Whether the scales ``chosen`` (…) are the first or the last of ``scales``."""
    ends = np.asarray(scales, dtype=np.float64)[[0, -1]]
    return np.asarray(np.isin(np.asarray(chosen), ends))


def inconsistency(maps: ArrayLike, *, downsampling: int = DOWNSAMPLING) -> Floats:
    """1 − mean over t ≥ 1 of cos(E₀, E_t), (K,), of the maps (S, K, H, W) of S scales.

    Maps are averaged over blocks of ``downsampling`` pixels, at the border over what is left of
    one. 0 where no scale changes the map but in strength, 1 where all have nothing in common with
    the first. NaN where a map is 0 everywhere, and where there is one scale only.
    """
    stack = torch.from_numpy(np.array(maps, dtype=np.float64))
    scales, count, height, width = stack.shape
    block = (min(downsampling, height), min(downsampling, width))
    coarse = functional.avg_pool2d(stack, block, ceil_mode=True).flatten(2).numpy()
    lengths = np.linalg.norm(coarse, axis=2)
    if scales == 1:
        return np.full(count, np.nan)
    unit = np.divide(
        coarse,
        lengths[..., None],
        out=np.full_like(coarse, np.nan),
        where=lengths[..., None] > 0,
    )
    cosines = (unit[:1] * unit[1:]).sum(axis=2)
    # Rounding must not make what never changed less than consistent.
    return np.asarray(np.maximum(1 - cosines.mean(axis=0), 0.0))


def _first_largest(values: Maps) -> NDArray[np.int64]:
    largest = values.max(axis=0)
    return np.asarray((values >= largest - ROUNDING * np.abs(largest)).argmax(axis=0))

"""Labels of images, checked: class indices, distributions, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.stats.arrays import Floats

# Distributions written with three decimals, or computed in float16, sum to 1 this closely.
SUM_TOLERANCE = 1e-3
EXPECTED_LABELS = "expected class indices (images,) or distributions (images, classes)"


def counted(number: int, noun: str) -> str:
    """``3 images``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def check_number(given: int, noun: str, images: int) -> None:
    """Raise ReferenceSampleError unless there are as many as there are images."""
    if given != images:
        raise ReferenceSampleError(
            f"{counted(given, noun)} for {counted(images, 'image')}; give one for each image"
        )


def checked_labels(labels: Any, names: Sequence[str]) -> Tensor | None:
    """``labels`` as (K,) int64 or (K, classes) float64; ReferenceSampleError for what is none."""
    if labels is None:
        return None
    try:
        array = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    except (TypeError, ValueError) as error:
        raise ReferenceSampleError(f"labels make no array ({error}); {EXPECTED_LABELS}") from error
    if array.ndim not in (1, 2):
        raise ReferenceSampleError(f"labels have shape {array.shape}; {EXPECTED_LABELS}")
    check_number(len(array), "label", len(names))
    checked = _class_indices if array.ndim == 1 else _distributions
    return torch.from_numpy(checked(array, names))


def _class_indices(array: NDArray[Any], names: Sequence[str]) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        hint = "; convert them with .astype('int64')" if array.dtype.kind == "f" else ""
        raise ReferenceSampleError(
            f"labels are {array.dtype} (the first is {array[0]!r}); {EXPECTED_LABELS} as whole "
            f"numbers{hint}"
        )
    indices = array.astype(np.int64)
    if (indices < 0).any():
        first = int((indices < 0).argmax())
        raise ReferenceSampleError(
            f"{names[first]} has label {array[first]}; class indices start at 0: leave out images "
            "that have no label, or pass labels=None"
        )
    return indices


def _distributions(array: NDArray[Any], names: Sequence[str]) -> Floats:
    if array.dtype.kind not in "iuf":
        raise ReferenceSampleError(f"labels are {array.dtype}; {EXPECTED_LABELS}")
    if array.shape[1] < 2:
        raise ReferenceSampleError(
            f"labels have shape {array.shape}, but a distribution needs at least 2 classes; "
            f"{EXPECTED_LABELS}: for class indices pass labels[:, 0]"
        )
    rows = array.astype(np.float64)
    sums = rows.sum(axis=1)
    # Written so that NaN, which fails every comparison, counts as wrong.
    right = (rows >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE)
    if not right.all():
        first = int(right.argmin())
        raise ReferenceSampleError(
            f"the soft label of {names[first]} sums to {sums[first]:.4g} with a least entry of "
            f"{rows[first].min():.4g}; expected nonnegative entries that sum to 1: pass "
            "probabilities (a softmax), not scores"
        )
    return rows

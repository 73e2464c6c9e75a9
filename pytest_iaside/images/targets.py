"""Targets of a reference sample: what is right of each image where that is no class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError

Targets = Tensor | tuple[Any, ...]
"""A tensor (K, …), or one thing of any kind for each of K images."""


def checked_targets(targets: Any, names: Sequence[str]) -> Targets | None:
    """``targets`` for the images ``names``, copied; raises ReferenceSampleError for others."""
    if targets is None:
        return None
    if isinstance(targets, (np.ndarray, Tensor)):
        tensor = torch.as_tensor(targets).detach().cpu().clone()
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ReferenceSampleError("targets hold NaN or infinity; give finite numbers")
        found: Targets = tensor
        count = len(tensor) if tensor.ndim else 0
    elif isinstance(targets, Sequence) and not isinstance(targets, (str, bytes)):
        found = tuple(targets)
        count = len(found)
    else:
        raise ReferenceSampleError(
            f"targets are a {type(targets).__name__}; expected a tensor (images, …), or a list "
            "with one target for each image"
        )
    if count != len(names):
        raise ReferenceSampleError(
            f"there are {count} targets for {len(names)} images; give one for each image"
        )
    return found


def taken(targets: Targets | None, indices: Sequence[int]) -> Targets | None:
    """The targets of the images at ``indices``."""
    if isinstance(targets, Tensor):
        return targets[torch.as_tensor(indices, dtype=torch.int64)]
    return None if targets is None else tuple(targets[i] for i in indices)


def digests_of(targets: Targets) -> list[str]:
    """SHA-256 of each target's content, 32 hexadecimal digits each."""
    return [_digest(each) for each in targets]


def numbers_of(targets: Targets) -> list[int]:
    """A whole number for each target, the same for the same content: what tells two apart."""
    return [int(digest[:7], 16) for digest in digests_of(targets)]


def _digest(target: Any) -> str:
    content = hashlib.sha256()
    for part in _contents(target):
        content.update(part)
    return content.hexdigest()[:32]


def _contents(target: Any) -> Iterator[bytes]:
    if isinstance(target, Tensor):
        target = target.detach().cpu().numpy()
    if isinstance(target, np.ndarray) and target.dtype.kind != "O":
        yield f"{target.dtype.str} {target.shape} ".encode()
        yield np.ascontiguousarray(target).tobytes()
    elif isinstance(target, Mapping):
        for key in sorted(target, key=str):
            yield f"{key}: ".encode()
            yield from _contents(target[key])
    elif isinstance(target, (list, tuple, np.ndarray)):
        yield f"{len(target)} of ".encode()
        for each in target:
            yield from _contents(each)
    else:
        yield f"{type(target).__name__} {target!r} ".encode()

"""Targets of a reference sample: what is right of each image where that is no class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError

Targets = Tensor | tuple[Any, ...]
"""A tensor (K, …), or one thing of any kind for each of K images."""

PLAIN = (str, bytes, bool, int, float, complex, Enum, Path)
"""Whose repr says all that they hold."""


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
    try:
        for part in _contents(target):
            content.update(part)
    except RecursionError:
        raise ReferenceSampleError("a target holds itself; give one that ends") from None
    return content.hexdigest()[:32]


def _contents(target: Any) -> Iterator[bytes]:
    if isinstance(target, Tensor):
        target = target.detach().cpu()
        # numpy has no bfloat16.
        target = (target.float() if target.dtype == torch.bfloat16 else target).numpy()
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
    elif target is None or isinstance(target, PLAIN):
        yield f"{type(target).__name__} {target!r} ".encode()
    elif isinstance(target, Set):
        yield f"{len(target)} in any order ".encode()
        yield from sorted(b"".join(_contents(each)) for each in target)
    elif hasattr(target, "__array__") or hasattr(target, "__array_interface__"):  # A picture.
        yield from _contents(np.asarray(target))
    else:
        # Not what repr says where there is more: it leaves out what is long, or is an address.
        attributes, kind = _attributes(target), cast(Any, type(target))
        if not attributes and kind.__repr__ is object.__repr__:
            raise ReferenceSampleError(
                f"a target is a {type(target).__name__}, of which nobody can tell whether it is "
                "still the same; give tensors, arrays, numbers or text, or lists, dicts and "
                "dataclasses of them"
            )
        yield f"{type(target).__name__} {'' if attributes else repr(target)} ".encode()
        yield from _contents(attributes)


def _attributes(target: Any) -> dict[str, Any]:
    if is_dataclass(target) and not isinstance(target, type):
        return {each.name: getattr(target, each.name) for each in fields(target)}
    return {} if callable(target) else dict(getattr(target, "__dict__", {}))

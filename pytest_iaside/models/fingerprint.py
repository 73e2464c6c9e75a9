"""What a classifier's fingerprint is made of: weights, files of weights, settings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# How an .onnx file names one that holds some of its weights: a protobuf entry, up to the length.
ONNX_LOCATION = re.compile(rb"\x0a\x08location\x12([\x00-\x7f]|[\x80-\xff][\x00-\x7f])")


def content_of(value: Any) -> str:
    """``value`` of a classifier's settings as text; of a function its name."""
    if callable(value):
        kind = value if hasattr(value, "__qualname__") else type(value)
        return f"{kind.__module__}.{kind.__qualname__}"
    return repr(value)


def state_contents(key: str, value: Any) -> Iterator[bytes]:
    """What ``value`` of a module's state holds, as bytes."""
    flatten = getattr(value, "__tensor_flatten__", None)
    if isinstance(value, Tensor) and callable(flatten):
        # A tensor that holds others, as torchao's quantised weights do.
        yield f"{key} {type(value).__qualname__} {tuple(value.shape)} ".encode()
        for name in flatten()[0]:
            yield from state_contents(f"{key}.{name}", getattr(value, name))
    elif isinstance(value, Tensor):
        value = value.dequantize() if value.is_quantized else value
        value = value if value.layout == torch.strided else value.to_dense()
        yield f"{key} {value.dtype} {tuple(value.shape)} ".encode()
        if not value.is_meta:
            # As bytes: numpy has no bfloat16.
            yield value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, (tuple, list)):
        for position, part in enumerate(value):
            yield from state_contents(f"{key}.{position}", part)
    elif value is None or isinstance(value, (bool, int, float, str, torch.dtype)):
        yield f"{key} {value!r} ".encode()


def file_digest(path: Path) -> bytes:
    """SHA-256 of the file ``path``, read piece by piece: weights may be larger than memory."""
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)
    return digest.digest()


def weight_files(path: Path) -> list[Path]:
    """The .onnx file ``path``, and those beside it that hold weights of it."""
    content = path.read_bytes()
    found = set()
    for match in ONNX_LOCATION.finditer(content):
        low, *high = match[1]
        length = (low & 127) + (high[0] << 7 if high else 0)
        name = content[match.end() : match.end() + length].decode(errors="replace")
        if "\0" not in name and (path.parent / name).is_file():
            found.add(path.parent / name)
    return [path, *sorted(found)]

"""Execution: where and in which batches a network runs."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_iaside.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where a network runs; it changes nothing but speed and the last digits.

    ``device`` is "auto", "cpu", "cuda", "cuda:1", …; ``backend`` "auto", "eager", "compile",
    "openvino" or "onnx"; ``batch_size`` "auto" or a number of images. Raises SettingsError for a
    batch size that is neither.
    """

    device: str = "auto"
    backend: str = "auto"
    batch_size: int | str = "auto"

    def __post_init__(self) -> None:
        size = self.batch_size
        if size != "auto" and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise SettingsError(f"batch_size={size!r} must be 'auto' or a whole number above 0")

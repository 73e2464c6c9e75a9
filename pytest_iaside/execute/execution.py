"""Execution: where, in which batches and at which precision a network runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from pytest_iaside.checks import is_whole
from pytest_iaside.errors import SettingsError

if TYPE_CHECKING:
    from concurrent.futures import Executor


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where a network runs.

    ``device`` is "auto", "cpu", "cuda", "cuda:1", …; ``backend`` "auto", "eager", "compile",
    "openvino" or "onnx"; ``batch_size`` "auto" or a number of images. They change speed and the
    last digits. ``dtype``, "float32" or "bfloat16", changes what is measured. ``executor`` spreads
    the images of ``measure`` over workers.

    Raises SettingsError for a batch size that is neither "auto" nor a number of images.
    """

    device: str = "auto"
    backend: str = "auto"
    batch_size: int | str = "auto"
    dtype: str = "float32"
    executor: Executor | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        size = self.batch_size
        if size != "auto" and (not is_whole(size) or size < 1):
            raise SettingsError(f"batch_size={size!r} must be 'auto' or a whole number above 0")

    @property
    def settings(self) -> dict[str, Any]:
        """What of it changes what is measured; nothing for float32, which every baseline was."""
        return {} if self.dtype == "float32" else {"dtype": self.dtype}


def check_execution(execution: Any) -> None:
    """Raise SettingsError unless ``execution`` is an Execution."""
    if not isinstance(execution, Execution):
        raise SettingsError(
            f"execution={execution!r} cannot be used; expected an Execution: "
            "Execution(device='cpu', batch_size=8)"
        )


def gathered(settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` with those that are fields of an Execution in one, under ``execution``."""
    rest = dict(settings)
    own = {each.name: rest.pop(each.name) for each in fields(Execution) if each.name in rest}
    return {"execution": Execution(**own), **rest}


def scattered(settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` with what is unusual of their ``execution``; SettingsError for an executor."""
    rest, usual = dict(settings), Execution()
    execution = rest.pop("execution", usual)
    check_execution(execution)
    if execution.executor is not None:
        raise SettingsError(
            "execution: an executor cannot be used here; let the fixture spectral_executor "
            "return it"
        )
    own = {each.name: getattr(execution, each.name) for each in fields(Execution)}
    return {name: value for name, value in own.items() if value != getattr(usual, name)} | rest

"""Execution: where, in which batches and at which precision a network runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from pytest_iaside.checks import is_whole
from pytest_iaside.errors import SettingsError, quoted

if TYPE_CHECKING:
    from concurrent.futures import Executor

EXPECTED = (
    "expected process, process:4, dask://host:port, ray, ray://host:port, slurm:20, or a "
    "concurrent.futures.Executor; options come after a question mark: process:2?threads=4"
)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where a network runs.

    ``device`` is "auto", "cpu", "cuda", "cuda:1", …; ``backend`` "auto", "eager", "compile",
    "openvino" or "onnx"; ``batch_size`` "auto" or a number of images. They change speed and the
    last digits. ``dtype``, "float32" or "bfloat16", changes what is measured. ``executor`` names
    workers that share the work ("process:4", "dask://host:port", "ray", "slurm:20"), or is a
    concurrent.futures.Executor; None is this process.

    Raises SettingsError for a batch size that is neither "auto" nor a number of images, and for
    an executor that is none.
    """

    device: str = "auto"
    backend: str = "auto"
    batch_size: int | str = "auto"
    dtype: str = "float32"
    executor: Executor | str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        size = self.batch_size
        if size != "auto" and (not is_whole(size) or size < 1):
            raise SettingsError(f"batch_size={size!r} must be 'auto' or a whole number above 0")
        check_executor(self.executor)

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
    """``settings`` with what is unusual of their ``execution`` in its place."""
    rest, usual = dict(settings), Execution()
    execution = rest.pop("execution", usual)
    check_execution(execution)
    own = {each.name: getattr(execution, each.name) for each in fields(Execution)}
    return {name: value for name, value in own.items() if value != getattr(usual, name)} | rest


def is_executor(value: Any) -> bool:
    """Whether ``value`` is, or names, something that runs calls; or None."""
    with suppress(SettingsError):
        check_executor(value)
        return True
    return False


def check_executor(executor: Any) -> None:
    """Raise SettingsError unless ``executor`` is, or names, something that runs calls; or None."""
    if isinstance(executor, str):
        executor_parts(executor)
    elif executor is not None and (
        isinstance(executor, type) or not callable(getattr(executor, "submit", None))
    ):
        raise SettingsError(f"executor={quoted(executor)} cannot be used; {EXPECTED}")


def executor_parts(text: str) -> tuple[str, str, dict[str, Any]]:
    """The kind, what comes after it, and the options of what names workers."""
    front, _, query = text.strip().partition("?")
    kind, _, rest = front.partition(":")
    number = rest.isdecimal() and int(rest) > 0
    fits = {
        "process": not rest or number,
        "dask": rest.startswith("//") and len(rest) > 2,
        "ray": not rest or number or rest.startswith("//"),
        "slurm": number,
    }
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        options, kind = {}, ""
    if not fits.get(kind, False):
        raise SettingsError(f"executor={quoted(text)} is unknown; {EXPECTED}")
    found = {name: _number(value) for name, value in options.items()}
    threads = found.get("threads", 1)
    if not is_whole(threads) or threads < 1:
        raise SettingsError(
            f"executor={quoted(text)}: threads={quoted(threads)} cannot be used; expected a whole "
            "number above 0, such as process:2?threads=4"
        )
    return kind, rest, found


def _number(text: str) -> Any:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text

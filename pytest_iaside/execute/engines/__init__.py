"""Engines: workers that share a measurement, one file for each kind."""

from __future__ import annotations

import atexit
import importlib
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pytest_iaside.errors import SettingsError, quoted
from pytest_iaside.execute.execution import EXPECTED, check_executor, executor_parts

if TYPE_CHECKING:
    from pytest_iaside.execute.engines.base import Engine

_OPEN: dict[str, Engine] = {}
_LOCK = threading.Lock()
_PROCESS = os.getpid()


def engine_of(executor: Any) -> Engine:
    """The engine that ``executor`` is, or names; one that is named stays open in this process.

    Raises SettingsError for anything else, and where its workers cannot be reached.
    """
    from pytest_iaside.execute.engines.base import Engine

    if isinstance(executor, Engine):
        return executor
    if isinstance(executor, str):
        return _named(executor)
    check_executor(executor)
    from pytest_iaside.execute.engines.futures import FuturesEngine

    kept: Engine | None = getattr(executor, "_iaside_engine", None)
    if kept is None:
        if type(executor).__module__.startswith("distributed"):
            from pytest_iaside.execute.engines.dask import DaskEngine

            kept = DaskEngine(client=executor._client)
        else:
            kept = FuturesEngine(executor)
        with suppress(AttributeError):  # It has slots.
            executor._iaside_engine = kept
    return kept


def close_engines() -> None:
    """Let go of all workers that were started for a name."""
    with _LOCK:
        while _OPEN:
            _, engine = _OPEN.popitem()
            if os.getpid() == _PROCESS:
                engine.close()


def _named(text: str) -> Engine:
    global _PROCESS
    kind, rest, options = executor_parts(text)
    with _LOCK:
        if os.getpid() != _PROCESS:
            # What was open before a fork belongs to the other process.
            _OPEN.clear()
            _PROCESS = os.getpid()
        if text not in _OPEN:
            module = importlib.import_module(f"{__name__}.{kind}")
            try:
                opened: Engine = module.opened(rest, options)
            except TypeError as error:
                raise SettingsError(
                    f"executor={quoted(text)} has an option that {kind} does not take ({error}); "
                    f"{EXPECTED}"
                ) from error
            if not _OPEN:
                atexit.register(close_engines)
            _OPEN[text] = opened
        return _OPEN[text]

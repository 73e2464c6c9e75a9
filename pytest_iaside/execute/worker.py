"""What runs on a worker: calls about a classifier, which is unpacked and made ready once."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pytest_iaside.errors import ModelError, SpectralRobustnessError, one_line
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.kept_open import KeptBackends
from pytest_iaside.execute.parcel import dumped, unpacked
from pytest_iaside.execute.passes import Passes, counted
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.tuning import own_copy

MODELS = 2
"""Classifiers that a worker keeps ready: a candidate and what it is compared with."""


@dataclass(frozen=True)
class Call:
    """``function(classifier, execution, *arguments)``, to be made on a worker."""

    function: Callable[..., Any]
    execution: Execution
    arguments: tuple[Any, ...]
    passes: int
    """Forward passes of the whole measurement, of which this is a part."""


@dataclass(frozen=True)
class Reply:
    """What came of a call: a ``value``, an ``error``, or that the classifier is ``missing``."""

    worker: str
    value: bytes | None = None
    error: Exception | None = None
    missing: bool = False
    seconds: float = 0.0
    """What the function took; not the way to the worker and back."""
    received: int = 0
    """Bytes that came, the classifier's among them."""
    passes: int = 0
    """Forward passes that the call took."""
    opened: bool = False
    """Whether the classifier was unpacked for this call."""


@dataclass(frozen=True)
class Home:
    """What a worker needs to know of who asks, to find the same modules and to compute alike."""

    paths: tuple[str, ...]
    threads: int

    @classmethod
    def here(cls, threads: int) -> Home:
        # The empty entry, and relative ones, are of the folder that this process runs in.
        return cls(tuple(dict.fromkeys(map(os.path.abspath, sys.path))), threads)


class _Mine(threading.local):
    """The classifiers that this thread has unpacked, those used last at the end."""

    def __init__(self) -> None:
        self.opened: OrderedDict[str, tuple[Classifier, KeptBackends]] = OrderedDict()


_MINE = _Mine()


def work(
    home: Home, payload: bytes, key: str, content: bytes | None, *, stored: bool = False
) -> Reply:
    """Make the Call that ``payload`` holds about the classifier of ``key``.

    ``content`` is the classifier itself, where the worker may not have it yet; it came with this
    call unless it was ``stored`` beside the worker before. What the call raises is in the reply;
    whatever is raised here is about the worker.
    """
    opened = key not in _MINE.opened
    received = len(payload) + (len(content or b"") if opened or not stored else 0)
    if opened and content is None:
        return Reply(worker_name(), missing=True, received=received)
    _settle(home)
    began, passes = time.perf_counter(), Passes()
    try:
        with own_copy():
            call: Call = pickle.loads(payload)
            classifier, kept = _ready(key, content, call.passes)
            began = time.perf_counter()
            with kept.in_use(), counted(passes):
                found = call.function(classifier, call.execution, *call.arguments)
        value, error = dumped(found), None
    except KeyboardInterrupt:
        raise
    except BaseException as raised:  # Of the model, of a user's function: for who asked.
        value, error = None, _sendable(raised)
    seconds = time.perf_counter() - began
    return Reply(
        worker_name(),
        value,
        error,
        seconds=seconds,
        passes=passes.done,
        received=received,
        opened=opened,
    )


def worker_name() -> str:
    """This thread of this process on this machine."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"


def _settle(home: Home) -> None:
    sys.path += [each for each in home.paths if each not in sys.path]
    torch.set_num_threads(home.threads)


def _ready(key: str, content: bytes | None, passes: int) -> tuple[Classifier, KeptBackends]:
    mine = _MINE.opened
    if key not in mine:
        assert content is not None
        while len(mine) >= MODELS:
            _close(*mine.popitem(last=False)[1])
        mine[key] = unpacked(content), KeptBackends(passes)
    mine.move_to_end(key)
    return mine[key]


def _close(classifier: Classifier, kept: KeptBackends) -> None:
    kept.close()
    if isinstance(classifier.network, Path):
        shutil.rmtree(classifier.network.parent, ignore_errors=True)


def forget() -> None:
    """Let go of all classifiers of this thread."""
    while _MINE.opened:
        _close(*_MINE.opened.popitem()[1])


def _sendable(error: BaseException) -> Exception:
    """``error``, or one of ours that says the same where it cannot be sent."""
    if not isinstance(error, Exception):  # sys.exit() would end the worker, and say nothing.
        return ModelError(
            f"the model, or a function that was given, ended with {type(error).__name__} on a "
            f"worker ({' '.join(str(error).split())[:200]}); expected that it returns, or raises "
            "an Exception"
        )
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # Kinds that take other arguments than they keep.
        if isinstance(error, ModelError):
            return ModelError(str(error))
        if isinstance(error, SpectralRobustnessError):
            return SpectralRobustnessError(str(error))
        return ModelError(f"a worker failed ({one_line(error)})")
    return error

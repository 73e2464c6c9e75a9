"""Gates under torchrun: every rank runs the same tests, rank 0 judges, all share the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_iaside.execute.engines.base import Engine

_ENGINE: ContextVar[Engine | None] = ContextVar("engine of ranks", default=None)


def ranks() -> int:
    """How many processes torchrun started; 1 where it started none."""
    asked = all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))
    return _whole("WORLD_SIZE", 1) if asked else 1


def is_other_rank() -> bool:
    """Whether another process than this one judges and writes."""
    return ranks() > 1 and _whole("RANK", 0) > 0


@contextmanager
def shared_by_ranks() -> Iterator[None]:
    """On rank 0: in here ``engine_of_ranks`` are all ranks, each of which takes its share."""
    if ranks() == 1:
        yield
        return
    from pytest_iaside.execute.engines.torchrun import TorchrunEngine

    engine = TorchrunEngine()
    before = _ENGINE.set(engine)
    try:
        yield
    finally:
        _ENGINE.reset(before)
        engine.close()


def engine_of_ranks() -> Engine | None:
    """The ranks that share the work of this gate; None where there are no others."""
    return _ENGINE.get()


def take_share() -> None:
    """On another rank: work for rank 0 until its gate is decided."""
    from pytest_iaside.execute.engines.torchrun import serve_rank

    serve_rank()


def _whole(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise

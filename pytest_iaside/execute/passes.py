"""How many forward passes were run, for who looks on from outside.

Nothing heavy is imported here: a test session knows it before anything is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class Passes:
    """Forward passes that came back to this thread."""

    done: int = 0
    seen: Callable[[int], None] | None = None
    """Is told how many are done, whenever some came back."""
    outer: Passes | None = None
    """Who counts them as well."""

    def add(self, some: int) -> None:
        self.done += some
        if self.seen is not None:
            self.seen(self.done)
        if self.outer is not None:
            self.outer.add(some)


_PASSES: ContextVar[Passes | None] = ContextVar("passes", default=None)


@contextmanager
def counted(passes: Passes) -> Iterator[None]:
    """Add what is run in here to ``passes``."""
    outer = _PASSES.get()
    passes.outer = None if outer is passes else outer
    before = _PASSES.set(passes)
    try:
        yield
    finally:
        _PASSES.reset(before)


def count_elsewhere(done: int) -> None:
    """Add passes that another thread or process ran for this one."""
    if (passes := _PASSES.get()) is not None:
        passes.add(done)


def counting(outputs: Iterator[Any]) -> Iterator[Any]:
    """``outputs``, batch by batch, counted where somebody asks."""
    passes = _PASSES.get()
    return outputs if passes is None else _counted(outputs, passes)


def _counted(outputs: Iterator[Any], passes: Passes) -> Iterator[Any]:
    from pytest_iaside.models.outputs import batch_of

    for output in outputs:
        passes.add(batch_of(output))
        yield output

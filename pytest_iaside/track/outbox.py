"""Delivery: what a training finds reaches others, or waits; a failure never ends the training."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from pytest_iaside.errors import one_line


class Delivery:
    """Calls ``receiver`` with what is sent, in that order and once each; what it refuses waits.

    It is tried again when more is sent, but less and less often: it may take minutes to fail.
    ``what`` names it in the warning, which is given once.
    """

    def __init__(self, receiver: Callable[..., Any], what: str) -> None:
        self._receiver, self._what = receiver, what
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._failures = 0  # In a row.
        self._pause = 0
        self._warned = False

    def send(self, items: Iterable[tuple[Any, ...]]) -> None:
        """Hand over what waits, then ``items``, the arguments of one call each."""
        self._waiting.extend(items)
        if self._pause:
            self._pause -= 1
            return
        error = self._attempt()
        if error is None:
            return
        self._pause = 2**self._failures - 1
        self._failures += 1
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{self._what} failed ({one_line(error)}); training goes on, and what did not "
                "reach it will be sent again",
                stacklevel=2,
            )

    def close(self) -> None:
        """Try a last time, and warn of what never got there."""
        error = self._attempt()
        if error is not None:
            warnings.warn(
                f"{self._what}: {len(self._waiting)} of what was to reach it did not "
                f"({one_line(error)})",
                stacklevel=2,
            )

    def _attempt(self) -> Exception | None:
        try:
            while self._waiting:
                self._receiver(*self._waiting[0])
                self._waiting.popleft()
                self._failures = 0
        except Exception as error:  # Whatever the user's function, a server or a disk raises.
            return error
        return None

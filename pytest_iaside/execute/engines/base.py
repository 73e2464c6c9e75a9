"""What every engine has in common: workers to which calls are handed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future

from pytest_iaside.execute.parcel import Parcel
from pytest_iaside.execute.worker import Home, Reply


class Engine(ABC):
    """Workers; ``label`` names them in messages, as settings do."""

    label: str
    threads: int = 1
    """With how many a worker computes: one, so that as many workers give the same digits."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many calls run at once, as far as is known now; at least one."""

    @abstractmethod
    def submit(self, home: Home, payload: bytes, parcel: Parcel) -> Future[Reply]:
        """Have a worker make the call that ``payload`` holds (execute/worker.py).

        ``parcel`` travels to a worker that does not have it yet, and to no other. What the future
        raises is about the worker, not about the call: another one may make it.
        """

    def give_up(self, futures: Sequence[Future[Reply]]) -> None:  # noqa: B027
        """Nobody waits for ``futures`` any longer, which are under way: they may hang."""

    def begin(self) -> None:  # noqa: B027 – most engines count nothing
        """A new measurement: workers that died in an earlier one are not held against it."""

    def mend(self) -> None:  # noqa: B027 – most engines see to that themselves
        """Workers in the place of those that died, where the engine does not see to that itself.

        Raises WorkersLost where there can be none any more.
        """

    def told(self) -> str:
        """How the last worker that died ended, as far as is known; may be empty."""
        return ""

    def close(self) -> None:  # noqa: B027 – what was not started here stays
        """Let go of workers that were started for this engine."""


class WorkersLost(Exception):
    """No worker is left, and none can be had."""

"""Calls about a classifier, made by the workers of an engine; their results in order."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from pytest_iaside.errors import ModelError, SettingsError, SpectralRobustnessError, one_line
from pytest_iaside.execute.engines.base import Engine, WorkersLost
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.parcel import Parcel, dumped, packed
from pytest_iaside.execute.passes import count_elsewhere
from pytest_iaside.execute.worker import Call, Home, Reply
from pytest_iaside.models.classifier import Classifier

TRIES = 4
"""Workers that may die over a call before it is given up."""
AHEAD = 2
"""Calls for each worker that are under way: one that it makes, and one that waits."""
HELD = 64
"""Calls for each worker that are handed out and not yet taken, results that wait for an earlier one
among them: beyond these a slow call holds the others up (docs/scale.md)."""
LOOK = 0.25
"""Seconds between two looks whether somebody wants to stop."""


@dataclass(eq=False)
class Tally:
    """What an engine did for a crew."""

    calls: int = 0
    retries: int = 0
    seconds: float = 0.0
    """That the workers took, all together."""
    received: dict[str, int] = field(default_factory=dict)
    """Bytes by worker."""
    opened: dict[str, int] = field(default_factory=dict)
    """How often each worker unpacked the classifier."""

    def add(self, reply: Reply) -> None:
        self.calls += 1
        self.seconds += reply.seconds
        name = reply.worker
        self.received[name] = self.received.get(name, 0) + reply.received
        self.opened[name] = self.opened.get(name, 0) + reply.opened


@dataclass(eq=False)
class _Pending:
    payload: bytes
    future: Future[Reply]
    tries: int = 1

    @property
    def answered(self) -> bool:
        """Whether a reply came, and no payload is needed any more; not where a worker died."""
        future = self.future
        if not future.done() or future.cancelled() or future.exception() is not None:
            return False
        self.payload = b""
        return True

    @property
    def lost(self) -> Exception | None:
        """Why no reply will come; None where one may, or has."""
        future = self.future
        error = future.exception() if future.done() and not future.cancelled() else None
        return error if error is None or isinstance(error, Exception) else WorkersLost(repr(error))


class Crew:
    """The workers of ``engine``, and the one ``classifier`` that they are asked about.

    Raises ModelError where it cannot be sent to them.
    """

    def __init__(self, engine: Engine, classifier: Classifier) -> None:
        self.engine, self._name = engine, classifier.name
        self.parcel: Parcel = packed(classifier)
        self.home = Home.here(engine.threads)
        self.tally = Tally()
        engine.begin()

    def ask(self, function: Callable[..., Any], execution: Execution, *arguments: Any) -> Any:
        """What ``function(classifier, execution, *arguments)`` returns on a worker."""
        return next(self.map(function, execution, [arguments]))

    def map(
        self,
        function: Callable[..., Any],
        execution: Execution,
        arguments: Iterable[tuple[Any, ...] | None],
        *,
        passes: int = 0,
    ) -> Generator[Any]:
        """What ``function`` returns for each of ``arguments``, in their order.

        They are taken as workers become free; None stands where the next ones are known only
        after another result was taken. What the first call in order raises is raised; a
        call whose worker dies is made by another. Raises ModelError where ``TRIES`` died over it,
        or no worker is left.
        """
        waiting = iter(arguments)
        pending: deque[_Pending] = deque()
        try:
            with _threads_kept():
                while True:
                    # What has come back is handed on before anything is given up.
                    if pending and not pending[0].answered:
                        for one in pending:
                            if (lost := one.lost) is not None:
                                self._again(one, lost)
                    under_way = [one.future for one in pending if not one.answered]
                    workers = self.engine.workers
                    while len(under_way) < AHEAD * workers and len(pending) < HELD * workers:
                        each = next(waiting, None)
                        if each is None:
                            break
                        payload = self._payload(Call(function, execution, each, passes))
                        pending.append(_Pending(payload, self._submit(payload)))
                        under_way.append(pending[-1].future)
                    if not pending:
                        return
                    if not pending[0].answered:
                        # Whoever is done first makes room for the next, in order or not; and not
                        # for ever at once: Ctrl-C and a test's time limit come between.
                        running = [each for each in under_way if not each.done()]
                        wait(running, timeout=LOOK, return_when=FIRST_COMPLETED)
                        continue
                    yield self._result(pending.popleft())
        finally:
            left = [one.future for one in pending if not one.future.cancel()]
            self.engine.give_up([each for each in left if not each.done()])

    def _payload(self, call: Call) -> bytes:
        try:
            return dumped(call)
        except Exception as error:  # Of a user's own perturbation, score or sample.
            raise SettingsError(
                f"what is asked about {self._name} cannot be sent to workers ({one_line(error)}); "
                "expected functions that pickle can write: define them in a module, install "
                "cloudpickle, or measure in this process"
            ) from error

    def _result(self, one: _Pending) -> Any:
        reply = one.future.result()
        self.tally.add(reply)
        count_elsewhere(reply.passes)
        if reply.error is not None:
            raise reply.error
        assert reply.value is not None
        return pickle.loads(reply.value)

    def _again(self, one: _Pending, error: Exception) -> None:
        if one.tries >= TRIES:
            told = self.engine.told() or one_line(error)
            raise ModelError(
                f"{one.tries} workers of executor={self.engine.label!r} died over the same "
                f"images of {self._name} ({told}); expected that they finish: memory may be short: "
                "start fewer workers, or give a smaller batch_size"
            ) from error
        time.sleep(0.2 * 2 ** (one.tries - 1))
        try:
            self.engine.mend()
        except (WorkersLost, SpectralRobustnessError) as lost:
            raise ModelError(
                f"executor={self.engine.label!r} has no worker left ({one_line(lost)}); expected "
                "at least one: start it again, or measure in this process; what was found so far "
                "is kept"
            ) from error
        one.tries += 1
        self.tally.retries += 1
        one.future = self._submit(one.payload)

    def _submit(self, payload: bytes) -> Future[Reply]:
        try:
            return self.engine.submit(self.home, payload, self.parcel)
        except SpectralRobustnessError:
            raise
        except Exception as error:  # Whoever hands calls out has gone.
            failed: Future[Reply] = Future()
            failed.set_exception(error)
            return failed


@contextmanager
def _threads_kept() -> Iterator[None]:
    """PyTorch's threads as they were afterwards: an engine may work in this very process."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)

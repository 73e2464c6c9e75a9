"""Any concurrent.futures.Executor: whoever runs its calls, threads of this process among them."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from contextlib import suppress

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.engines.base import Engine, WorkersLost
from pytest_iaside.execute.parcel import Parcel
from pytest_iaside.execute.worker import Home, Reply, work

USUAL = 4
"""Workers of an executor that does not tell how many it has."""


class FuturesEngine(Engine):
    """The workers of an ``executor``; it stays open."""

    def __init__(self, executor: Executor) -> None:
        self.label = type(executor).__name__
        self._executor = executor
        self._lock = threading.Lock()
        self._first: dict[str, int] = {}

    @property
    def workers(self) -> int:
        found = getattr(self._executor, "_max_workers", None)
        return found if isinstance(found, int) and found > 0 else USUAL

    def submit(self, home: Home, payload: bytes, parcel: Parcel) -> Future[Reply]:
        if threading.current_thread() in getattr(self._executor, "_threads", ()):
            raise SettingsError(
                f"executor={self.label} runs this very measurement on one of its threads, which "
                "would wait for itself; expected another executor, or none"
            )
        with self._lock:
            # Each worker takes one of the first calls, as a rule; one that had none asks.
            sent = self._first.get(parcel.key, 0)
            self._first[parcel.key] = sent + 1
        asked: Future[Reply] = Future()
        self._ask(asked, home, payload, parcel, parcel.content if sent < self.workers else None)
        return asked

    def mend(self) -> None:
        for flag in ("_shutdown", "_shutdown_thread", "_broken"):
            if getattr(self._executor, flag, False):
                how = "is broken" if flag == "_broken" else "was shut down"
                raise WorkersLost(f"it {how}")

    def _ask(
        self,
        asked: Future[Reply],
        home: Home,
        payload: bytes,
        parcel: Parcel,
        content: bytes | None,
    ) -> None:
        def done(given: Future[Reply]) -> None:
            with suppress(Exception):  # Nobody waits any longer.
                try:
                    reply = given.result()
                except BaseException as error:
                    asked.set_exception(error)
                    return
                if reply.missing and content is None:
                    self._ask(asked, home, payload, parcel, parcel.content)
                else:
                    asked.set_result(reply)

        try:
            given = self._executor.submit(work, home, payload, parcel.key, content)
        except Exception as error:  # Shut down, or broken.
            asked.set_exception(error)
            return
        given.add_done_callback(done)
        asked.add_done_callback(lambda asked: given.cancel() if asked.cancelled() else None)

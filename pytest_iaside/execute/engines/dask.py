"""``dask://host:port``: the workers of a Dask cluster that runs already."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from pytest_iaside.checks import library
from pytest_iaside.errors import SettingsError, one_line
from pytest_iaside.execute.engines.base import Engine, WorkersLost
from pytest_iaside.execute.parcel import Parcel
from pytest_iaside.execute.worker import Home, Reply, work

PATIENCE = 20.0
"""Seconds to wait for the scheduler, and for the first worker."""
LENT = 4
"""Classifiers that lie in the cluster, those used last."""
HOLDS = 2.0
"""Seconds for which the number of workers is taken for known."""


class DaskEngine(Engine):
    """The workers of the cluster whose scheduler is at ``address``, or those of a ``client``."""

    def __init__(self, address: str = "", *, client: Any = None, threads: int = 1) -> None:
        distributed = library(
            "distributed",
            "for executor='dask://…'",
            error=SettingsError,
            package="dask[distributed]",
            install="'pytest-iaside[dask]'",
        )
        self.label, self.threads, self._own = address or "dask", threads, client is None
        if client is None:
            try:
                client = distributed.Client(
                    address.replace("dask://", "tcp://", 1), timeout=PATIENCE, set_as_default=False
                )
            except Exception as error:  # Nobody is there.
                raise SettingsError(
                    f"executor={address!r}: no Dask scheduler answered ({one_line(error)}); "
                    "expected the address that `dask scheduler` prints, with dask:// before it"
                ) from error
        self._client = client
        self._lent: dict[str, Any] = {}
        self._threads: dict[str, int] = {}
        self._busy: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._asked = -HOLDS
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except Exception as error:
            self.close()
            raise SettingsError(
                f"executor={self.label!r}: the Dask scheduler has no worker; start some with "
                "`dask worker`"
            ) from error

    @property
    def workers(self) -> int:
        return max(1, sum(self._known().values()))

    def _known(self) -> dict[str, int]:
        """The threads of every worker, by its address."""
        # They come and go; but asking takes as long as a small call.
        if time.monotonic() > self._asked + HOLDS:
            self._asked = time.monotonic()
            with suppress(Exception):  # Who has gone is told where calls fail.
                self._threads = dict(self._client.nthreads())
        return self._threads

    def _least_busy(self) -> str | None:
        """The worker that has the fewest of our calls; None where none is known.

        Dask itself prefers workers that have the classifier already, whatever they have to do.
        """
        known = self._known()
        with self._lock:
            chosen = min(known, key=lambda each: self._busy[each] / known[each], default=None)
            if chosen is not None:
                self._busy[chosen] += 1
        return chosen

    def _is_done(self, worker: str | None) -> None:
        with self._lock:
            if worker is not None:
                self._busy[worker] -= 1

    def submit(self, home: Home, payload: bytes, parcel: Parcel) -> Future[Reply]:
        # As an argument that lies in the cluster it travels to each worker once.
        lent = self._lent.pop(parcel.key, None)
        if lent is None or lent.status in ("lost", "cancelled", "error"):
            lent = self._client.scatter(parcel.content, hash=False, broadcast=False)
        self._lent[parcel.key] = lent
        while len(self._lent) > LENT:  # The cluster lets go of what nobody holds.
            del self._lent[next(iter(self._lent))]
        worker = self._least_busy()
        place = {} if worker is None else {"workers": [worker], "allow_other_workers": True}
        try:
            asked = self._client.submit(
                work, home, payload, parcel.key, lent, stored=True, pure=False, retries=2, **place
            )
        except BaseException:
            self._is_done(worker)
            raise
        found = _as_future(asked)
        found.add_done_callback(lambda _: self._is_done(worker))
        return found

    def mend(self) -> None:
        # What was lent may have died with its worker.
        self._lent.clear()
        try:
            # What the client knows by itself may be of before.
            self._client.sync(self._client.scheduler.identity, callback_timeout=PATIENCE)
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except Exception as error:
            why = f"the Dask scheduler is gone, or has no worker ({one_line(error)})"
            raise WorkersLost(why) from error

    def close(self) -> None:
        self._lent.clear()
        if self._own:
            with suppress(Exception):
                self._client.close(timeout=2)


def _as_future(asked: Any) -> Future[Reply]:
    found: Future[Reply] = Future()

    def done(asked: Any) -> None:
        with suppress(Exception):  # Nobody waits any longer.
            try:
                found.set_result(asked.result(timeout=PATIENCE))
            except BaseException as error:
                found.set_exception(error)
            finally:
                asked.release()

    asked.add_done_callback(done)
    found.add_done_callback(lambda found: asked.cancel() if found.cancelled() else None)
    return found


def opened(rest: str, options: dict[str, Any]) -> DaskEngine:
    """The engine of ``dask:rest``, rest an address."""
    return DaskEngine(f"dask:{rest}", **options)

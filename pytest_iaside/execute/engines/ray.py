"""``ray`` and ``ray://host:port``: actors of a Ray cluster, or of this machine."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from pytest_iaside.checks import library
from pytest_iaside.errors import SettingsError, one_line
from pytest_iaside.execute.engines.base import Engine, WorkersLost
from pytest_iaside.execute.parcel import Parcel
from pytest_iaside.execute.worker import Home, Reply, work

RESTARTS = 3
LENT = 4
"""Classifiers that lie in Ray's store, those used last."""


class RayEngine(Engine):
    """``count`` actors, each with ``threads`` CPUs and ``gpus`` of the cluster at ``address``.

    By default as many as the cluster has room for, on its GPUs where it has some. Ray gives each
    its own CUDA_VISIBLE_DEVICES.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        count: int | None = None,
        threads: int = 1,
        gpus: float | None = None,
    ) -> None:
        ray = self._ray = library(
            "ray",
            "for executor='ray'",
            error=SettingsError,
            package="ray",
            install="'pytest-iaside[ray]'",
        )
        self.label, self.threads = address or "ray", threads
        self._started_ray = not ray.is_initialized()
        if self._started_ray:
            try:
                ray.init(
                    address or "local",
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
            except Exception as error:  # Nobody is there.
                raise SettingsError(
                    f"executor={self.label!r}: Ray cannot be reached ({one_line(error)}); expected "
                    "ray for this machine, or ray://host:port of a cluster's head"
                ) from error
        has = ray.cluster_resources()
        if gpus is None:
            gpus = 1.0 if has.get("GPU") else 0.0
        room = has["GPU"] / gpus if gpus and "GPU" in has else has.get("CPU", 1) / threads
        self._count = count or max(1, int(room))
        self._asks = {"num_cpus": threads, "num_gpus": gpus, "max_restarts": RESTARTS}
        self._lock = threading.Lock()
        self._lent: dict[str, Any] = {}
        self._idle: deque[Any] = deque(self._actor() for _ in range(self._count))
        self._waiting: deque[tuple[Future[Reply], tuple[Any, ...]]] = deque()

    def _actor(self) -> Any:
        return self._ray.remote(_Worker).options(**self._asks).remote()

    @property
    def workers(self) -> int:
        return self._count

    def submit(self, home: Home, payload: bytes, parcel: Parcel) -> Future[Reply]:
        with self._lock:
            if parcel.key not in self._lent:
                # In Ray's own store: each machine fetches it once.
                self._lent[parcel.key] = self._ray.put(parcel.content)
                while len(self._lent) > LENT:  # What waits for a worker has its own.
                    del self._lent[next(iter(self._lent))]
            asked: Future[Reply] = Future()
            self._waiting.append((asked, (home, payload, parcel.key, self._lent[parcel.key])))
        self._hand_out()
        return asked

    def _hand_out(self) -> None:
        while True:
            with self._lock:
                if not self._idle or not self._waiting:
                    return
                actor, (asked, what) = self._idle.popleft(), self._waiting.popleft()
            if not asked.set_running_or_notify_cancel():
                with self._lock:
                    self._idle.append(actor)
                continue
            try:
                given = actor.work.remote(*what).future()
            except Exception as error:  # Ray itself has ended.
                asked.set_exception(error)
                continue
            given.add_done_callback(lambda given, a=actor, f=asked: self._done(given, a, f))

    def _done(self, given: Any, actor: Any, asked: Future[Reply]) -> None:
        with suppress(Exception):  # Nobody waits any longer.
            try:
                asked.set_result(given.result())
            except BaseException as error:
                asked.set_exception(error)
        with self._lock:
            self._idle.append(actor)  # Ray starts it anew where it died.
        self._hand_out()

    def mend(self) -> None:
        if not self._ray.is_initialized():
            raise WorkersLost("Ray has ended")
        with self._lock:
            self._lent.clear()
            idle = [self._idle.popleft() for _ in range(len(self._idle))]
        for actor in idle:
            try:
                self._ray.get(actor.ready.remote(), timeout=60)
            except Exception:  # It died too often.
                actor = self._actor()
            with self._lock:
                self._idle.append(actor)

    def close(self) -> None:
        with self._lock:
            idle = [self._idle.popleft() for _ in range(len(self._idle))]
            self._lent.clear()
        for actor in idle:
            with suppress(Exception):
                self._ray.kill(actor)
        if self._started_ray:
            with suppress(Exception):
                self._ray.shutdown()


class _Worker:
    """An actor: one call at a time."""

    def work(self, home: Home, payload: bytes, key: str, content: bytes) -> Reply:
        return work(home, payload, key, content, stored=True)

    def ready(self) -> bool:
        return True


def opened(rest: str, options: dict[str, Any]) -> RayEngine:
    """The engine of ``ray`` and ``ray:rest``, rest an address or how many actors."""
    if rest.isdigit():
        return RayEngine(count=int(rest), **options)
    return RayEngine(f"ray:{rest}" if rest else None, **options)

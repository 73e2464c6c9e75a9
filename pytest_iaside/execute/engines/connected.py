"""Workers that connect to this process, and take one call after another: wherever they run."""

from __future__ import annotations

import os
import pickle
import queue
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import (
    Client,
    Connection,
    Listener,
    answer_challenge,
    deliver_challenge,
)
from typing import Any

import torch

from pytest_iaside.execute.engines.base import Engine
from pytest_iaside.execute.parcel import Parcel, remove_files
from pytest_iaside.execute.worker import Home, Reply, forget, work

Address = Any
"""A name of a socket, or a host and a port."""


class WorkerDied(Exception):
    """The connection to a worker ended while it had a call."""


@dataclass(frozen=True, eq=False)
class _Asked:
    future: Future[Reply]
    home: Home
    payload: bytes
    parcel: Parcel


class ConnectedEngine(Engine):
    """Listens for workers, which run ``serve``, until it is closed.

    Whoever connects proves first that it knows ``secret``: what comes from it is unpickled.
    ``remote`` listens to other machines, too.
    """

    def __init__(self, label: str, *, remote: bool = False, threads: int = 1) -> None:
        self.label, self.threads = label, threads
        self.secret = secrets.token_bytes(32)
        self._listener = Listener(("", 0), "AF_INET") if remote else _local_listener()
        self._remote = remote
        self._waiting: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._connected: dict[Connection, int] = {}
        self._given_up: dict[Future[Reply], float] = {}
        self._busy: dict[Future[Reply], int] = {}
        self._closed = False
        threading.Thread(target=self._accept, name=f"{label} listens", daemon=True).start()

    @property
    def address(self) -> Address:
        """Where workers connect to."""
        if not self._remote:
            return self._listener.address
        return own_address(), self._listener.address[1]

    @property
    def connected(self) -> int:
        """How many workers are connected now."""
        return len(self._connected)

    @property
    def workers(self) -> int:
        return max(1, self.connected)

    def submit(self, home: Home, payload: bytes, parcel: Parcel) -> Future[Reply]:
        asked = _Asked(Future(), home, payload, parcel)
        self._waiting.put(asked)
        if self._closed:
            self.fail(WorkerDied("the engine was closed"))
        return asked.future

    def give_up(self, futures: Sequence[Future[Reply]]) -> None:
        with self._lock:
            under_way = [each for each in futures if each in self._busy]
            self._given_up.update(dict.fromkeys(under_way, time.monotonic()))

    def hanging(self, seconds: float) -> list[int]:
        """The processes that make calls which were given up so long ago."""
        since = time.monotonic() - seconds
        with self._lock:
            return [
                pid
                for future, pid in self._busy.items()
                if self._given_up.get(future, since) < since
            ]

    def fail(self, error: Exception) -> None:
        """Tell all who wait for a worker that there will be none."""
        with suppress(queue.Empty):
            while True:
                if (asked := self._waiting.get_nowait()) is not None:
                    _answer(asked.future, error)

    def close(self) -> None:
        self._closed = True
        self.fail(WorkerDied("the engine was closed"))
        with suppress(Exception):
            # What waits for a connection wakes up for one.
            Client(self._listener.address).close()
        self._listener.close()
        with self._lock:
            connected = list(self._connected)
        for _ in connected:
            self._waiting.put(None)  # Wakes whoever waits.

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except Exception:  # Closed, or somebody went away at once.
                continue
            threading.Thread(target=self._use, args=(connection,), daemon=True).start()

    def _use(self, connection: Connection) -> None:
        """Hand calls to one worker, until it or the engine ends."""
        with connection:
            try:
                deliver_challenge(connection, self.secret)
                answer_challenge(connection, self.secret)
                pid = int(connection.recv_bytes(20))
            except Exception:  # Not one of ours.
                return
            with self._lock:
                self._connected[connection] = pid
            sent: set[str] = set()
            try:
                while not self._closed and (asked := self._next(connection)) is not None:
                    if asked.future.set_running_or_notify_cancel():
                        with self._lock:
                            self._busy[asked.future] = pid
                        try:
                            self._hand(connection, asked, sent)
                        finally:
                            with self._lock:
                                self._busy.pop(asked.future)
                                self._given_up.pop(asked.future, None)
            except Exception:  # It has gone, or says what nobody understands: its call was told.
                pass
            finally:
                with self._lock:
                    self._connected.pop(connection)

    def _next(self, connection: Connection) -> _Asked | None:
        """What to do next; None where the worker has gone while there was nothing."""
        while True:
            asked = None
            with suppress(queue.Empty):
                asked = self._waiting.get(timeout=0.5)
                if asked is None:
                    return None
            # A worker says nothing unasked: what can be read is the end.
            if self._closed or connection.poll():
                if asked is not None:
                    self._waiting.put(asked)  # For another one: it costs no try.
                    if self._closed:
                        self.fail(WorkerDied("the engine was closed"))
                return None
            if asked is not None:
                return asked

    def _hand(self, connection: Connection, asked: _Asked, sent: set[str]) -> None:
        parcel = asked.parcel
        content = None if parcel.key in sent else parcel.content
        try:
            connection.send_bytes(pickle.dumps((asked.home, asked.payload, parcel.key, content)))
            sent.add(parcel.key)
            reply: Reply = pickle.loads(connection.recv_bytes())
            if reply.missing:
                # It keeps a few models alone.
                again = (asked.home, asked.payload, parcel.key, parcel.content)
                connection.send_bytes(pickle.dumps(again))
                reply = pickle.loads(connection.recv_bytes())
        except BaseException as error:
            _answer(asked.future, WorkerDied(str(error) or type(error).__name__))
            raise
        _answer(asked.future, reply)


def serve(address: Address, secret: bytes, gpu: int | None = None) -> None:
    """Be a worker of the engine at ``address``, on the GPU of that number, until it ends."""
    if gpu is not None:
        torch.cuda.set_device(gpu)
    # Only the engine ends it.
    with Client(address, authkey=secret) as connection, suppress(EOFError, OSError):
        connection.send_bytes(str(os.getpid()).encode())
        while True:
            home, payload, key, content = pickle.loads(connection.recv_bytes())
            connection.send_bytes(pickle.dumps(work(home, payload, key, content)))
    forget()


def _local_listener() -> Listener:
    try:
        return Listener(None)
    except OSError:  # A temporary folder whose name is too long for a socket.
        return Listener(("127.0.0.1", 0), "AF_INET")


def own_address() -> str:
    """An address of this machine that others can reach, as far as it knows."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: it only chooses the way out.
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    with suppress(OSError):
        return socket.gethostbyname(socket.gethostname())
    return "127.0.0.1"


def end_with(stream: Any) -> None:
    """End this process as soon as ``stream``, which nobody writes to, is closed."""

    def watch() -> None:
        with suppress(Exception):
            stream.read()
        remove_files()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def _answer(future: Future[Reply], found: Reply | Exception) -> None:
    with suppress(Exception):  # Nobody waits for it any longer.
        if isinstance(found, Exception):
            future.set_exception(found)
        else:
            future.set_result(found)

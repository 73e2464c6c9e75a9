"""``process`` and ``process:4``: workers on this machine, a process each."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import IO, Any

from pytest_iaside.execute.engines.base import WorkersLost
from pytest_iaside.execute.engines.connected import ConnectedEngine, WorkerDied
from pytest_iaside.models.tuning import usable_threads

PROGRAM = (
    "import pickle, sys; address, secret, paths = pickle.load(sys.stdin.buffer); "
    "sys.path[:] = paths; "
    "from pytest_iaside.execute.engines.connected import end_with, serve; "
    "end_with(sys.stdin.buffer); serve(address, secret)"
)
"""What a worker runs; not what this process began with, as multiprocessing would."""
DEATHS = 3
"""How often each worker may be started anew."""
GRACE = 10.0
"""Seconds that a call has to end for which nobody waits any longer; its process ends then."""


class ProcessEngine(ConnectedEngine):
    """``count`` processes, each with ``threads``; by default one for each GPU, else each core.

    Where there are several GPUs each process is given one, in turn.
    """

    def __init__(self, count: int | None = None, *, threads: int = 1) -> None:
        self._gpus = _visible_gpus()
        self._count = count or len(self._gpus) or max(1, usable_threads() // threads)
        super().__init__(f"process:{self._count}", threads=threads)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._said: dict[int, IO[bytes]] = {}
        self._started = 0
        self._mending = threading.Lock()
        self._began = time.monotonic()
        self.mend()
        threading.Thread(target=self._watch, name="workers live", daemon=True).start()

    @property
    def workers(self) -> int:
        return self._count

    @property
    def pids(self) -> list[int]:
        """Of the workers that live."""
        return [each.pid for each in list(self._processes.values()) if each.poll() is None]

    def begin(self) -> None:
        if not self._closed:
            self._started = len(self.pids)
            self.mend()

    def mend(self) -> None:
        if self._closed:
            raise WorkersLost("the engine was closed")
        with self._mending:
            self._mend()

    def _mend(self) -> None:
        for place in range(self._count):
            process = self._processes.get(place)
            if process is not None and process.poll() is None:
                continue
            if self._started >= self._count * (1 + DEATHS):
                if not self.pids:
                    raise WorkersLost(f"{self._started} processes ended{self._last_words()}")
                return
            self._start(place)

    def _start(self, place: int) -> None:
        self._started += 1
        self._put_away(place)
        said = self._said[place] = tempfile.TemporaryFile()  # noqa: SIM115 – as long as it runs
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            env=self._environment(place),
            start_new_session=True,  # Ctrl-C is for who asks.
        )
        self._processes[place] = process
        assert process.stdin is not None
        paths = [os.path.abspath(each) for each in sys.path]
        with suppress(OSError):  # It has ended already.
            process.stdin.write(pickle.dumps((self.address, self.secret, paths)))
            process.stdin.flush()

    def _environment(self, place: int) -> dict[str, str]:
        own = {"OMP_NUM_THREADS": str(self.threads)}
        if len(self._gpus) > 1:
            own["CUDA_VISIBLE_DEVICES"] = self._gpus[place % len(self._gpus)]
        return {**os.environ, **own}

    def _watch(self) -> None:
        # Where none can start nobody connects, and nobody would tell.
        while not self._closed:
            time.sleep(0.5)
            for pid in self.hanging(GRACE):
                if pid in self.pids:
                    self._kill(pid)
                    self._started -= 1  # It did not die of what it was asked.
                    with suppress(WorkersLost):
                        self.mend()
            if not self._closed and not self.pids:
                self.fail(WorkerDied(f"every worker's process ended{self._last_words()}"))

    def _kill(self, pid: int) -> None:
        for process in list(self._processes.values()):
            if process.pid == pid:
                process.kill()
                process.wait()

    def told(self) -> str:
        # Its connection ends a moment before the process does.
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            for process in list(self._processes.values()):
                code = process.poll()
                if code is not None:
                    how = f"signal {-code}" if code < 0 else f"exit code {code}"
                    return f"its process ended with {how}{self._last_words()}"
            time.sleep(0.05)
        return ""

    def _last_words(self) -> str:
        for said in list(self._said.values()):
            with suppress(OSError, ValueError):
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                if lines:
                    return f": {lines[-1]}"
        return ""

    def close(self) -> None:
        super().close()
        for process in self._processes.values():
            _close_stdin(process)  # It ends with that.
        for place in list(self._processes):
            self._put_away(place)

    def _put_away(self, place: int) -> None:
        process = self._processes.pop(place, None)
        if process is None:
            return
        _close_stdin(process)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._said.pop(place).close()


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _visible_gpus() -> list[str]:
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [each.strip() for each in given.split(",") if each.strip()]
    import torch

    return [str(each) for each in range(torch.cuda.device_count())]


def opened(rest: str, options: dict[str, Any]) -> ProcessEngine:
    """The engine of ``process:rest``."""
    return ProcessEngine(int(rest) if rest else None, **options)

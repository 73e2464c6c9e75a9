"""Settings of the machine that decide how fast a network runs."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import torch

# From glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
KEEP = 1 << 30
TRACE = "TORCH_TRACE"
CGROUPS = Path("/sys/fs/cgroup")


@cache
def keep_freed_memory() -> bool:
    """Let glibc keep up to 1 GiB of freed memory instead of returning it at once.

    By default every tensor over 32 MiB is mapped afresh, and its pages are zeroed one fault
    at a time: batches of 64 images at 224×224 then take four times as long as they need to.
    For this process, from the first measurement on; False where the C library is another.
    """
    libc = _glibc()
    if libc is None:
        return False
    return bool(libc.mallopt(M_MMAP_THRESHOLD, KEEP)) and bool(libc.mallopt(M_TRIM_THRESHOLD, KEEP))


def return_freed_memory() -> None:
    """Give back what ``keep_freed_memory`` kept.

    Once in every few images: between the tensors that come and go, small lasting ones come to
    lie, so that what is kept does not fit the next one, and without this the peak grows by
    1 GiB over 100 images at 224×224.
    """
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def usable_threads() -> int:
    """How many threads to compute with.

    Never more than PyTorch was told, the process may run on, or its cgroup is given; and
    under pytest-xdist each worker takes its share, unless OMP_NUM_THREADS says how many.
    """
    cores = usable_cores()
    if "OMP_NUM_THREADS" not in os.environ:
        with suppress(KeyError, ValueError):
            cores = max(1, cores // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    return min(cores, torch.get_num_threads())


def usable_cores() -> int:
    """How many cores this process may run on, and its cgroup is given."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    quota = _cgroup_cores()
    return max(1, cores if math.isinf(quota) else min(cores, math.ceil(quota)))


_OWN_COPY: ContextVar[bool] = ContextVar("own copy", default=False)


@contextmanager
def own_copy() -> Iterator[None]:
    """What runs in here is a worker's, with a network that no other thread has.

    Nothing waits for others, nor has them wait; and what is of the whole process, how many threads
    it computes with and what it draws at random, is left to who started the worker.
    """
    before = _OWN_COPY.set(True)
    try:
        yield
    finally:
        _OWN_COPY.reset(before)


def on_own_copy() -> bool:
    """Whether this runs in ``own_copy``."""
    return _OWN_COPY.get()


@contextmanager
def limited_threads() -> Iterator[None]:
    """PyTorch on ``usable_threads``, and as it was afterwards."""
    if on_own_copy():
        yield
        return
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(usable_threads())
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def no_trace_in_logs() -> Iterator[None]:
    """PyTorch's trace of what it compiles does not go to whoever collects all logs, as pytest does.

    Its records are empty lines there. Who asks for the trace (TORCH_TRACE) gets it.
    """
    if TRACE in os.environ:
        yield
        return
    # pytest's own handler is on loggers that do not propagate as well.
    _SILENT.enter()
    try:
        yield
    finally:
        _SILENT.leave()


class _Silenced:
    """PyTorch's trace is disabled as long as anybody is in here, in whichever order they leave."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, False

    def enter(self) -> None:
        logger = logging.getLogger("torch.__trace")
        with self._lock:
            if not self._inside:
                self._before = logger.disabled
            self._inside += 1
            logger.disabled = True

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                logging.getLogger("torch.__trace").disabled = self._before


_SILENT = _Silenced()


def _cgroup_cores(root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> float:
    """The CPU time that a container may use, in cores; infinite where nothing limits it."""
    cores = math.inf
    with suppress(OSError, ValueError):
        # Version 2: any group from our own upwards may set a limit.
        line = next((x for x in own.read_text().splitlines() if x.startswith("0::")), "0::/")
        group = root / line.removeprefix("0::").lstrip("/")
        for folder in (group, *group.parents):
            if folder != root and root not in folder.parents:
                break
            with suppress(OSError, ValueError):
                quota, period = (folder / "cpu.max").read_text().split()
                cores = min(cores, int(quota) / int(period))  # No number ("max"): no limit.
    with suppress(OSError, ValueError):
        quota, period = (
            (root / "cpu" / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period")
        )
        cores = min(cores, int(quota) / int(period) if int(quota) > 0 else math.inf)
    return cores

"""Threads and processes that gates would start, against the cores that there are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pytest_iaside.cli.doctor.finding import Finding
from pytest_iaside.errors import SettingsError, printable, quoted
from pytest_iaside.execute.execution import executor_parts

VARIABLE = "OMP_NUM_THREADS"
STAT = Path("/proc/stat")
WINDOW = 0.3
"""Seconds in which is looked what other processes do."""


def threads(workers: int | None, executor: str | None) -> Iterator[Finding]:
    """Findings on threads, where pytest starts ``workers`` of its own and gates an ``executor``."""
    from pytest_iaside.models.tuning import usable_cores

    cores, every = usable_cores(), os.cpu_count() or 1
    yield Finding("cores", f"{cores}" if cores == every else f"{cores} of {every} may be used here")
    asked = os.environ.get(VARIABLE)
    each = None if asked is None else _threads_of(asked)
    if asked is not None and each is None:
        yield Finding(
            VARIABLE,
            f"{quoted(asked)} is no number of threads, and is ignored; set it to 1…{cores}, or "
            "unset it",
            "wrong",
        )
    yield from _of_one(cores, each)
    if workers:
        yield from _of_workers(workers, cores, each)
    if executor:
        yield from _of_executor(executor, workers or 1, cores)
    yield from _of_others(cores, every)


def _of_one(cores: int, each: int | None) -> Iterator[Finding]:
    import torch

    if each is not None and each > cores:
        yield Finding(
            VARIABLE,
            f"{each} threads for {_cores(cores)}: they wait for each other; set it to {cores}",
            "wrong",
        )
    elif torch.get_num_threads() > cores:
        yield Finding(
            "threads",
            f"PyTorch takes {torch.get_num_threads()}, and there are {cores} cores (a limit of "
            f"this container or process); gates take {cores}. For everything else: set "
            f"{VARIABLE}={cores}",
            "note",
        )


def _of_workers(workers: int, cores: int, each: int | None) -> Iterator[Finding]:
    """Workers of pytest-xdist; each takes its share where nobody says otherwise."""
    share = max(1, cores // workers)
    if workers > cores:
        yield Finding(
            f"pytest -n {workers}",
            f"{workers} workers for {_cores(cores)}: they wait for each other; use -n {cores} at "
            "most",
            "wrong",
        )
    elif each is not None and workers * each > cores:
        yield Finding(
            f"pytest -n {workers}",
            f"{workers} workers with {VARIABLE}={each} are {workers * each} threads for "
            f"{_cores(cores)}: they wait for each other; set {VARIABLE}={share}",
            "wrong",
        )
    elif each is None and workers > 1:
        yield Finding(
            f"pytest -n {workers}",
            f"gates take {share} thread{'s' * (share > 1)} in each worker; your own code may take "
            f"{cores}: set {VARIABLE}={share}",
            "note",
        )


def _of_executor(executor: str, workers: int, cores: int) -> Iterator[Finding]:
    """Processes that gates start here; other kinds of workers are elsewhere."""
    try:
        kind, count, options = executor_parts(executor)
    except SettingsError as error:
        yield Finding("iaside_executor", str(error), "wrong")
        return
    if kind != "process" or not count:
        return
    each, threads = int(count), int(options.get("threads", 1))
    if workers * each * threads > cores:
        times = f"in each of {workers} workers of pytest, " * (workers > 1)
        yield Finding(
            "iaside_executor",
            f"{printable(executor)}: {each} processes of {threads} thread{'s' * (threads > 1)}, "
            f"{times}for {_cores(cores)}: they wait for each other; take fewer, or none "
            "of -n and executor together",
            "note" if _has_gpus() else "wrong",
        )


def _of_others(cores: int, every: int) -> Iterator[Finding]:
    """What other processes take of the cores, for a moment in which this one takes nothing."""
    busy = busy_cores()
    # What a limited container shares with others it cannot see.
    if busy is not None and cores == every and busy > max(0.5, 0.25 * every):
        yield Finding(
            "other processes",
            f"they take about {busy:.1f} of {_cores(every)} now; gates are slower meanwhile, and "
            "faster than told here once they have ended",
            "note",
        )


def busy_cores() -> float | None:
    """How many cores compute while this process waits; None where nobody can tell."""
    with suppress(OSError, ValueError, IndexError, ZeroDivisionError):
        before = _ticks()
        time.sleep(WINDOW)
        idle, every = (now - then for now, then in zip(_ticks(), before, strict=True))
        return (1 - idle / every) * (os.cpu_count() or 1)
    return None


def _ticks() -> tuple[int, int]:
    """Idle time and all time of all cores."""
    found = [int(each) for each in STAT.read_text().splitlines()[0].split()[1:9]]
    return found[3] + found[4], sum(found)


def _threads_of(text: str) -> int | None:
    """What OpenMP reads: a number, or one for each level of nesting; None for anything else."""
    parts = [each.strip() for each in text.split(",")]
    # As digits alone: Python reads 1_0 and signs as well.
    if all(each.isascii() and each.isdecimal() and int(each) > 0 for each in parts):
        return int(parts[0])
    return None


def _cores(count: int) -> str:
    return f"{count} core{'s' * (count != 1)}"


def _has_gpus() -> bool:
    import torch

    return torch.cuda.is_available()

"""Hostile databases, and a child process with little time and memory in which a file is read."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

SECONDS = 8
MEGABYTES = 600  # more than this process has already
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT"


class Lost(AssertionError):
    """The child hung, was killed or ran out of memory."""


def sql(*statements: str, values: tuple[Any, ...] = ()) -> Callable[[Path], None]:
    """Makes a database hostile by ``statements``, each with ``values``."""

    def work(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            for statement in statements:
                database.execute(statement, values)
            database.commit()

    return work


def tamed(work: Callable[[], Any], *, seconds: int = SECONDS, megabytes: int = MEGABYTES) -> Any:
    """What ``work`` returns or raises, in a fork of its own with limits."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            try:
                answer: tuple[bool, Any] = True, work()
            except BaseException as error:
                answer = False, error
            with os.fdopen(writing, "wb") as pipe:
                try:
                    pickle.dump(answer, pipe)
                except Exception:
                    pickle.dump((False, RuntimeError(repr(answer)[:500])), pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    if not content:
        raise Lost(f"the child ended with {status} within {seconds} s and {megabytes} MB")
    done, found = pickle.loads(content)
    if done:
        return found
    if isinstance(found, MemoryError):
        raise Lost(f"more than {megabytes} MB")
    raise found

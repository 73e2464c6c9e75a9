"""Files: read within limits, whoever wrote them, and written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# The folder of baselines.
STORE = "__iaside__"
# What a killed writer leaves is called so, and removed once it is older than ABANDONED seconds.
DRAFT = ".iaside-{}.tmp"
ABANDONED = 3600.0
# Seconds to wait for another writer of the same folder.
PATIENCE = 60.0
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def check_file(path: str | Path, most: int) -> None:
    """Raise OSError, whose strerror says why, unless ``path`` is a file of at most ``most`` bytes.

    A pipe would keep its reader waiting for ever, and some devices never end.
    """
    _check(os.stat(path), most)


def read_bytes(path: str | Path, most: int) -> bytes:
    """The content of the file ``path``; raises OSError as ``check_file`` does."""
    check_file(path, most)
    # Not to wait where it became a pipe in between.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NO_WAIT)) as file:
        _check(os.fstat(file.fileno()), most)
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, _too_large(len(content), most))
    return content


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` in one step: whoever reads finds the old file or the new one.

    Raises OSError where it cannot be written; what was there then stands.
    """
    draft = path.with_name(DRAFT.format(secrets.token_hex(8)))
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(draft, path)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def write_export(path: Path, text: str) -> None:
    """``write_bytes`` of ``text`` for people, making its folder; a link stays one.

    What is no file, such as /dev/stdout, is written as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode("utf-8", "backslashreplace")
    target = Path(os.path.realpath(path))
    if target.exists() and not (target.is_file() or target.is_dir()):
        target.write_bytes(content)
    else:
        write_bytes(target, content)
        sweep(target.parent)


def is_old(path: Path) -> bool:
    """Whether nobody can still be about to use what a writer left at ``path``."""
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime > ABANDONED
    return False


def sweep(folder: Path, *, alone: bool = False) -> None:
    """Remove drafts that killed writers left in ``folder``: old ones, or all where ``alone``."""
    for draft in folder.glob(DRAFT.format("*")):
        if alone or is_old(draft):
            with contextlib.suppress(OSError):
                draft.unlink()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Wait until no other process writes to ``folder``; whether it is locked for this one now.

    It is not where the file system has no locks: to write must be safe without, too. The lock ends
    with the process, whatever ends that. Raises OSError where another one keeps it for a minute.
    """
    try:
        import fcntl
    except ImportError:  # Windows.
        yield False
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(lambda: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB))
    finally:
        os.close(handle)


def _lock(attempt: Callable[[], None]) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            attempt()
        except BlockingIOError:
            time.sleep(0.005)
        except OSError:
            return False
        else:
            return True
    raise OSError(errno.EAGAIN, f"another process has been writing to it for {PATIENCE:.0f} s")


_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def _check(found: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for test, name in KINDS if test(found.st_mode)), "no file")
        raise OSError(errno.EINVAL, f"it is {kind}, expected a file")
    if found.st_size > most:
        raise OSError(errno.EFBIG, _too_large(found.st_size, most))


def _too_large(size: int, most: int) -> str:
    return f"it has {size / 1e6:,.1f} MB, expected at most {most / 1e6:,.1f}"

"""Faults at every step of everything that is written, and what readers find afterwards.

Run by tests with faults.c loaded before libc, so that SQLite's own calls are among those that fail:

    LD_PRELOAD=faults.so python tests/soak/faults.py FOLDER [--short]

prints one JSON document: of each fault how often it was injected, and how it came out.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.store import archive, database, files, machine
from pytest_iaside.store.cache import Entry, Found, ResultCache

KILL_BEFORE, KILL_AFTER, STOP, SHORT = -1, -2, -3, -4
FAULTS: dict[str, tuple[int, bool]] = {
    "killed before a call": (KILL_BEFORE, False),
    "killed after a call": (KILL_AFTER, False),
    "no space left, from there on": (errno.ENOSPC, True),
    "no space left, once": (errno.ENOSPC, False),
    "permission denied": (errno.EACCES, False),
    "input/output error": (errno.EIO, False),
    "interrupted": (errno.EINTR, False),
    "read-only, from there on": (errno.EROFS, True),
    "half of a write": (SHORT, False),
}
"""What happens, and whether all that comes after it fails as well."""
QUICK = ("killed before a call", "no space left, from there on")
MOST_STEPS = 200
DONE, REFUSED, BROKEN = 0, 3, 4
"""How an actor ended: it wrote, it said clearly that it could not, or something else came out."""
library = ctypes.CDLL(None)
library.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]


class Locked(Exception):
    """A writer that is stopped keeps readers waiting, and they give up."""


@dataclass(frozen=True)
class Kind:
    """One kind of file below a folder: how record ``n`` is written, and which are read.

    ``read`` raises for anything that is not whole. ``left`` are the files that are there once all
    is well. ``collects`` says whether a new record stands beside the old ones.
    """

    write: Callable[[Path, int], None]
    read: Callable[[Path], list[int]]
    left: tuple[str, ...]
    collects: bool = False


def write_baseline(folder: Path, number: int) -> None:
    document, arrays = {"which": number}, {"a": np.full(200 + number, float(number))}
    archive.write(folder / "__iaside__" / "test_it" / "record.yaml", document, arrays)


def read_baseline(folder: Path) -> list[int]:
    path = folder / "__iaside__" / "test_it" / "record.yaml"
    if not path.exists():
        return []
    document, arrays = archive.read(path)
    number = int(document["which"])
    assert np.array_equal(arrays["a"], np.full(200 + number, float(number))), "a mix of two"
    return [number]


def write_cache(folder: Path, number: int) -> None:
    cache = ResultCache(folder)
    found = Found({"x": np.random.default_rng(number).normal(size=40)}, {"number": number})
    cache.put("game", "title", [Entry(str(number), "0")], ["0"], [found])
    if cache.broken:
        raise SpectralRobustnessError(cache.broken)


def read_cache(folder: Path) -> list[int]:
    cache = ResultCache(folder)
    found = cache.get("game", [Entry(str(number), "0") for number in range(6)])
    if cache.broken:
        raise Locked(cache.broken) if "is locked" in cache.broken else OSError(cache.broken)
    there = {number: one for number, one in enumerate(found) if one is not None}
    for number, one in there.items():
        expected = np.random.default_rng(number).normal(size=40)
        assert np.array_equal(one.arrays["x"], expected), f"row {number} is another"
    return list(there)


def write_history(folder: Path, number: int) -> None:
    from profiles import make_profile

    from pytest_iaside.track.history import History, Point

    profile = make_profile(images=4, seed=number)
    History(folder / "h.sqlite").add(Point(step=number, name=f"{number}.pt", profile=profile))


def read_history(folder: Path) -> list[int]:
    from profiles import make_profile

    from pytest_iaside.track.history import History

    try:
        points = History(folder / "h.sqlite").points()
    except SpectralRobustnessError as error:
        if "is locked" in str(error):
            raise Locked(str(error)) from error
        raise
    for point in points:
        expected = make_profile(images=4, seed=point.step)
        assert np.array_equal(point.profile.values, expected.values), f"step {point.step}"
    return [point.step for point in points]


def write_memory(folder: Path, number: int) -> None:
    os.environ[machine.FOLDER_VARIABLE] = str(folder)
    machine.forget("key")
    if machine.remember("key", {"which": number, "text": "x" * 500}) is None:
        raise SpectralRobustnessError("nothing can be remembered")


def read_memory(folder: Path) -> list[int]:
    os.environ[machine.FOLDER_VARIABLE] = str(folder)
    found = machine.recall("key")
    if found is None:
        assert not (folder / "backends" / "key.json").exists(), "half a file"
        return []
    assert found["text"] == "x" * 500
    return [int(found["which"])]


def write_page(folder: Path, number: int) -> None:
    try:
        files.write_export(folder / "out" / "page.html", f"{number} " * 5000)
    except OSError as error:  # As report/writing.py says it.
        raise SpectralRobustnessError(f"cannot write: {error.strerror}") from error


def read_page(folder: Path) -> list[int]:
    path = folder / "out" / "page.html"
    if not path.exists():
        return []
    words = path.read_text().split(" ")[:-1]
    assert len(words) == 5000 and len(set(words)) == 1, "half a page"
    return [int(words[0])]


BASELINE = ("record.yaml", "record.npz", ".gitignore")
KINDS = {
    "baseline": Kind(write_baseline, read_baseline, BASELINE),
    "cache": Kind(write_cache, read_cache, ("results.sqlite",), collects=True),
    "choice of a back end": Kind(write_memory, read_memory, ("key.json",)),
    "report": Kind(write_page, read_page, ("page.html",)),
    "history": Kind(write_history, read_history, ("h.sqlite",), collects=True),
}
HEAVY = ("history",)
"""Those that import PyTorch, which makes every fork slow."""


@dataclass
class Tally:
    """What was injected, how it came out, and what should not have."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add(self, what: str, outcome: str) -> None:
        self.outcomes.setdefault(what, Counter())[outcome] += 1

    def fail(self, where: str, why: str) -> None:
        self.wrong.append(f"{where}: {why}")


def start(work: Callable[[], None], folder: Path, nth: int, fault: int, stays: bool) -> int:
    """A process that does ``work`` with a fault in its call number ``nth``."""
    child = os.fork()
    if child:
        return child
    code = BROKEN
    try:
        library.faults_arm(os.fsencode(folder), nth, fault, stays)
        try:
            work()
            code = DONE
        except SpectralRobustnessError:
            code = REFUSED
        except BaseException:
            traceback.print_exc()
        library.faults_disarm()
        if code == DONE and not library.faults_happened():
            code = 100  # There are no more calls.
    finally:
        os._exit(code)
    raise AssertionError


def ended(child: int) -> str:
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return "stopped"
    if os.WIFSIGNALED(status):
        return "killed"
    names = {DONE: "written", REFUSED: "refused", BROKEN: "broken", 100: "no such call"}
    return names[os.WEXITSTATUS(status)]


def check(
    kind: Kind,
    folder: Path,
    allowed: set[int | None],
    tally: Tally,
    where: str,
    old: int | None = 1,
    may_wait: bool = False,
) -> None:
    """One of ``allowed`` is the last that is read, None for none; ``old`` is still there.

    ``may_wait`` says whether a writer is stopped that may hold a lock.
    """
    try:
        found = kind.read(folder)
    except Locked as error:
        if not may_wait:
            tally.fail(where, str(error))
        return
    except Exception as error:
        tally.fail(where, f"reading: {type(error).__name__}: {error}")
        return
    if (found[-1] if found else None) not in allowed:
        tally.fail(where, f"{found} is read, expected one of {allowed}")
    if kind.collects and old is not None and old not in found:
        tally.fail(where, "what was kept before is lost")


def finish(kind: Kind, folder: Path, tally: Tally, where: str) -> None:
    """The next writer succeeds, and clears up what is old by then."""
    for each in folder.rglob(".*"):
        if each.is_file() and each.name not in kind.left:
            os.utime(each, (0, 0))
    try:
        kind.write(folder, 5)
        if kind.read(folder)[-1] != 5:
            tally.fail(where, "the next one is not read")
    except Exception as error:
        tally.fail(where, f"the next writer: {type(error).__name__}: {error}")
    left = [each.name for each in folder.rglob("*") if each.is_file()]
    if others := sorted(set(left) - set(kind.left)):
        tally.fail(where, f"files are left: {others}")


def folders(base: Path) -> Iterator[Path]:
    for number in range(10**9):
        folder = base / f"{number:06}"
        folder.mkdir()
        yield folder


def inject(base: Path, names: tuple[str, ...], tally: Tally, kinds: dict[str, Kind]) -> None:
    """Every fault in every call of every kind of file, over an old one and where there is none."""
    places = folders(base)
    for what, kind in kinds.items():
        for name in names:
            fault, stays = FAULTS[name]
            for old in (1, None):
                for nth in range(1, MOST_STEPS):
                    folder = next(places)
                    if old is not None:
                        kind.write(folder, old)
                    work = lambda k=kind, f=folder: k.write(f, 2)  # noqa: E731
                    outcome = ended(start(work, folder, nth, fault, stays))
                    if outcome == "no such call":
                        break
                    where = f"{what}, {name}, call {nth}, {'over an old one' if old else 'first'}"
                    tally.add(f"{what}: {name}", outcome)
                    if outcome == "broken":
                        tally.fail(where, "neither written nor a clear error")
                    allowed: set[int | None] = {2} if outcome == "written" else {old, 2}
                    if what == "choice of a back end":  # It is forgotten before it is found anew.
                        allowed |= {old, None}
                    check(kind, folder, allowed, tally, where, old)
                    finish(kind, folder, tally, where)


def interleave(base: Path, tally: Tally, *, both: bool, locks: bool) -> None:
    """One writer stops before every call; another writes and a reader reads; then it goes on.

    And the same with the first one killed instead. With ``both`` the other one stops at each of its
    calls as well, the first ends, and the other goes on.
    """
    places = folders(base)
    files.PATIENCE = database.PATIENCE = 0.3
    library.faults_without_locks(not locks)
    kinds = KINDS if locks else {name: KINDS[name] for name in ("baseline", "report")}
    for what, kind in kinds.items():
        may: set[int | None] = {1, 2, 3} | ({None} if what == "choice of a back end" else set())
        for kills in (False, True):
            for nth in range(1, MOST_STEPS):
                second = range(1, MOST_STEPS) if both else (0,)
                any_call = False
                for mth in second:
                    folder = next(places)
                    kind.write(folder, 1)
                    first = start(lambda k=kind, f=folder: k.write(f, 2), folder, nth, STOP, False)
                    where = f"{what}, stopped before call {nth}, the other before {mth}"
                    if ended(first) != "stopped":
                        break
                    any_call = True
                    check(kind, folder, may, tally, f"{where}: meanwhile", may_wait=True)
                    other = start(lambda k=kind, f=folder: k.write(f, 3), folder, mth, STOP, False)
                    came = ended(other)
                    check(kind, folder, may, tally, f"{where}: after the other", may_wait=True)
                    os.kill(first, signal.SIGKILL if kills else signal.SIGCONT)
                    outcome = ended(first)
                    check(kind, folder, may, tally, f"{where}: after the first")
                    if came == "stopped":
                        os.kill(other, signal.SIGCONT)
                        came = ended(other)
                    if "broken" in (outcome, came):
                        tally.fail(where, f"the first {outcome}, the other {came}")
                    check(kind, folder, may, tally, f"{where}: at the end")
                    # Where nobody can lock, what a writer may still need stays an hour.
                    library.faults_without_locks(0)
                    finish(kind, folder, tally, where)
                    library.faults_without_locks(not locks)
                    ways = "the first is killed" if kills else "both go on"
                    held = "" if locks else ", no locks"
                    tally.add(
                        f"{what}: two writers and a reader, {ways}{held}",
                        "written" if came == "no such call" else came,
                    )
                    if both and mth > 1 and came == "no such call":
                        break
                if not any_call:
                    break
    library.faults_without_locks(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    tally = Tally()
    names = QUICK if options.short else tuple(FAULTS)
    kinds = {name: kind for name, kind in KINDS.items() if not (options.short and name in HEAVY)}
    parts: list[tuple[str, Callable[[Path], Any]]] = [
        ("faults", lambda at: inject(at, names, tally, kinds)),
        ("unlocked", lambda at: interleave(at, tally, both=False, locks=False)),
    ]
    if not options.short:
        parts += [
            ("locked", lambda at: interleave(at, tally, both=False, locks=True)),
            ("both", lambda at: interleave(at, tally, both=True, locks=False)),
        ]
    for name, part in parts:
        place = options.folder / name
        place.mkdir()
        part(place)
    print(json.dumps({"outcomes": tally.outcomes, "wrong": tally.wrong}, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())

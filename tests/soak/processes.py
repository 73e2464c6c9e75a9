"""Eight processes on one baseline, one cache and one history, killed at random for minutes.

What a process was told is kept must stay; what is read must be what was written, whole; and no
reader may ever see an error.

    python tests/soak/processes.py 60

prints what was kept and read, and what went wrong, as one JSON document.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo
from pytest_iaside.store.cache import Entry, Found, ResultCache
from pytest_iaside.track.history import History, Point

PROCESSES = 8
# Seconds between two kills.
PAUSES = (0.02, 0.5)
IMAGES, BANDS = 4, 3
KINDS = ("baseline", "cache", "history")


def profile(number: int) -> SpectralProfile:
    """A profile whose numbers follow from ``number``."""
    generator = np.random.default_rng(number)
    psi = generator.normal(size=(IMAGES, BANDS))
    by_size = np.linspace(0, 1, BANDS + 1) * psi.sum(axis=1, keepdims=True) - 5
    return SpectralProfile(
        values=psi,
        by_size=by_size,
        information=by_size[:, -1] + 3,
        digests=tuple(f"{image:032x}" for image in range(IMAGES)),
        names=tuple(f"image {image}" for image in range(IMAGES)),
        labels=np.arange(IMAGES),
        rules=Rules(bands=BANDS),
        reference=ReferenceInfo(
            digest="0" * 32, images=IMAGES, channels=3, height=16, width=16, labels="dataset"
        ),
        model=ModelInfo(name=f"net {number}", classes=10),
        forward_passes=36,
    )


def is_whole(found: SpectralProfile) -> bool:
    """Whether ``found`` has the numbers of the profile whose name it has."""
    expected = profile(int(found.model.name.removeprefix("net ")))
    return all(
        np.array_equal(getattr(found, name), getattr(expected, name))
        for name in ("values", "by_size", "information", "labels")
    )


def row(number: int) -> Found:
    """A row of the cache whose numbers follow from ``number``."""
    return Found({"x": np.random.default_rng(number).normal(size=40)}, {"number": number})


class Place:
    """The files that all processes share, and the diary that each of them writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.baseline = folder / "__iaside__" / "test_it" / "soak.yaml"
        self.cache = ResultCache(folder / "cache", limit=10**12)
        self.history = History(folder / "history.sqlite")

    def diaries(self) -> Iterator[list[str]]:
        """The words of every line that was written whole."""
        for diary in self.folder.glob("diary-*"):
            yield from (line.split(" ", 2) for line in diary.read_text().split("\n")[:-1])

    def kept(self, kind: str, number: int) -> bool:
        """Whether what was told to be kept can be read, and is what it was."""
        if kind == "baseline":  # The last one stands: any that is whole.
            return is_whole(SpectralProfile.load(self.baseline))
        if kind == "cache":
            (found,) = self.cache.get("soak", [Entry(str(number), "0")])
            if found is None or self.cache.broken:
                return False
            return np.array_equal(found.arrays["x"], row(number).arrays["x"])
        point = self.history.at("soak", number)
        return point is not None and is_whole(point.profile)

    def keep(self, kind: str, number: int) -> None:
        if kind == "baseline":
            # Some write the same content as others.
            profile(number if number % 3 else 0).save(self.baseline)
        elif kind == "cache":
            self.cache.put("soak", "soak", [Entry(str(number), "0")], ["0"], [row(number)])
            if self.cache.broken:
                raise OSError(self.cache.broken)
        else:
            found = replace(profile(number), seconds=1.0)
            self.history.add(Point(run="soak", step=number, name=f"{number}.pt", profile=found))


def work(place: Place, worker: int) -> None:
    """Write and read until killed; the diary says of each thing that it was kept, once it was."""
    random.seed(worker)
    diary = os.open(place.folder / f"diary-{worker}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    kept: list[tuple[str, int]] = []
    for count in range(10**9):
        kind, number = random.choice(KINDS), worker * 10**5 + count
        try:
            place.keep(kind, number)
            os.write(diary, f"kept {kind} {number}\n".encode())
            kept.append((kind, number))
            kind, number = random.choice(kept)
            right = place.kept(kind, number)
            os.write(diary, f"{'right' if right else 'wrong'} {kind} {number}\n".encode())
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            os.write(diary, f"error {kind} {told}\n".encode())


def start(place: Place, worker: int) -> int:
    process = os.fork()
    if process == 0:
        try:
            work(place, worker)
        finally:
            os._exit(1)
    return process


def kill_and_start(place: Place, seconds: float) -> int:
    """How many processes it took: one is killed at random, and another takes its place."""
    running = [start(place, worker) for worker in range(1, PROCESSES + 1)]
    started, end = PROCESSES, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            time.sleep(random.uniform(*PAUSES))
            at = random.randrange(PROCESSES)
            os.kill(running[at], signal.SIGKILL)
            os.waitpid(running[at], 0)
            started += 1
            running[at] = start(place, started)
    finally:
        for process in running:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    return started


def looked_at(check: Callable[[], bool]) -> str:
    """Empty where ``check`` holds; else what is wrong."""
    try:
        return "" if check() else "lost"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main() -> int:
    seconds = float(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.keep("baseline", 1)  # A reader that comes first finds one, too.
        started = kill_and_start(place, seconds)
        lines = list(place.diaries())
        counts = Counter((word, kind) for word, kind, _ in lines)
        wrong = [" ".join(line) for line in lines if line[0] in ("error", "wrong")]
        kept = [(kind, int(number)) for word, kind, number in lines if word == "kept"]
        for kind, number in kept:
            if found := looked_at(lambda kind=kind, number=number: place.kept(kind, number)):
                wrong.append(f"at the end: {kind} {number}: {found}")
        place.keep("baseline", 2)  # And the next writer clears up.
        left = sorted(each.name for each in place.baseline.parent.iterdir())
        if left != ["soak.npz", "soak.yaml"]:
            wrong.append(f"files left: {', '.join(left)}")
    outcomes: dict[str, dict[str, int]] = {
        kind: {"kept": counts["kept", kind], "read": counts["right", kind]} for kind in KINDS
    }
    outcomes["processes"] = {"killed": started - PROCESSES}
    print(json.dumps({"seconds": seconds, "outcomes": outcomes, "wrong": wrong[:100]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What 10,000 checkpoints on 1,000 images would take, and where the bottleneck lies.

    python benchmarks/scale.py [--passes 2000] [--workers 64]

First the units, measured here: a forward pass, a picture, a row of the cache, a call to a worker.
Then what the whole costs by design and number of bands; up to how many workers each thing that one
process does alone can keep up; and simulated crews (common/schedule.py) with stragglers and deaths.
``--passes`` is how many forward passes a second a worker's accelerator runs: taken for granted, not
measured here, and all hours go by it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from common.lite0 import _scrapbook, lite0
from common.saved import kept as keeping
from common.schedule import Crew, echo, stragglers
from common.side_by_side import machine, print_table

from pytest_iaside import BandPartition, Classifier, ReferenceSample
from pytest_iaside.execute.crew import HELD
from pytest_iaside.execute.crew import Crew as WorkingCrew
from pytest_iaside.execute.engines import close_engines, engine_of
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import open_runner
from pytest_iaside.execute.spreading import UNIT_SECONDS
from pytest_iaside.images.filters import components
from pytest_iaside.images.pictures import read_image
from pytest_iaside.measure.game.coalitions import plan
from pytest_iaside.store.cache import Entry, Found, ResultCache

CHECKPOINTS, IMAGES, SIDE = 10_000, 1_000, 224
BYTES = 8  # Of a log-likelihood in the cache; a baseline keeps 4.
GAMES = [("exact", 8), ("latin", 8), ("exact", 10), ("latin", 12), ("exact", 12), ("latin", 16),
         ("exact", 16)]  # fmt: skip
ROWS = 50  # That are kept at a time.
DAY = 86_400.0
RESTART = 20.0  # Seconds until a worker that died is back: PyTorch and the network anew.
SPREAD, SLOW, TIMES = 0.2, 0.01, 10.0


@dataclass(frozen=True)
class Units:
    """Seconds of what is done once for a pass, a picture, an image, a unit or a checkpoint."""

    picture: float
    decoding: float
    opening: float
    call: float
    put: dict[int, float]
    """Of a row in the cache, by the coalitions in it."""
    full: float
    """The same of a small row in a cache that holds many."""


def least(run: Callable[[], object], rounds: int = 5) -> float:
    """Seconds of the quickest of some rounds, after one that does not count."""
    run()
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return min(found)


def passes_of(design: str, bands: int) -> int:
    """Coalitions that are played of an image."""
    return 2**bands if design == "exact" else len(plan("latin", bands, "0").coalitions)


def forward(classifier: Classifier, shape: tuple[int, int, int]) -> tuple[float, float]:
    """Seconds of a forward pass, and to make the network ready in a process that did so before."""
    batch = torch.rand(16, *shape)
    how = Execution(backend="eager", batch_size=16)
    found = 0.0, 0.0
    for _ in range(2):
        began = time.perf_counter()
        with open_runner(classifier, how, inputs=batch, passes=10_000) as runner:
            opening = time.perf_counter() - began
            found = least(lambda: list(runner.forward_many([batch]))) / len(batch), opening
    return found


def pictures(bands: int, side: int = SIDE) -> float:
    """Seconds to make a picture of some of the bands."""
    images = torch.rand(4, 3, side, side)
    parts = components(images, BandPartition(side, side, bands))
    drawn = torch.rand(4, 16, bands) > 0.5
    return least(lambda: parts.combine(drawn)) / 64


def decoded() -> float:
    """Seconds to read a photograph of 500×375 and to resize and crop it."""
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
        return least(lambda: read_image(path, resize=256, crop=SIDE))


def kept(numbers: int, before: int = 0) -> tuple[float, float, float]:
    """Seconds of a row of so many ``numbers`` put into the cache and got, and bytes in its file.

    ``before`` rows are there already.
    """
    values = np.random.default_rng(0).normal(size=numbers)
    rows = max(1, min(ROWS, 2**22 // numbers))
    with tempfile.TemporaryDirectory() as folder:
        cache = ResultCache(Path(folder), limit=2**40)

        def put(name: str, count: int) -> list[Entry]:
            entries = [Entry(f"{name} {each}", "0") for each in range(count)]
            found = Found({"log-likelihood": values}, {})
            cache.put("a game", "a title", entries, ["0"] * count, [found] * count)
            return entries

        if before:
            put("before", before)
        entries, took = [], []
        for turn in range(4):
            began = time.perf_counter()
            entries = put(f"turn {turn}", rows)
            took.append(time.perf_counter() - began)
        got = least(lambda: cache.get("a game", entries), 3)
        assert not cache.broken, cache.broken
        size = cache.path.stat().st_size / (before + 4 * rows)
    return min(took) / rows, got / rows, size


def called(images: int, coalitions: int) -> tuple[float, float]:
    """Seconds of the coordinator for a call to a worker that does nothing, and its megabytes.

    The call carries so many images there, and a row of numbers for each of them back.
    """
    sample = ReferenceSample(torch.randint(0, 256, (images, 3, SIDE, SIDE), dtype=torch.uint8))
    crew = WorkingCrew(engine_of("process:2"), Classifier(torch.nn.Flatten(), name="nothing"))
    asked = [(sample, coalitions)] * 8

    def run() -> None:
        for _ in crew.map(echo, Execution(), asked):
            pass

    seconds = least(run, 3) / len(asked)
    close_engines()
    size = BytesIO()
    torch.save(sample.images, size)
    return seconds, (size.tell() + 8 * images * coalitions) / 1e6


def costs(units: Units, passes: float) -> None:
    """What the whole takes by design."""
    rows = []
    for design, bands in GAMES:
        played = passes_of(design, bands)
        whole = CHECKPOINTS * IMAGES * played
        rows.append(
            [
                f"{design}, {bands} bands",
                f"{played:,}",
                f"{whole / 1e9:,.2f}",
                f"{whole / passes / 3600:,.0f}",
                f"{whole * units.picture / 3600:,.0f}",
                f"{played * BYTES / 1000:,.1f}",
                f"{whole * BYTES / 1e9:,.0f}",
            ]
        )
    print_table(
        ["game", "passes an image", "10⁹ passes", "accelerator hours", "core hours of pictures",
         "kB a table", "GB of tables"],
        rows, name="scale-costs",
        what=f"What {CHECKPOINTS:,} checkpoints on {IMAGES:,} images take",
    )  # fmt: skip


def limits(units: Units, passes: float) -> None:
    """Up to how many workers what one process does alone keeps up."""
    rows = []
    for design, bands in GAMES:
        played = passes_of(design, bands)
        image = played / passes  # Seconds of a worker.
        # Among 100,000 rows: what a write looks through grows with them.
        put = units.put[played] + units.full - units.put[passes_of("latin", 8)]
        rows.append(
            [
                f"{design}, {bands} bands",
                f"{1000 * image:,.0f}",
                f"{UNIT_SECONDS / units.call:,.0f}",
                f"{image / put:,.0f}",
                f"{image / units.decoding:,.0f}",
                f"{image * IMAGES:,.0f}",
                f"{image * IMAGES / UNIT_SECONDS:,.0f}",
            ]
        )
    print_table(
        ["game", "ms an image", "coordinator", "cache", "a core that decodes", "s a checkpoint",
         "units a checkpoint"],
        rows, name="scale-limits",
        what="Up to how many workers what one process does alone keeps up",
    )  # fmt: skip


def crews() -> None:
    """One long measurement shared by more and more workers."""
    kinds = {
        "all alike": (0.0, 0.0, 0.0),
        "stragglers": (SPREAD, SLOW, 0.0),
        "stragglers, a death a day": (SPREAD, SLOW, 1 / DAY),
        "stragglers, a death an hour": (SPREAD, SLOW, 1 / 3600),
    }
    rows = []
    for name, (spread, slow, deaths) in kinds.items():
        for held in (2, 8, HELD):
            row = [f"{name}, {held} held"]
            for workers in (8, 64, 512):
                units = stragglers(
                    200 * workers, UNIT_SECONDS, spread=spread, slow=slow, times=TIMES
                )
                crew = Crew(workers=workers, held=held, deaths=deaths, restart=RESTART)
                row.append(f"{crew.run(units).busy(workers):.1%}")
            rows.append(row)
    what = "Simulated crews: how much of the workers' time was used"
    head = ["busy with units that were finished", "8", "64", "512 workers"]
    print_table(head, rows, name="scale-crews", what=what)


def teams(units: Units, passes: float, workers: int) -> None:
    """Workers in teams, each of which takes one checkpoint after the other."""
    rows = []
    cases = [(*game, held) for game in GAMES if game[1] in (8, 12) for held in (2, HELD)]
    for design, bands, held in cases:
        seconds = IMAGES * passes_of(design, bands) / passes
        count = max(1, round(seconds / UNIT_SECONDS))
        row = [f"{design}, {bands} bands ({count} units), {held} held"]
        for team in (1, 4, 16, 64):
            taken = []
            for seed in range(40):
                drawn = stragglers(
                    count, seconds / count, spread=SPREAD, slow=SLOW, times=TIMES, seed=seed
                )
                crew = Crew(
                    workers=team, held=held, deaths=1 / DAY, restart=RESTART, handling=units.call
                )
                taken.append(units.opening + crew.run(drawn, seed).seconds)
            many = np.random.default_rng(0).choice(taken, CHECKPOINTS)
            whole = Crew(workers=max(1, workers // team)).run(many).seconds
            ideal = CHECKPOINTS * seconds / workers
            row.append(f"{whole / 3600:,.1f} h, {ideal / whole:.0%}")
        rows.append(row)
    what = "Simulated teams: hours, and how much of the workers' time was used"
    head = [f"{workers} workers in teams of", "1", "4", "16", "64"]
    print_table(head, rows, name="scale-teams", what=what)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=float, default=2000.0)
    parser.add_argument("--workers", type=int, default=64)
    options = parser.parse_args()
    passes = options.passes
    print(machine(), end="\n\n")
    torch.set_num_threads(1)

    digits = Classifier(_scrapbook("models").load_digit_reader(), name="digit reader")
    print("Units, one core:\n")
    photo_pass, opening = forward(lite0(), (3, SIDE, SIDE))
    digit_pass, _ = forward(digits, tuple(_scrapbook("data").digits()[0].images.shape[1:]))
    rows = [
        ["a forward pass, Lite0", f"{1e3 * photo_pass:,.2f} ms", ""],
        ["a forward pass, digit reader", f"{1e3 * digit_pass:,.3f} ms", ""],
        ["a network made ready, Lite0", f"{1e3 * opening:,.0f} ms", ""],
    ]
    picture = {bands: pictures(bands) for bands in (8, 16)}
    rows += [[f"a picture of {m} bands", f"{1e3 * s:,.2f} ms", ""] for m, s in picture.items()]
    decoding = decoded()
    rows.append(["a photograph read, resized and cropped", f"{1e3 * decoding:,.2f} ms", ""])
    put = {}
    for played in sorted({passes_of(*game) for game in GAMES}):
        put[played], got, size = kept(played)
        told = f"{1e3 * put[played]:,.3f} ms, got {1e3 * got:,.3f} ms"
        rows.append([f"a row of {played:,} coalitions kept", told, f"{size / 1e3:,.1f} kB"])
    full, _, _ = kept(58, before=100_000)
    rows.append(["one of 58, among 100,000 rows", f"{1e3 * full:,.3f} ms", ""])
    images = max(1, round(UNIT_SECONDS * passes / 256))
    call, size = called(images, 256)
    few, _ = called(1, 1)
    rows.append(
        [f"a call with {images} images, process:2", f"{1e3 * call:,.1f} ms", f"{size:,.1f} MB"]
    )
    rows.append(["a call with 1 image", f"{1e3 * few:,.1f} ms", ""])
    print_table(["unit", "takes", "size"], rows, name="scale-units", what="Units, one core")

    units = Units(picture[8], decoding, opening, call, put, full)
    print(f"{CHECKPOINTS:,} checkpoints × {IMAGES:,} images, {passes:,.0f} passes a second:\n")
    costs(units, passes)
    print("Workers that keep busy, until what one process does alone is the limit:\n")
    limits(units, passes)
    print(f"One measurement of 200 units of {UNIT_SECONDS:g} s for each worker:\n")
    crews()
    print("All checkpoints, simulated: hours, and the share of the workers' time that was used:\n")
    teams(units, passes, options.workers)


if __name__ == "__main__":
    with keeping(__file__):
        main()

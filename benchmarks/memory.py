"""What the game takes besides the model: memory at its peak, and time for many bands.

EfficientNet-Lite0 at 224×224, backend="auto". Peaks are of processes of their own: ``bare`` feeds
the network with one chunk of images again and again. Times are of one process, in turns.

    python benchmarks/memory.py [--quick]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from unittest import mock

import torch
from common.lite0 import lite0, photographs
from common.saved import kept, value
from common.side_by_side import machine, print_table, ratio, spread, time_side_by_side

from pytest_iaside import ReferenceSample, measure
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import BackendRunner
from pytest_iaside.measure.game.play import Shard, play_on, ready, shards
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.models.backends import open_backend

PAPER = 51_200  # Forward passes: 200 images, 8 bands.
GAMES = {"8 bands, exact": (8, "exact"), "12 bands, exact": (12, "exact")}
GAMES["16 bands, latin"] = (16, "latin")


def sample(count: int) -> ReferenceSample:
    """So many images, no two alike: the photographs, made a little brighter each time round."""
    images = photographs(24).images
    chosen = images[torch.arange(count) % len(images)]
    for place, image in enumerate(chosen):
        # In place: what this takes for a moment must not hide what the game takes.
        brighter = place // len(images)
        image.clamp_(max=255 - brighter).add_(brighter)
    return ReferenceSample(chosen)


def peak() -> float:
    """MiB that this process had at most."""
    unit = 1024 if sys.platform == "linux" else 1024**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def bare(passes: int) -> tuple[int, float]:
    """Only the model."""
    classifier, images = lite0(), sample(200)
    inputs = classifier.normalise(images.pixels(0, 8))
    with open_backend(classifier, inputs=inputs, passes=PAPER) as backend:
        chunk = inputs[: backend.chunk]
        batches = (chunk for _ in range(passes // len(chunk)))
        return sum(len(logits) for logits in backend.forward_many(batches)), peak()


def game(images: int, bands: int, design: str) -> tuple[int, float]:
    """A whole measurement."""
    profile = measure(lite0(), sample(images), bands=bands, design=design)
    return profile.forward_passes, peak()


def memory(quick: bool) -> None:
    """A table of peaks."""
    many, some, few = (8, 4, 1) if quick else (200, 50, 2)
    ways = {
        "bare model": partial(bare, 2000),
        f"{many} images, 8 bands, exact": partial(game, many, 8, "exact"),
        f"{few} images, 12 bands, exact": partial(game, few, 12, "exact"),
        f"{some} images, 16 bands, latin": partial(game, some, 16, "latin"),
    }
    context = multiprocessing.get_context("spawn")
    rows: list[list[str]] = []
    least = 0.0
    for name, way in ways.items():
        # Each chooses its backend anew: what one remembers would be a gift to the next.
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.dict(os.environ, {"IASIDE_CACHE_DIR": folder}),
            context.Pool(1) as pool,
        ):
            passes, found = pool.apply(way)
        least = least or found
        rows.append([name, f"{passes:,}", f"{found:.0f}", f"{found - least:+.0f}"])
    what = "Peak memory of processes of their own, EfficientNet-Lite0 at 224×224"
    head = ["peak memory", "forward passes", "MiB", "more than bare"]
    print_table(head, rows, name="memory", what=what)
    for name, row in (("memory-model", rows[0]), ("memory-game", rows[1])):
        value(name, f"{round(float(row[2])):,}", "MiB", f"peak memory: {row[0]}")


def games(stack: ExitStack, settings: dict) -> Mapping[str, Callable[[], int]]:
    """The same number of passes with more and more bands, on one backend."""
    classifier = lite0()
    ways: dict[str, Callable[[], int]] = {}
    opened = None
    for name, (bands, design) in GAMES.items():
        rules = Rules(bands=bands, design=design)
        passes = {"8": 257, "12": 4097, "16": 243}[name.partition(" ")[0]]
        images = sample(max(1, settings["passes"] // passes))
        (shard,) = shards(images, rules, images, len(images))
        if opened is None:
            opened = stack.enter_context(
                ready(classifier, rules, Execution(), replace(shard, passes=PAPER))
            )
        ways[name] = partial(_play, opened, rules, shard)
    return ways


def _play(runner: BackendRunner, rules: Rules, shard: Shard) -> int:
    return sum(rows.forward_passes for rows in play_on(runner, rules, shard))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few images, one round")
    options = parser.parse_args()
    print(f"{machine()}\n")
    memory(options.quick)
    settings = {"passes": 1000 if options.quick else 4100}
    speeds = time_side_by_side([games], settings, rounds=1 if options.quick else 5)
    first = next(iter(speeds))
    rows = [
        [name, *spread(values), f"{ratio(speeds, first, name):.3f}"]
        for name, values in speeds.items()
    ]
    what = "Time for a forward pass of EfficientNet-Lite0 by the number of bands"
    head = ["game", "img/s", "least–most", "time for a pass × 8 bands"]
    print_table(head, rows, name="time-by-bands", what=what)
    for name, row in (("pass-12", rows[1]), ("pass-16", rows[2])):
        more = 100 * (float(row[-1]) - 1)
        what = f"how much longer a forward pass takes than with 8 bands: {row[0]}"
        value(name, f"{more:.0f}".replace("-", "−"), "%", what)


if __name__ == "__main__":
    with kept(__file__):
        main()

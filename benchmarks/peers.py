"""The same numbers by other means: the paper written plainly, captum's and shapiq's Shapley.

The plain implementation takes every coalition's Fourier transform of its own and runs the
model as PyTorch runs it by default, 64 images at a time, or 10 as the authors' code does.

    python benchmarks/peers.py [--quick]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from unittest import mock

import numpy as np
import torch
from common.lite0 import lite0, photographs
from common.saved import kept, table
from common.side_by_side import machine, print_table, ratio, spread, time_side_by_side

from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.measure.game.coalitions import exact_coalitions
from pytest_iaside.measure.game.play import play_on, ready, shards
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.game.shapley import shapley_values

PAPER = 51_200  # Forward passes: 200 images, 8 bands.


def plain(stack: ExitStack, settings: dict) -> Mapping[str, Callable[[], int]]:
    """The paper's algorithm written down as it stands."""
    classifier, sample = lite0(), photographs(settings["images"])
    bands = settings["bands"]
    partition = BandPartition(224, 224, bands)
    index, network = torch.from_numpy(partition.index), classifier.network.eval()
    masks = torch.from_numpy(exact_coalitions(bands)).float()[:, index]

    @torch.no_grad()
    def game(batch_size: int) -> int:
        values = []
        for image in classifier.normalise(sample.pixels()):
            label = network(image[None]).argmax()
            row = []
            for some in masks.split(batch_size):
                spectrum = torch.fft.fftshift(torch.fft.fft2(image)[None], dim=(-2, -1))
                kept = spectrum * torch.fft.fftshift(some, dim=(-2, -1))[:, None]
                shown = torch.fft.ifft2(torch.fft.ifftshift(kept, dim=(-2, -1))).real
                row.append(torch.log_softmax(network(shown), dim=1)[:, label])
            values.append(torch.cat(row))
        shapley_values(torch.stack(values).double().numpy())
        return len(sample) * (len(masks) + 1)

    return {f"plain, batch {size}": partial(game, size) for size in (64, 10)}


def ours(stack: ExitStack, settings: dict) -> Mapping[str, Callable[[], int]]:
    """The game as measure() plays it, once a backend is chosen."""
    classifier, sample = lite0(), photographs(settings["images"])
    rules = Rules(bands=settings["bands"], design="exact")
    (shard,) = shards(sample, rules, sample, len(sample))
    # Chosen as for the paper's game, of which a little is played here.
    opened = stack.enter_context(
        ready(classifier, rules, Execution(), replace(shard, passes=PAPER))
    )

    def game() -> int:
        return sum(rows.forward_passes for rows in play_on(opened, rules, shard))

    return {f"{settings.get('way', 'auto')} ({opened.backend.name})": game}


def ours_without_openvino(stack: ExitStack, settings: dict) -> Mapping[str, Callable[[], int]]:
    """``ours`` where the extra [cpu] is not installed."""
    stack.enter_context(mock.patch("importlib.util.find_spec", lambda name: None))
    return ours(stack, settings | {"way": "auto without [cpu]"})


def games(options: argparse.Namespace) -> None:
    settings = {"images": 1, "bands": 5 if options.quick else 8}
    speeds = time_side_by_side(
        [plain, ours_without_openvino, ours], settings, rounds=1 if options.quick else 3
    )
    rows = [
        [way, *spread(values), *(f"{ratio(speeds, way, other):.2f}" for other in list(speeds)[:2])]
        for way, values in speeds.items()
    ]
    head = ["whole game", "img/s", "least–most", "× plain, batch 64", "× plain, batch 10"]
    print_table(head, rows)
    what = "Passes a second of the whole game against the algorithm as the paper writes it down"
    head = [f"whole game, {settings['bands']} bands", "passes a second", *head[3:]]
    table("peers-game", what, head, [[way, f"{x} ({y})", *z] for way, x, y, *z in rows])


def solvers(options: argparse.Namespace) -> None:
    """Shapley values of the same games, tables of coalition values, by everyone's own code."""
    generator = np.random.default_rng(0)
    rows = []
    for bands, images in ((6, 2), (8, 10), (12, 2)):
        values = generator.normal(size=(images, 2**bands)).cumsum(axis=1)
        expected = shapley_values(values)  # Also sets up what is needed once.
        rows.append(
            ["iaside", str(bands), _milliseconds(partial(shapley_values, values), images), ""]
        )
        for name, solve in (("shapiq, exact", _shapiq), ("captum, exact", _captum)):
            package = name.partition(",")[0]
            if not find_spec(package):
                rows.append([name, str(bands), f"pip install {package}", ""])
                continue
            if solve is _captum and bands > (5 if options.quick else 6):
                rows.append([name, str(bands), f"{bands}! orders: left out", ""])
                continue
            found = solve(values)
            gap = np.abs(found - expected).max() / np.abs(expected).max()
            rows.append(
                [name, str(bands), _milliseconds(partial(solve, values), images), f"{gap:.0e}"]
            )
    head = ["Shapley values", "bands", "ms an image", "relative difference"]
    what = "Milliseconds an image for Shapley values of a table of coalition values"
    print_table(head, rows, name="peers-shapley", what=what)


def _shapiq(values: np.ndarray) -> np.ndarray:
    from shapiq import ExactComputer

    bands = values.shape[1].bit_length() - 1
    bits = 2 ** np.arange(bands)
    found = []
    for game in values:
        # shapiq takes the empty coalition's value for zero.
        relative = game - game[0]
        computer = ExactComputer(lambda some, v=relative: v[some.astype(int) @ bits], bands)
        result = computer("SV")
        found.append([result[(player,)] for player in range(bands)])
    return np.array(found)


def _captum(values: np.ndarray) -> np.ndarray:
    from captum.attr import ShapleyValues

    bands = values.shape[1].bit_length() - 1
    bits = 2 ** torch.arange(bands)
    found = []
    for game in torch.from_numpy(values):
        solver = ShapleyValues(lambda some, v=game: v[some.long() @ bits])
        found.append(solver.attribute(torch.ones(1, bands))[0].numpy())
    return np.array(found)


def _milliseconds(work: Callable[[], object], images: int) -> str:
    """The least of three times."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return f"{min(seconds) / images * 1e3:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="32 coalitions, one round")
    options = parser.parse_args()
    print(f"{machine()}\n")
    games(options)
    solvers(options)


if __name__ == "__main__":
    with kept(__file__):
        main()

"""How fast the game is on each backend, and how much of the backend's own speed that is.

EfficientNet-Lite0 at 224×224; img/s are forward passes. ``bare`` only feeds the network with
batches that were made before, in the setup that the backend chose; ``game`` is all of the
measurement: bands, coalitions, forward passes, scores, Shapley values.

    python benchmarks/throughput.py [--quick] [--compile]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from common.lite0 import lite0, photographs
from common.saved import kept, table
from common.side_by_side import machine, print_table, ratio, spread, time_side_by_side

from pytest_iaside import Classifier
from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.measure.game.play import play_on, ready, shards
from pytest_iaside.measure.game.rules import Rules

PAPER = 51_200  # Forward passes: 200 images, 8 bands.
WAYS = {
    "eager": ("eager", "float32"),
    "onnx": ("onnx", "float32"),
    "openvino": ("openvino", "float32"),
    "openvino, bfloat16": ("openvino", "bfloat16"),
    "auto": ("auto", "float32"),
}


def group(stack: ExitStack, settings: dict) -> Mapping[str, Callable[[], int]]:
    """The ways of one backend, in a process of its own."""
    classifier, sample = lite0(), photographs(settings["images"])
    backend, dtype = settings["backend"]
    if backend == "onnx":
        classifier = Classifier(
            _exported(classifier, stack), mean=classifier.mean, std=classifier.std
        )
    rules = Rules(bands=settings["bands"], dtype=dtype)
    (shard,) = shards(sample, rules, sample, len(sample))
    # Backends are chosen as for the paper's game, of which a little is played here.
    shard = replace(shard, passes=PAPER)
    try:
        opened = stack.enter_context(
            ready(classifier, rules, Execution(backend=backend, dtype=dtype), shard)
        )
    except SpectralRobustnessError as error:
        print(f"{settings['way']}: left out: {error}\n")
        return {}
    layout = opened.memory_format
    inputs = classifier.normalise(sample.pixels()).repeat(opened.batch_size, 1, 1, 1)
    batch = inputs[: opened.batch_size].to(memory_format=layout)

    def bare() -> int:
        many = len(sample) * 2**rules.bands // len(batch)
        return sum(len(logits) for logits in opened.forward_many(batch for _ in range(many)))

    def game() -> int:
        return sum(rows.forward_passes for rows in play_on(opened, rules, shard))

    setup = opened.backend.setup
    how = f"{setup.backend}, {setup.batch_size}, {'NHWC' if setup.channels_last else 'NCHW'}"
    way = settings["way"]
    return {f"{way}|{how}|bare": bare, f"{way}|{how}|game": game}


class GroupOf:
    """``group`` of one of the ways; an object, so that another process can be sent it."""

    def __init__(self, way: str, backend: tuple[str, str]) -> None:
        self.way, self.backend = way, backend

    def __call__(self, stack: ExitStack, settings: dict) -> Mapping[str, Callable[[], int]]:
        return group(stack, settings | {"way": self.way, "backend": self.backend})


def _exported(classifier: Classifier, stack: ExitStack) -> Path:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    path = Path(folder) / "lite0.onnx"
    torch.onnx.export(
        classifier.network,
        (torch.zeros(2, 3, 224, 224),),
        path,
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        dynamo=True,
        verbose=False,
    )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64 coalitions, one round")
    parser.add_argument("--compile", action="store_true", help="also torch.compile, minutes more")
    options = parser.parse_args()
    ways = WAYS | ({"compile": ("compile", "float32")} if options.compile else {})
    settings = {"images": 1 if options.quick else 2, "bands": 6 if options.quick else 8}
    print(f"{machine()}\n")
    groups = [GroupOf(way, backend) for way, backend in ways.items()]
    speeds = time_side_by_side(groups, settings, rounds=1 if options.quick else 5)
    rows, shown = [], []
    for bare in (name for name in speeds if name.endswith("|bare")):
        way, how, _ = bare.split("|")
        game = f"{way}|{how}|game"
        share = f"{ratio(speeds, game, bare):.1%}"
        first = next(iter(speeds)).replace("|bare", "|game")
        gain = f"{ratio(speeds, game, first):.2f}"
        rows.append([way, how, *spread(speeds[bare]), *spread(speeds[game]), share, gain])
        backend, batch, _ = how.split(", ")
        named = f"auto, which took {backend}" if way == "auto" else way
        both = ("{} ({})".format(*spread(speeds[each])) for each in (bare, game))
        shown.append([named, batch, *both, share.replace("%", " %"), gain])
    head = ["way", "runs on, batch", "bare img/s", "least–most", "game img/s", "least–most"]
    print_table([*head, "game / bare", "game × eager"], rows)
    what = "Forward passes a second of EfficientNet-Lite0 at 224×224 (least–most of the rounds)"
    table("backends", what, ["back end", "batch", "bare", "game", "game / bare", "× eager"], shown)


if __name__ == "__main__":
    with kept(__file__):
        main()

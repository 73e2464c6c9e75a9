"""How fast the perturbation game and the band response are, beside the bare network.

EfficientNet-Lite0 at 224×224; img/s are forward passes. ``bare`` only feeds the network with
batches that were made before, in the setup that the backend chose. ``game`` is all of the
perturbation game: the corruption, its bands, coalitions, forward passes, three scores, Shapley
values. ``response`` is all of the band response: noise, its bands, forward passes, scores.

    python benchmarks/perturbation_game.py [--quick] [--backend auto] [--corruption white_noise]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import torch
from common.lite0 import lite0, photographs
from common.saved import kept
from common.side_by_side import machine, print_table, ratio, spread, time_side_by_side

from pytest_iaside import BandPartition
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.jobs import AT_A_TIME
from pytest_iaside.execute.runner import open_runner
from pytest_iaside.measure.answers import perturbed_pixels
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.perturbation_game import PerturbedImages
from pytest_iaside.measure.response import ENERGIES, NoisyImages

PAPER = 51_200  # Forward passes, for which a backend is chosen: 200 images, 8 bands.
SIDE = 224


def group(stack: ExitStack, settings: dict) -> Mapping[str, Callable[[], int]]:
    """All ways on one backend, in a process of its own."""
    classifier, sample = lite0(), photographs(settings["images"])
    rules = Rules(bands=settings["bands"], space="pixel")
    everything = slice(0, len(sample))
    corruption = (settings["corruption"], 3)

    def made() -> PerturbedImages:
        became = perturbed_pixels(corruption, "corruption", sample, everything, 0)
        return PerturbedImages(sample, PAPER, became, rules)

    partition = BandPartition(SIDE, SIDE, rules.bands)
    # So many images are prepared at once: of each there are few passes.
    many = photographs(AT_A_TIME)
    noisy = NoisyImages(many, PAPER, partition, ENERGIES, 0)
    execution = Execution(backend=settings["backend"])
    inputs = made().first_inputs(classifier)
    opened = stack.enter_context(open_runner(classifier, execution, inputs=inputs, passes=PAPER))
    fed = classifier.normalise(sample.pixels()).repeat(opened.batch_size, 1, 1, 1)
    batch = fed[: opened.batch_size].to(memory_format=opened.memory_format)

    def bare(passes: int) -> int:
        count = max(1, passes // len(batch))
        with torch.inference_mode():
            return sum(len(logits) for logits in opened.forward_many(batch for _ in range(count)))

    setup = opened.backend.setup
    how = f"{setup.backend}, {setup.batch_size}"
    return {
        f"game|{how}|bare": lambda: bare(len(sample) * 2**rules.bands),
        f"game|{how}|all": lambda: sum(r.forward_passes for r in made().rows(opened)),
        f"response|{how}|bare": lambda: bare(len(many) * len(ENERGIES) * rules.bands),
        f"response|{how}|all": lambda: sum(r.forward_passes for r in noisy.rows(opened)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round instead of five")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--corruption", default="white_noise")
    options = parser.parse_args()
    settings = {
        "images": 1 if options.quick else 2,
        "bands": 6 if options.quick else 8,
        "backend": options.backend,
        "corruption": options.corruption,
    }
    print(f"{machine()}\n")
    speeds = time_side_by_side([group], settings, rounds=1 if options.quick else 5)
    rows = []
    for way in (name for name in speeds if name.endswith("|all")):
        what, how, _ = way.split("|")
        bare = f"{what}|{how}|bare"
        share = f"{ratio(speeds, way, bare):.1%}"
        rows.append([what, how, *spread(speeds[bare]), *spread(speeds[way]), share])
    head = ["what", "runs on, batch", "bare img/s", "least–most", "all img/s", "least–most"]
    what = "The perturbation game and the band response beside bare passes, Lite0 at 224×224"
    print_table([*head, "all / bare"], rows, name="perturbation-game", what=what)


if __name__ == "__main__":
    with kept(__file__):
        main()

"""Retrained models: how often a gate is red for another seed, and for a worse recipe (SPEC.md 9).

Digit readers of two architectures, 30 trainings of one recipe and 10 of each of five that are
worse. A baseline of S trainings judges a candidate of T, drawn anew for every gate; none is on
both sides. Trainings are kept in a folder (16 minutes on one core the first time).

With --photographs the same of heads that are trained on the frozen features of EfficientNet-Lite0.

    python benchmarks/retraining.py [--tables FOLDER] [--photographs FOLDER]
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from common import heads
from common.side_by_side import machine, print_table
from common.trainings import NETWORKS, RECIPES, measured, seeds_of

from pytest_iaside.compare.compare import compare
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.trainings import mean_of
from pytest_iaside.stats.estimate import Estimate

SHARED = Path(__file__).parents[2] / "shared" / "imagenet100"
GATES, GATES_SAME = 100, 300
SIZES = ((1, 1), (3, 1), (3, 3), (5, 1), (5, 3), (8, 1), (8, 3))
Trainings = dict[str, list[SpectralProfile]]


def gates(
    trainings: Trainings, recipe: str, baselines: int, candidates: int, count: int
) -> list[tuple[str, str, list[int]]]:
    """Of ``count`` gates the verdict, the check that decided, and the candidate's trainings."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(count):
        base = generator.permutation(len(trainings["the recipe"]))
        own = base[baselines:]
        if recipe != "the recipe":
            own = generator.permutation(len(trainings[recipe]))
        own = own[:candidates]
        comparison = compare(
            mean_of([trainings[recipe][at] for at in own]),
            mean_of([trainings["the recipe"][at] for at in base[:baselines]]),
        )
        verdict = comparison.verdict
        deciding = next((each.name for each in comparison.checks if each.verdict == verdict), "")
        found.append((verdict, deciding, own.tolist()))
    return found


def table(network: str, trainings: Trainings) -> None:
    print(f"\n## {network}: {', '.join(f'{len(some)} of {r}' for r, some in trainings.items())}\n")
    rows = []
    for recipe, some in trainings.items():
        for baselines, candidates in SIZES:
            count = GATES_SAME if recipe == "the recipe" else GATES
            found = gates(trainings, recipe, baselines, candidates, count)
            counts = Counter(verdict for verdict, _, _ in found)
            by = Counter(name for verdict, name, _ in found if verdict == "drift").most_common(2)
            rows.append(
                [
                    recipe,
                    str(baselines),
                    str(candidates),
                    _red(found, len(some)),
                    f"{100 * counts['inconclusive'] / count:.0f}",
                    f"{100 * (counts['pass'] + counts['nothing found']) / count:.0f}",
                    ", ".join(name for name, _ in by),
                ]
            )
    head = ["recipe", "S", "T", "red %", "inconclusive %", "pass or nothing found %", "red by"]
    print_table(head, rows)


def _red(found: list[tuple[str, str, list[int]]], count: int) -> str:
    """The share of red gates, with an interval that counts trainings and not gates."""
    red, drawn = np.zeros(count), np.zeros(count)
    for verdict, _, own in found:
        red[own] += verdict == "drift"
        drawn[own] += 1
    told = Estimate.of_mean(red[drawn > 0] / drawn[drawn > 0], 0.95)
    low, high = (100 * min(max(each, 0.0), 1.0) for each in (told.low, told.high))
    share = 100 * np.mean([verdict == "drift" for verdict, _, _ in found])
    return f"{share:.1f} ({low:.1f}–{high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=Path, help="where measurements are kept")
    parser.add_argument("--photographs", type=Path, default=SHARED if SHARED.is_dir() else None)
    parser.add_argument("--labels", default="folder", help="a CSV file, or folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.tables or Path(temporary)
        for network in NETWORKS:
            trainings = {
                recipe: [measured(folder, network, recipe, seed) for seed in seeds_of(recipe)]
                for recipe in RECIPES
            }
            table(network, trainings)
        if options.photographs is not None:
            trained = heads.Heads(options.photographs, options.labels)
            trainings = {
                recipe: [trained.measured(folder, recipe, s) for s in heads.seeds_of(recipe)]
                for recipe in heads.RECIPES
            }
            table("heads on frozen features of Lite0, photographs at 128 pixels", trainings)


if __name__ == "__main__":
    main()

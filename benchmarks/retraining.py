"""Retrained models: how often a gate is red for another seed, and for a worse recipe (SPEC.md 9).

Digit readers of two architectures, 30 trainings of one recipe and 10 of each of five that are
worse. A baseline of S trainings judges a candidate of T, drawn anew for every gate; none is on
both sides. Trainings are kept in a folder (16 minutes on one core the first time).

    python benchmarks/retraining.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from common.side_by_side import machine, print_table
from common.trainings import NETWORKS, RECIPES, measured, seeds_of

from pytest_iaside.compare.compare import compare
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.trainings import mean_of
from pytest_iaside.stats.estimate import Estimate

GATES = 200
SIZES = ((1, 1), (3, 1), (3, 3), (5, 1), (5, 3), (8, 1), (8, 3))
Trainings = dict[str, list[SpectralProfile]]


def gates(
    trainings: Trainings, recipe: str, baselines: int, candidates: int, seed: int
) -> list[tuple[str, str]]:
    """Verdict, and the check that decided, of so many gates."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(GATES):
        base = generator.permutation(len(trainings["the recipe"]))
        own = base[baselines:]
        if recipe != "the recipe":
            own = generator.permutation(len(trainings[recipe]))
        comparison = compare(
            mean_of([trainings[recipe][at] for at in own[:candidates]]),
            mean_of([trainings["the recipe"][at] for at in base[:baselines]]),
        )
        verdict = comparison.verdict
        deciding = next((each.name for each in comparison.checks if each.verdict == verdict), "")
        found.append((verdict, deciding))
    return found


def table(network: str, trainings: Trainings, sizes: tuple[tuple[int, int], ...] = SIZES) -> None:
    print(f"\n## {network}: {', '.join(f'{len(some)} of {r}' for r, some in trainings.items())}\n")
    rows = []
    for recipe in RECIPES:
        for baselines, candidates in sizes:
            if baselines == 1 and candidates == 1 and recipe not in ("the recipe", *RECIPES):
                continue
            found = gates(trainings, recipe, baselines, candidates, seed=len(rows))
            counts = Counter(verdict for verdict, _ in found)
            red = [verdict == "drift" for verdict, _ in found]
            by = Counter(check for verdict, check in found if verdict == "drift").most_common(2)
            rows.append(
                [
                    recipe,
                    str(baselines),
                    str(candidates),
                    f"{100 * np.mean(red):.1f}",
                    f"{100 * counts['inconclusive'] / GATES:.0f}",
                    f"{100 * (counts['pass'] + counts['nothing found']) / GATES:.0f}",
                    ", ".join(f"{name} ({number})" for name, number in by),
                ]
            )
    print_table(
        ["recipe", "S", "T", "red %", "inconclusive %", "pass or nothing found %", "red by"], rows
    )


def false_alarms(network: str, trainings: Trainings) -> None:
    """Of every training of the recipe, how many gates are red: 30 trainings are no more than 30."""
    some = trainings["the recipe"]
    for baselines, candidates in SIZES[1:]:
        generator = np.random.default_rng(1)
        red = np.zeros(len(some))
        drawn = np.zeros(len(some))
        for _ in range(GATES):
            order = generator.permutation(len(some))
            own = order[baselines : baselines + candidates]
            drift = compare(
                mean_of([some[at] for at in own]), mean_of([some[at] for at in order[:baselines]])
            ).fails()
            red[own] += drift
            drawn[own] += 1
        shares = red[drawn > 0] / drawn[drawn > 0]
        told = Estimate.of_mean(shares, 0.95)
        print(
            f"{network}, S = {baselines}, T = {candidates}: {100 * told.value:.2f} % false alarms, "
            f"95 % interval over trainings {100 * max(told.low, 0):.2f} … {100 * told.high:.2f} %"
        )


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        for network in NETWORKS:
            trainings = {
                recipe: [measured(folder, network, recipe, seed) for seed in seeds_of(recipe)]
                for recipe in RECIPES
            }
            table(network, trainings)
            print()
            false_alarms(network, trainings)


if __name__ == "__main__":
    main()

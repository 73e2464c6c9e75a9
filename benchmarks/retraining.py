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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import heads
from common.interval import over_models
from common.saved import kept, value
from common.saved import table as keep_table
from common.side_by_side import machine, print_table
from common.trainings import IMAGES, NETWORKS, PLAYED, RECIPES, SEEDS, measured, seeds_of

from pytest_iaside.compare.compare import compare
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.trainings import mean_of

SHARED = Path(__file__).parents[2] / "shared" / "imagenet100"
GATES, GATES_SAME = 100, 300
SIZES = ((1, 1), (3, 1), (3, 3), (5, 1), (5, 3), (8, 1), (8, 3))
Trainings = dict[str, list[SpectralProfile]]
TRUTH = {
    "accuracy, clean": "clean",
    "accuracy under white_noise 3": "white noise 3",
    "accuracy under brightness 3": "brightness 3",
    "accuracy, clean and perturbed": "clean and panel",
}
"""Accuracies that are told of every recipe, and their names in the table."""
SAID = {
    "the recipe": "trained as the baseline was",
    "10 % wrong labels": "with 10 % wrong labels",
    "30 % wrong labels": "with 30 % wrong labels",
    "no noise augmentation": "without noise augmentation",
    "shortcut": "with a shortcut in the images",
    "half the data": "with half the data",
}
"""Recipes as pages name them."""


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


@dataclass(frozen=True)
class Found:
    """Of the gates of one row: red ones in percent with an interval, and inconclusive ones."""

    red: float
    low: float
    high: float
    inconclusive: float

    def __str__(self) -> str:
        return f"{self.red:.1f} ({self.low:.1f}–{self.high:.1f})"


Table = dict[tuple[str, int, int], Found]
"""By recipe, trainings in the baseline, and trainings of the candidate."""


def table(network: str, trainings: Trainings) -> Table:
    """Print what gates say of every recipe."""
    print(f"\n## {network}: {', '.join(f'{len(some)} of {r}' for r, some in trainings.items())}\n")
    rows, kept_of = [], {}
    for recipe, some in trainings.items():
        for baselines, candidates in SIZES:
            count = GATES_SAME if recipe == "the recipe" else GATES
            found = gates(trainings, recipe, baselines, candidates, count)
            counts = Counter(verdict for verdict, _, _ in found)
            by = Counter(name for verdict, name, _ in found if verdict == "drift").most_common(2)
            told = _told(found, len(some), 100 * counts["inconclusive"] / count)
            kept_of[recipe, baselines, candidates] = told
            rows.append(
                [
                    recipe,
                    str(baselines),
                    str(candidates),
                    str(told),
                    f"{told.inconclusive:.0f}",
                    f"{100 * (counts['pass'] + counts['nothing found']) / count:.0f}",
                    ", ".join(name for name, _ in by),
                ]
            )
    head = ["recipe", "S", "T", "red %", "inconclusive %", "pass or nothing found %", "red by"]
    what = f"Retrained {network}: gates of S trainings in the baseline and T of the candidate"
    print_table(head, rows, name=f"retraining-{network.partition(' ')[0].rstrip(',')}", what=what)
    return kept_of


def _told(found: list[tuple[str, str, list[int]]], count: int, inconclusive: float) -> Found:
    """The share of red gates, with an interval that counts trainings and not gates."""
    red, drawn = np.zeros(count), np.zeros(count)
    for verdict, _, own in found:
        red[own] += verdict == "drift"
        drawn[own] += 1
    share = float(np.mean([verdict == "drift" for verdict, _, _ in found]))
    low, high = over_models(red[drawn > 0] / drawn[drawn > 0], share)
    return Found(100 * share, 100 * low, 100 * high, inconclusive)


def accuracies(network: str, trainings: Trainings) -> list[list[str]]:
    """What the recipes cost in truth, where nobody draws: in percent, over all trainings."""
    rows = []
    for recipe, some in trainings.items():
        answers = [each.answers for each in some if each.answers is not None]
        means = [100 * np.mean([each[name].mean() for each in answers]) for name in TRUTH]
        rows.append([network.partition(" ")[0], recipe, *(f"{each:.1f}" for each in means)])
    return rows


def keep(found: dict[str, Table]) -> None:
    """What pages show of the digit readers."""
    honest = [
        {(s, t): each for (recipe, s, t), each in of.items() if recipe == "the recipe"}
        for of in found.values()
    ]
    single = [f"{each[1, 1].red:.0f}" for each in honest]
    value(
        "seed-red",
        f"{', '.join(single[:-1])} and {single[-1]}",
        "%",
        "gates that are red when one training is compared with one of another seed "
        f"({len(found)} networks for digits, {SEEDS} trainings each)",
    )
    value(
        "honest-red-most",
        str(max((each[5, 3] for each in honest), key=lambda told: told.red)),
        "%",
        f"gates that are red on an honest retraining, at most over {len(found)} networks (three "
        "trainings against a baseline of five; interval over trainings)",
    )
    most = max(
        of.inconclusive for each in honest for (s, t), of in each.items() if s >= 5 and t == 3
    )
    value(
        "honest-inconclusive",
        f"{most:.0f}",
        "%",
        "honest retrainings that are inconclusive at most, with five trainings or more in the "
        "baseline and three new ones",
    )
    few = [each[3, 1].inconclusive for each in honest]
    value(
        "honest-inconclusive-few",
        f"{min(few):.0f} to {max(few):.0f}",
        "%",
        "honest retrainings that are inconclusive with three trainings in the baseline and a "
        "single new one",
    )
    rows = [
        [said, *(str(of[recipe, 5, 3]) for of in found.values())] for recipe, said in SAID.items()
    ]
    keep_table(
        "retraining",
        "Red gates in percent with an interval over trainings: three trainings of a candidate, "
        f"five in the baseline, {IMAGES} digits, the game on {PLAYED} of them",
        ["the candidate (three trainings; five in the baseline)", *map(_network, found)],
        rows,
    )


def _network(name: str) -> str:
    return f"{name}, set aside" if name == "perceptron" else name


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
        found: dict[str, Table] = {}
        truth: list[list[str]] = []
        for network in NETWORKS:
            trainings = {
                recipe: [measured(folder, network, recipe, seed) for seed in seeds_of(recipe)]
                for recipe in RECIPES
            }
            truth += accuracies(network, trainings)
            found[network] = table(network, trainings)
        what = "Accuracy in percent, the mean over all trainings, of digits that nobody trained on"
        head = ["network", "recipe", *TRUTH.values()]
        print_table(head, truth, name="retraining-accuracy", what=what)
        keep(found)
        if options.photographs is not None:
            trained = heads.Heads(options.photographs, options.labels)
            trainings = {
                recipe: [trained.measured(folder, recipe, s) for s in heads.seeds_of(recipe)]
                for recipe in heads.RECIPES
            }
            table("heads on frozen features of Lite0, photographs at 128 pixels", trainings)


if __name__ == "__main__":
    with kept(__file__):
        main()

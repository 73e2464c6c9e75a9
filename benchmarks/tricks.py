"""Tricks that are to get a worse model past a gate or to break it, and what replaying finds.

    python benchmarks/tricks.py [--runs 200] [--quick]

The tricks are the tests in tests/adversarial. The rates are of the example's digit reader on 50
digits: what is kept of it is verified again and again while the reader answers otherwise.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import numpy as np
import torch
from common.saved import kept, value
from common.side_by_side import machine, print_table
from scipy import stats
from scrapbook.data import digits
from scrapbook.models import load_digit_reader
from torch import Tensor, nn

from pytest_iaside import Classifier, Execution, ReferenceSample, corrupt
from pytest_iaside.execute.steady import AGREEMENT
from pytest_iaside.measure.asked import Asked
from pytest_iaside.measure.game.cached import CachedGame
from pytest_iaside.measure.game.play import Game
from pytest_iaside.measure.game.replay import replay
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.panel import PANEL
from pytest_iaside.measure.spectral import _results

TRICKS = Path(__file__).parents[1] / "tests" / "adversarial"
IMAGES = 50
Which = Callable[[Tensor], Tensor]
"""Of inputs (B, …), which are answered otherwise, (B,) of truth values."""


def tricks() -> None:
    """Every file of tricks: how many, and how many of them are red, refused or impossible."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        # In a process of its own: pytest wants to rewrite what is imported here already.
        command = [sys.executable, "-m", "pytest", *options, str(TRICKS)]
        subprocess.run(command, cwd=TRICKS.parents[1], check=False)
        found: Counter[tuple[str, bool]] = Counter()
        for case in ElementTree.parse(report).iter("testcase"):
            held = all(case.find(wrong) is None for wrong in ("failure", "error", "skipped"))
            places = case.get("classname", "").split(".")
            found[next(each for each in places if each.startswith("test_")), held] += 1
    rows = []
    for file in sorted(TRICKS.glob("test_*.py")):
        about = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        good, bad = found[file.stem, True], found[file.stem, False]
        rows.append([about.partition("\n")[0], str(good + bad), str(good)])
    total = [str(sum(int(row[column]) for row in rows)) for column in (1, 2)]
    head = ["tricks", "how many", "found, refused or impossible"]
    print_table(head, [*rows, ["all", *total]], name="tricks", what="Tricks that were tried")
    passed = int(total[0]) - int(total[1])
    what = f"ways to deceive the gate that were tried; {passed or 'none'} of them pass"
    value("tricks", total[0], "tricks", what)
    value("tricks-that-pass", str(passed), "tricks", "of these, those that pass")


class Otherwise(nn.Module):
    """``network``, whose answers to some inputs are moved by one class; weights as they were."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.which: list[Which] = []

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(inputs)
        for which in self.which:
            logits = torch.where(which(inputs)[:, None], logits.roll(1, dims=1), logits)
        return logits


def like(images: Tensor) -> Which:
    """Inputs whose mean is that of one of ``images``: themselves, and filtered with band 0."""
    means = images.mean(dim=(1, 2, 3))

    def which(inputs: Tensor) -> Tensor:
        return ((inputs.mean(dim=(1, 2, 3))[:, None] - means).abs() < 1e-5).any(dim=1)

    return which


def but(which: Which, images: Tensor) -> Which:
    """The same without ``images`` as they are."""

    def found(inputs: Tensor) -> Tensor:
        same = (inputs.flatten(1)[:, None] - images.flatten(1)).abs().amax(dim=2) < 1e-5
        return which(inputs) & ~same.any(dim=1)

    return found


def detection(runs: int) -> None:
    """How often what is kept is found to be stale, by what changed."""
    _, held_out = digits()
    sample = ReferenceSample(held_out.images[:IMAGES], held_out.labels[:IMAGES])
    pixels, labels = sample.pixels(), held_out.labels[:IMAGES]
    network = Otherwise(load_digit_reader())
    classifier, execution = Classifier(network), Execution(device="cpu")
    game = Game(classifier, Rules(), execution, sample, sample)
    asked = Asked(classifier, sample, (None, *PANEL), 0, execution)
    logits = np.stack(asked.found(True), axis=1)
    kept = CachedGame.of(game)
    rows = list(_results(game, kept))
    threes = (labels == 3).nonzero()[:, 0].tolist()
    some = {
        "one image of 50": [17],
        f"one class of ten ({len(threes)} images)": threes,
        "everything": list(range(IMAGES)),
    }
    lines = []
    for name, chosen in some.items():
        images = pixels[chosen]
        noisy = corrupt(sample.images[chosen], *PANEL[0], seed=0)
        changes: dict[str, tuple[Which, bool]] = {
            "as it is": (like(images), True),
            "under half of its coalitions only": (but(like(images), images), True),
            f"under {PANEL[0][0]} only": (like(ReferenceSample(noisy).pixels()), False),
        }
        for how, (which, plays) in changes.items():
            network.which = [which]
            found = 0
            for _ in range(runs):
                # As a gate does: first the answers, which the game then need not ask again.
                asked.again.clear()
                stale = bool(asked._replay(range(IMAGES), logits))
                if plays and not stale:
                    stale = bool(replay(game, range(IMAGES), rows, asked.again, kept.coalitions)[1])
                found += stale
            low, high = stats.binomtest(found, runs).proportion_ci(method="wilson")
            lines.append(
                [name, how, f"{100 * found / runs:.1f}", f"{100 * low:.1f}–{100 * high:.1f}"]
            )
    print(f"\nWhat a verification finds, of {runs} each; {machine()}\n")
    print(f"Agreement within {AGREEMENT['float32']} (relative, absolute) in log-probabilities.\n")
    (image, half, one), by_class = ([line[2] for line in lines[at : at + 3]] for at in (0, 3))
    for name, found_of, unit, what in (
        ("image", image, "%", "found a changed clean answer of one image of 50"),
        ("half", half, "%", "found one image changed under half of its coalitions"),
        ("one", one, "%", "found one image changed under a single perturbation"),
        (
            "class",
            f"{by_class[0]}, {by_class[1]} and {by_class[2]}",
            "%",
            f"found the same three changes of a class of {len(threes)} images in {IMAGES}",
        ),
    ):
        value(
            f"replay-{name}", found_of, unit, f"verifications of the cache, of {runs}, that {what}"
        )
    what = f"Verifications that find a stale cache, of {runs} each"
    head = ["answered otherwise", "where", "found, %", "95 % interval"]
    print_table(head, lines, name="replay", what=what)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="leave the tricks out")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"IASIDE_CACHE_DIR": folder}),
    ):
        detection(arguments.runs)
    if not arguments.quick:
        tricks()


if __name__ == "__main__":
    with kept(__file__):
        main()

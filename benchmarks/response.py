"""What the gate on band response says of real changes, beside the default gate.

    python benchmarks/response.py [--photographs FOLDER --labels CSV] [--images 50]

Every change is held against its baseline once, on the first images of the pool, by limits on the
rise of the loss in any band at any energy. The truth is the accuracy on other images under
corruptions that no gate looks at (benchmarks/real_changes.py).
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from common.change_sets import CHOSEN_ON, FRESH, PHOTOGRAPHS, SET_ASIDE, Change, Named
from common.measured import TRUTH, Models, Pool, digit_pool, photograph_pool
from common.saved import kept
from common.side_by_side import machine, print_table

from pytest_iaside import Classifier, compare, measure, spectral_response
from pytest_iaside.thresholds import Limit

NATS, POINTS = (0.1, 0.2, 0.3, 0.5, 1.0), (0.05, 0.1, 0.2)
WORSE = 5
"""Points of accuracy elsewhere."""
LETTER = {"drift": "R", "inconclusive": "?", "nothing found": "n", "pass": "p"}


def accuracy(model: Classifier, pool: Pool) -> tuple[float, float]:
    """In percent, on other images: as they are, and under TRUTH."""
    right = []
    for images in pool.others[: 1 + len(TRUTH)]:
        batches = [model.network(model.normalise(some)) for some in images.split(64)]
        found = torch.cat(batches).argmax(dim=1)
        right.append(100 * float((found == pool.labels).double().mean()))
    return right[0], float(np.mean(right[1:]))


def table(title: str, changes: Named, pools: dict[str, Pool], images: int, *, game: bool) -> None:
    rows: list[list[str]] = []
    counts: Counter[tuple[str, str, str]] = Counter()
    known: dict[str, tuple[object, ...]] = {}
    models: dict[str, Models] = {}
    for name, change in changes.items():
        base = change.base
        try:
            if base not in known:
                models[base] = Models(base, pools[base])
                known[base] = found_of(models[base], Change(base=base), pools[base], images, game)
            candidate = found_of(models[base], change, pools[base], images, game)
        except (ImportError, FileNotFoundError) as error:
            print(f"left out: {name} ({error})")
            continue
        before, after = known[base], candidate
        (clean, truth), (clean_before, truth_before) = after[0], before[0]  # type: ignore[misc]
        moved = truth - truth_before
        kind = "worse" if moved <= -WORSE else "harmless" if abs(moved) < 1 else ""
        usual = compare(after[2], before[2]).verdict if game else "–"  # type: ignore[arg-type]
        told = []
        for family, limits in (("log-likelihood", NATS), ("accuracy", POINTS)):
            for limit in limits:
                found = compare(after[1], before[1], {family: Limit(change=limit)}, answers={})  # type: ignore[arg-type]
                counts[kind, f"{family} {limit:g}", found.verdict] += 1
                told.append(LETTER[found.verdict])
                check = found.checks[-1]
            told.append(f"{check.change:+.2f}")
        counts[kind, "default gate", usual] += 1
        rows.append([name, kind, f"{moved:+.1f}", f"{clean - clean_before:+.1f}", usual, *told])
    print(f"\n## {title}: {images} images\n")
    nats, points = ([f"{each:g}" for each in some] for some in (NATS, POINTS))
    head = ["change", "", "elsewhere", "clean", "default gate", *nats, "nats", *points, "points"]
    name = re.sub(r"\W+", "-", title.lower())
    what = f"The gate on band response: {title}, {images} images"
    print_table(head, rows, name=f"response-each-{name}", what=what)
    print("\nRed and pass or nothing found, of so many:\n")
    names = list(dict.fromkeys(check for _, check, _ in counts))
    lines = []
    for check in names:
        line = [check]
        for kind in ("worse", "harmless"):
            some = {v: n for (k, c, v), n in counts.items() if (k, c) == (kind, check)}
            good = some.get("pass", 0) + some.get("nothing found", 0)
            line.append(f"{some.get('drift', 0)} / {good} of {sum(some.values())}")
        lines.append(line)
    what = f"{what}: red / pass or nothing found, of so many"
    print_table(["limit", "worse", "harmless"], lines, name=f"response-{name}", what=what)


def found_of(
    models: Models, change: Change, pool: Pool, images: int, game: bool
) -> tuple[object, ...]:
    """Accuracies elsewhere, the band response, and the profile."""
    with models.opened(change) as model:
        some = pool.sample.take(range(images))
        response = spectral_response(model, some)
        profile = measure(model, some, panel="auto") if game else None
        return accuracy(model, pool), response, profile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--labels", default="folder")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--no-game", action="store_true", help="leave out the default gate")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    digits = digit_pool()
    pools = {
        change.base: digits
        for some in (CHOSEN_ON, SET_ASIDE, FRESH)
        for change in some.values()
        if change.base not in PHOTOGRAPHS
    }
    if options.photographs:
        photographs = photograph_pool(options.photographs, options.labels)
        pools |= dict.fromkeys(PHOTOGRAPHS, photographs)
    for title, changes in (
        ("Limits chosen on", CHOSEN_ON),
        ("Set aside", SET_ASIDE),
        ("Set aside, later", FRESH),
    ):
        some = {name: change for name, change in changes.items() if change.base in pools}
        table(title, some, pools, options.images, game=not options.no_game)


if __name__ == "__main__":
    with kept(__file__):
        main()

"""How often the causes that a red gate names hold the one that was planted.

    python benchmarks/causes.py --tables FOLDER

From tables of benchmarks/real_changes.py. The sentences were chosen on the changes that the limits
of the gate were chosen on; the others were set aside. A gate draws 50 images of the pool. A change
of the last layer alone has no cause that is named: whatever is named is wrong.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common.change_sets import CHOSEN_ON, FRESH, SET_ASIDE
from common.changes import Change
from common.measured import Measured
from common.saved import kept, value
from common.side_by_side import machine, print_table

from pytest_iaside import compare
from pytest_iaside.compare.likely import likely_causes

IMAGES = 50
ASIDE = "set aside"
SETS = {"chosen on": CHOSEN_ON, ASIDE: SET_ASIDE | FRESH}
SHARES = ("right", "wrong", "nothing")
WEIGHTS, INPUT, AUGMENTATION, OTHER = (
    "weights or training",
    "how images reach the network",
    "augmentation left out",
    "something else",
)
NAMED = {
    "how images reach the network": INPUT,
    "what scales the images": INPUT,
    "weights": WEIGHTS,
    "training": WEIGHTS,
    "augmentation": AUGMENTATION,
}
"""What names a cause where it stands in a sentence."""
ANYTHING = "hardly any answer is right"
"""How the sentence begins that names whatever may be wrong."""
LEFT_OUT = ("without noise", "without brightness", "without shifts", "noise 0.1 instead")


def planted(name: str, change: Change) -> str:
    """The cause of the change ``name``."""
    if any(each in name for each in LEFT_OUT):
        return AUGMENTATION
    if change.pixels is not None:
        return INPUT
    return WEIGHTS if change.head is None else OTHER


def named(told: tuple[str, ...]) -> frozenset[str]:
    """The causes that the sentences ``told`` name."""
    if told and told[0].startswith(ANYTHING):
        return frozenset((WEIGHTS, INPUT, AUGMENTATION))
    return frozenset(cause for words, cause in NAMED.items() if any(words in t for t in told))


def told_of(candidate: Measured, baseline: Measured, draws: int) -> list[frozenset[str]]:
    """The causes that the red ones of ``draws`` gates name."""
    generator, found = np.random.default_rng(0), []
    for _ in range(draws):
        rows = generator.choice(len(baseline.profile), IMAGES, replace=False)
        comparison = compare(candidate.profile.take(rows), baseline.profile.take(rows))
        if comparison.fails():
            found.append(named(likely_causes(comparison)))
    return found


@dataclass(frozen=True)
class Named:
    """What red gates say of one change, as shares: the planted cause, others alone, nothing."""

    right: float
    wrong: float
    nothing: float
    many: float
    """How many causes are named where any is."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=Path, help="of real_changes.py")
    parser.add_argument("--gates", type=int, default=20, help="simulated for each change")
    options = parser.parse_args()
    if options.tables is None:
        print("--tables FOLDER was not given: nothing to do")
        return
    print(f"{machine()}\n")
    lines = []
    counted: dict[tuple[str, str], list[Named]] = {}
    for title, changes in SETS.items():
        for name, change in changes.items():
            with suppress(FileNotFoundError):
                pair = [
                    Measured.load(options.tables, each)
                    for each in (name, f"{change.base}, baseline")
                ]
                found = told_of(pair[0], pair[1], options.gates)
                if not found:
                    continue
                cause = planted(name, change)
                some = [each for each in found if each]
                each = Named(
                    right=float(np.mean([cause in told for told in found])),
                    wrong=float(np.mean([bool(told) and cause not in told for told in found])),
                    nothing=1 - len(some) / len(found),
                    many=float(np.mean([len(told) for told in some])) if some else np.nan,
                )
                counted.setdefault((cause, title), []).append(each)
                shares = [f"{100 * share:.0f}" for share in (each.right, each.wrong, each.nothing)]
                lines.append([name, cause, title, f"{len(found)}", *shares])
    lines.sort(key=lambda line: (line[1], line[2], line[0]))
    columns = ["it is named", "others alone", "nothing"]
    what = f"Causes that red gates of {IMAGES} images name, in % of {options.gates} gates"
    head = ["change", "planted", "", "red", *columns]
    print_table(head, lines, name="causes-each", what=what)
    rows = []
    for (cause, title), every in sorted(counted.items()):
        mean = [100 * float(np.mean([getattr(e, n) for e in every])) for n in SHARES]
        many = f"{np.nanmean([each.many for each in every]):.1f}"
        rows.append([cause, title, str(len(every)), *(f"{share:.0f}" for share in mean), many])
        if title == ASIDE and cause != OTHER:
            key = {WEIGHTS: "weights", INPUT: "input", AUGMENTATION: "augmentation"}[cause]
            of = f"red gates on changes of {cause} ({len(every)} changes set aside)"
            value(f"cause-{key}-named", f"{mean[0]:.0f}", "%", f"{of} that name this cause")
            value(f"cause-{key}-others", f"{mean[1]:.0f}", "%", f"{of} that name others alone")
    head = ["planted", "", "changes", *columns, "how many are named"]
    what = f"Causes that red gates of {IMAGES} images name, in %, mean over changes"
    print_table(head, rows, name="causes", what=what)


if __name__ == "__main__":
    with kept(__file__):
        main()

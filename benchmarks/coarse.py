"""Does looking coarsely first change what a gate says, and what does it save?

    python benchmarks/coarse.py [--photographs FOLDER --labels CSV] [--tables FOLDER]

Every model is measured once, by all coalitions (as benchmarks/real_changes.py does, of which tables
are taken). A simulated gate draws 50 images of the pool, and is looked at twice: with everything,
and coarse to fine, as a test does by default. Both see the same images.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
from common.change_sets import CHOSEN_ON, FRESH, ONE_CLASS, SAME, SET_ASIDE, Named
from common.gates import GREEN, VERDICTS
from common.measured import Measured, Pool, digit_pool, measure_all, photograph_pool, twenty_pool
from common.saved import kept
from common.side_by_side import machine, print_table

from pytest_iaside import Thresholds, compare
from pytest_iaside.compare import coarse
from pytest_iaside.measure.game.coalitions import plan
from pytest_iaside.measure.game.growing import Turn, ends_along, ends_of
from pytest_iaside.measure.panel import PANEL
from pytest_iaside.measure.profile import SpectralProfile

TABLES = Path(tempfile.gettempdir()) / "iaside-real-changes"
LEVEL = 0.95
WORSE = 5.0
"""Points of accuracy lost under corruptions on other images, from which on a change is worse."""


@dataclass(frozen=True)
class Both:
    """The verdicts of one gate with everything and coarse to fine, and what the latter took."""

    everything: str
    coarse: str
    look: str
    passes: int


Pair = tuple[SpectralProfile, SpectralProfile]


def both_of(pair: Pair, turns: dict[str, Pair], limits: Thresholds) -> Both:
    """One gate; ``turns`` are the same two, as what each design plays alone shows them."""
    candidate, baseline = pair
    images, bands = len(candidate), candidate.rules.bands
    assert candidate.answers is not None
    whole = compare(candidate, baseline, limits, level=LEVEL)
    everything = "drift" if whole.fails() else whole.verdict
    answers = images * (1 + len(PANEL))
    if coarse.red_by_answers(candidate.answers, baseline, limits, LEVEL):
        some = coarse.looked_into(images) * 2 * bands
        return Both(everything, "drift", "answers", answers + some)
    if coarse.same_answers(candidate.answers, baseline) and _same_ends(candidate, baseline):
        return Both(everything, "pass", "unchanged", answers + images * ends_of(bands))
    for design, turn in turns.items():
        early = coarse.compare_early(*turn, limits, LEVEL)
        if coarse.decided(early, partial(compare, *turn, limits, level=LEVEL)):
            verdict = "drift" if early.fails() else early.verdict
            played = len(plan(design, bands, "").coalitions)
            return Both(everything, verdict, design, answers + images * played)
    return Both(everything, everything, "everything", answers + images * 2**bands)


def _same_ends(candidate: SpectralProfile, baseline: SpectralProfile) -> bool:
    ends = ends_along(candidate.rules, candidate.digests)
    both = candidate.log_likelihood, baseline.log_likelihood
    ours, theirs = (np.take_along_axis(np.asarray(each), ends, axis=1) for each in both)
    return coarse.agree(ours, theirs)


def gates(
    candidate: Measured, baseline: Measured, count: int, draws: int, limits: Thresholds
) -> list[Both]:
    generator, pool, found = np.random.default_rng(count), len(baseline.profile), []
    pair = candidate.profile, baseline.profile
    turns = {design: [coarse.along(design, each) for each in pair] for design in get_args(Turn)}
    for _ in range(draws if count < pool else 1):
        rows = generator.choice(pool, count, replace=False)
        drawn = tuple(each.take(rows) for each in pair)
        early = {design: tuple(each.take(rows) for each in both) for design, both in turns.items()}
        found.append(both_of(drawn, early, limits))
    return found


def worse(candidate: Measured, baseline: Measured) -> bool:
    """Whether it answers other images worse under corruptions that no gate asks for."""
    return bool(100 * (candidate.hits - baseline.hits)[1:].mean() <= -WORSE)


def printed(title: str, changes: Named, tables: Path, count: int, draws: int) -> None:
    """A row a change, and what all of them come to."""
    rows, kinds = [], {}
    for name, change in changes.items():
        with suppress(FileNotFoundError):
            pair = Measured.load(tables, name), Measured.load(tables, f"{change.base}, baseline")
            found = gates(*pair, count, draws, Thresholds())
            kind = "same" if name in SAME else "worse" if worse(*pair) else "others"
            kinds.setdefault(kind, []).extend(found)
            rows.append([name, kind, *_told(found)])
    if not rows:
        return
    print(f"\n## {title}\n\n{draws} gates of {count} images a row; in %: {' / '.join(VERDICTS)}\n")
    head = ["change", "kind", "everything", "coarse to fine", "otherwise", "looks", "median passes"]
    name = re.sub(r"\W+", "-", title.lower()).strip("-")
    what = f"Coarse to fine: {title}; gates of {count} images, in % ({' / '.join(VERDICTS)})"
    print_table(head, rows, name=f"coarse-{name}", what=what)
    print()
    for kind, found in kinds.items():
        lost = [each for each in found if each.everything == "drift" and each.coarse in GREEN]
        gained = [each for each in found if each.everything != "drift" and each.coarse == "drift"]
        print(
            f"- {kind}: {len(found)} gates; drift with everything "
            f"{_share(found, 'everything', 'drift'):.1f} %, coarse to fine "
            f"{_share(found, 'coarse', 'drift'):.1f} %; drift turned green {len(lost)}, no drift "
            f"turned red {len(gained)}; passes: median "
            f"{np.median([each.passes for each in found]):,.0f}, mean "
            f"{np.mean([each.passes for each in found]):,.0f}"
        )


def _told(found: list[Both]) -> list[str]:
    looks = Counter(each.look for each in found).most_common()
    return [
        *(
            " / ".join(f"{_share(found, how, verdict):.0f}" for verdict in VERDICTS)
            for how in ("everything", "coarse")
        ),
        f"{100 * np.mean([each.everything != each.coarse for each in found]):.0f}",
        ", ".join(f"{look} {100 * count / len(found):.0f}" for look, count in looks),
        f"{np.median([each.passes for each in found]):,.0f}",
    ]


def _share(found: list[Both], how: str, verdict: str) -> float:
    return float(100 * np.mean([getattr(each, how) == verdict for each in found]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photographs", type=Path, help="a folder of them")
    parser.add_argument("--labels", default="folder", help="their labels, a CSV file")
    parser.add_argument("--tables", type=Path, default=TABLES)
    parser.add_argument("--draws", type=int, default=200, help="gates a row")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--bases", nargs="+", help="changes of some of the models, such as reader")
    parser.add_argument("--kept", action="store_true", help="print what there is, measure nothing")
    options = parser.parse_args()
    options.tables.mkdir(parents=True, exist_ok=True)
    titles = {
        "Changes that the limits were chosen on": CHOSEN_ON,
        "Set aside": SET_ASIDE | FRESH,
        "The same function, computed otherwise": SAME,
        "One class of twenty broken": ONE_CLASS,
    }
    if options.bases:
        titles = {
            title: {name: each for name, each in changes.items() if each.base in options.bases}
            for title, changes in titles.items()
        }
    if not options.kept:
        pools: dict[str, Pool] = {"digits": digit_pool(), "twenty": twenty_pool()}
        if options.photographs:
            pools["photographs"] = photograph_pool(options.photographs, options.labels)
        for changes in titles.values():
            measure_all(options.tables, pools, changes)
    print(machine())
    for title, changes in titles.items():
        printed(title, changes, options.tables, options.images, options.draws)


if __name__ == "__main__":
    with kept(__file__):
        main()

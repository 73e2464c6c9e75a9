"""What cheaper designs of the game see of real changes, for as many forward passes.

    python benchmarks/designs.py --tables FOLDER [--passes 3000] [--draws 200]

From tables of benchmarks/coarse.py or real_changes.py, which hold all coalitions. A design reads
M numbers of each image off the coalitions that it plays, of both models the same; a change is
where any of their means moved beyond Student's t, 95 % for all bands together (Bonferroni). Each
draws as many images as the passes allow, so that a cheap design sees more of them. ``chains`` plays
what low-pass and high-pass filters leave, ``ends`` no band, one, all but one and all: their numbers
are no Shapley values. Then: does what a design says was lost follow the accuracy lost elsewhere?
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from common.change_sets import CHOSEN_ON, FRESH, SAME, SET_ASIDE
from common.measured import Measured
from common.saved import kept
from common.side_by_side import machine, print_table
from scipy import stats

from pytest_iaside.measure.game.coalitions import columns_of, plan
from pytest_iaside.measure.game.shapley import plan_weights, shapley_values

BANDS = 8
EVERY = 2**BANDS - 1
Read = Callable[[np.ndarray, tuple[str, ...]], np.ndarray]
"""Numbers (K, M) of tables (K, 2^M), images told apart by their digests."""


def _drawn(name: str, ways: int = 1) -> Read:
    def read(table: np.ndarray, digests: tuple[str, ...]) -> np.ndarray:
        found = []
        for row, digest in zip(table, digests, strict=True):
            played = plan(name, BANDS, f"0 {digest}")
            values = row[columns_of(played.coalitions)]
            found.append((values - row[0]) @ plan_weights(played, ways=ways))
        return np.array(found)

    return read


def _ends(table: np.ndarray, digests: tuple[str, ...]) -> np.ndarray:
    one = 1 << np.arange(BANDS)
    alone, last = table[:, one] - table[:, :1], table[:, [EVERY]] - table[:, EVERY - one]
    return np.asarray((alone + last) / 2)


def _chains(table: np.ndarray, digests: tuple[str, ...]) -> np.ndarray:
    low = np.cumsum(1 << np.arange(BANDS))  # Bands 0 to k.
    before = np.concatenate([[0], low[:-1]])
    rising = table[:, low] - table[:, before]
    falling = table[:, EVERY - before] - table[:, EVERY - low]
    return np.asarray((rising + falling) / 2)


DESIGNS: dict[str, tuple[int, Read]] = {
    "exact": (2**BANDS + 1, lambda table, digests: shapley_values(table)),
    "latin, both ways": (BANDS * (BANDS - 1) + 3, _drawn("latin", 2)),
    "latin, one way": (BANDS * (BANDS - 1) + 3, _drawn("latin")),
    "permutation": (BANDS * (BANDS - 1) + 3, _drawn("permutation")),
    "antithetic": (2 * BANDS + 1, _drawn("antithetic")),
    "ends": (2 * BANDS + 3, _ends),
    "chains": (2 * BANDS + 1, _chains),
}
"""With the passes an image, its clean answer among them."""


def seen(moved: np.ndarray, count: int, draws: int) -> float:
    """The share of draws of ``count`` images in which a change of ``moved`` (K, M) is seen."""
    random, found = np.random.default_rng(0), []
    for _ in range(draws if count < len(moved) else 1):
        rows = moved[random.choice(len(moved), count, replace=False)]
        error = rows.std(axis=0, ddof=1) / np.sqrt(count)
        t = np.abs(rows.mean(axis=0)) / np.where(error > 1e-9, error, np.inf)
        found.append(bool((t > stats.t.ppf(1 - 0.025 / BANDS, count - 1)).any()))
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--passes", type=int, default=3000)
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    print(machine(), "\n")
    power: dict[str, list[float]] = {name: [] for name in DESIGNS}
    lost: dict[str, list[float]] = {name: [] for name in DESIGNS}
    harm, rows = [], []
    read_off: dict[str, dict[str, np.ndarray]] = {}
    for name, change in (CHOSEN_ON | SET_ASIDE | FRESH).items():
        with suppress(FileNotFoundError):
            pair = [
                Measured.load(options.tables, each) for each in (name, f"{change.base}, baseline")
            ]
            tables = [each.profile.log_likelihood for each in pair]
            digests = pair[0].profile.digests
            points = 100 * (pair[0].hits - pair[1].hits)[1:].mean()
            harm.append(points)
            row = [name, f"{points:+.1f}"]
            for design, (passes, read) in DESIGNS.items():
                before = read_off.setdefault(change.base, {})
                if design not in before:
                    before[design] = read(tables[1], digests)
                moved = read(tables[0], digests) - before[design]
                share = seen(moved, min(len(moved), options.passes // passes), options.draws)
                power[design].append(share)
                lost[design].append(float(moved.mean(axis=0).min()))
                row.append(f"{100 * share:.0f}")
            rows.append(row)
    rows.sort(key=lambda row: float(row[1]))
    images = [f"{name} ({options.passes // passes})" for name, (passes, _) in DESIGNS.items()]
    what = f"Designs for {options.passes:,} passes: in % of draws, which see a change"
    print_table(["change", "points elsewhere", *images], rows, name="designs-each", what=what)
    print(
        f"\nSeen in % of draws, for {options.passes:,} passes; images of a draw in parentheses.\n"
    )
    bad, fine = np.array(harm) <= -5, np.abs(harm) < 1
    summary = []
    for design in DESIGNS:
        share, fall = np.array(power[design]), np.array(lost[design])
        summary.append(
            [
                design,
                f"{100 * share[bad].mean():.0f}",
                f"{100 * share[fine].mean():.0f}",
                f"{100 * share.mean():.0f}",
                f"{stats.spearmanr(fall, harm).statistic:+.2f}",
            ]
        )
    head = ["design", f"worse by 5 ({bad.sum()})", f"within 1 point ({fine.sum()})"]
    head += [f"all ({len(harm)})", "ρ of the largest fall with points"]
    print_table(head, summary, name="designs", what=what)
    same = []
    for name, change in SAME.items():
        with suppress(FileNotFoundError):
            pair = [
                Measured.load(options.tables, each) for each in (name, f"{change.base}, baseline")
            ]
            digests = pair[0].profile.digests
            row = [name]
            for passes, read in DESIGNS.values():
                ours, theirs = (read(each.profile.log_likelihood, digests) for each in pair)
                count = min(len(ours), options.passes // passes)
                row.append(f"{100 * seen(np.round(ours - theirs, 3), count, options.draws):.0f}")
            same.append(row)
    print()
    what = "Designs where the function is the same: in % of draws, which see a change"
    print_table(["the same function", *images], same, name="designs-same", what=what)


if __name__ == "__main__":
    with kept(__file__):
        main()

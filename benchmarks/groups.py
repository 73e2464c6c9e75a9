"""Images that come in groups: do intervals hold, and how often is a gate red for nothing?

    python benchmarks/groups.py [--draws 2000]

The example's digit reader, and one trained with another seed, are measured once on 600
handwritten digits of which each was moved, lightened and made noisy in ten ways: a group is a
digit. A simulated sample draws G groups with replacement, and n images of each, or 1 to 10; the
truth is the mean over the whole pool. Every interval is nominally of 95 %.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from common.saved import kept, table, value
from scrapbook.data import digits
from scrapbook.models import load_digit_reader
from scrapbook.train import train_digit_reader
from torch import Tensor

from pytest_iaside import ReferenceSample, measure
from pytest_iaside.compare.check import decide
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.measure.quantities import Quantity
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.estimate import Estimate
from pytest_iaside.stats.groups import Groups
from pytest_iaside.stats.score import sid, signed_src

POOL, COPIES = 600, 10
UNEQUAL = 0
SIZES, COUNTS = (1, 2, 5, 10, UNEQUAL), (20, 50)
BANDS = 8
# ψ of every band, then v(all), the log-likelihood of the label, and whether it is answered right.
QUANTITIES = (
    *(Quantity(name=f"band {band}", family="band", better="higher") for band in range(BANDS)),
    Quantity(name="v(all)", family="value", better="higher"),
    Quantity(name="log-likelihood", family="likelihood", better="higher"),
    Quantity(name="hits", family="hits", better="higher", unit="hit"),
)
VALUE, LIKELIHOOD, HITS = BANDS, BANDS + 1, BANDS + 2


def jittered(images: Tensor, random: np.random.Generator) -> Tensor:
    """``COPIES`` of each of ``images`` (K, 1, H, W): moved by 2 px, lighter or darker, noisy."""
    found = []
    for image in images:
        for _ in range(COPIES):
            moved = image.roll(tuple(random.integers(-2, 3, 2).tolist()), (-2, -1)).numpy() / 255
            bright = moved * random.uniform(0.6, 1.0) + random.uniform(0, 0.1)
            noisy = bright + random.normal(scale=random.uniform(0, 0.15), size=bright.shape)
            found.append(torch.from_numpy(np.clip(noisy, 0, 1).astype(np.float32)))
    return torch.stack(found)


def values_of(model: object, sample: ReferenceSample) -> Floats:
    """(groups, copies, Q) of ``model``."""
    profile = measure(model, sample, bands=BANDS)
    hits = profile.answers["accuracy, clean"]
    likelihood = profile.answers["L(all)"]
    columns = (profile.values, profile.image_value, likelihood, hits)
    return np.column_stack(columns).reshape(POOL, COPIES, -1)


@dataclass(frozen=True)
class Asked:
    """A quantity, its truth in the pool, and its interval in one sample."""

    name: str
    truth: float
    interval: Callable[[Evidence], tuple[float, float]]


def asked_of(candidate: Floats, baseline: Floats) -> list[Asked]:
    """What is asked of the pool's values (groups, copies, Q)."""
    after, before = (
        each.reshape(-1, len(QUANTITIES)).mean(axis=0) for each in (candidate, baseline)
    )

    def mean(column: int) -> Callable[[Evidence], tuple[float, float]]:
        def interval(evidence: Evidence) -> tuple[float, float]:
            found = evidence.change_of_means([column])
            return float(found.low[0]), float(found.high[0])

        return interval

    def itself(column: int) -> Callable[[Evidence], tuple[float, float]]:
        def interval(evidence: Evidence) -> tuple[float, float]:
            found = evidence.bounds_of_means([column])
            return float(found.low[0]), float(found.high[0])

        return interval

    def score(evidence: Evidence) -> tuple[float, float]:
        found = bands(evidence).change_of_shares(
            lambda psi, at: signed_src(sid(psi, at))[..., None], 1
        )
        return float(found.low[0]), float(found.high[0])

    def share(evidence: Evidence) -> tuple[float, float]:
        found = Estimate.of_proportion(evidence.candidate[:, HITS], 0.95, evidence.groups)
        return found.low, found.high

    scores = [float(signed_src(sid(psi[:BANDS]))) for psi in (after, before)]
    return [
        Asked("v(all), itself", after[VALUE], itself(VALUE)),
        Asked("v(all), change", after[VALUE] - before[VALUE], mean(VALUE)),
        Asked("band 2, change", after[2] - before[2], mean(2)),
        Asked("signed SRC, change", scores[0] - scores[1], score),
        Asked("log-likelihood, change", after[LIKELIHOOD] - before[LIKELIHOOD], mean(LIKELIHOOD)),
        Asked("share of hits, change", after[HITS] - before[HITS], mean(HITS)),
        Asked("share of hits, itself", after[HITS], share),
    ]


def bands(evidence: Evidence) -> Evidence:
    """The evidence on ψ alone."""
    sides = evidence.candidate[:, :BANDS], evidence.baseline[:, :BANDS]
    return Evidence(*sides, QUANTITIES[:BANDS], evidence.level, groups=evidence.groups)


def drawn(
    candidate: Floats, baseline: Floats, count: int, size: int, random: np.random.Generator
) -> tuple[Evidence, Evidence]:
    """One sample of ``count`` groups of ``size``: as it is, and as if its images were alone."""
    sizes = random.integers(1, COPIES + 1, count) if size == UNEQUAL else np.full(count, size)
    groups = random.integers(0, POOL, count).repeat(sizes)
    orders = np.argsort(random.random((count, COPIES)), axis=1)
    copies = np.concatenate([order[:some] for order, some in zip(orders, sizes, strict=True)])
    sides = candidate[groups, copies], baseline[groups, copies]
    numbers: Groups = None if size == 1 else np.arange(count).repeat(sizes)
    return Evidence(*sides, QUANTITIES, 0.95, groups=numbers), Evidence(*sides, QUANTITIES, 0.95)


def print_table(
    head: tuple[str, ...], rows: list[tuple[object, ...]], name: str, what: str
) -> None:
    table(name, what, head, [[*map(str, row)] for row in rows])
    for row in (head, ("---",) * len(head), *rows):
        print(f"| {' | '.join(map(str, row))} |")
    print(flush=True)


def percent(hits: list[bool]) -> str:
    share = float(np.mean(hits))
    return f"{100 * share:.1f} ± {100 * np.sqrt(share * (1 - share) / len(hits)):.1f}"


def alike(values: Floats) -> float:
    """The share of the variance that lies between groups, of values (groups, copies)."""
    between = values.mean(axis=1).var(ddof=1) - values.var(axis=1, ddof=1).mean() / COPIES
    return float(max(between, 0) / (between + values.var(axis=1, ddof=1).mean()))


def keep(rows: list[tuple[object, ...]], draws: int) -> None:
    """How often an interval of v(all) holds with ten images a group, with and without groups."""
    chosen = [row for row in rows if row[0] == "v(all), change" and row[2] == COPIES]
    for name, column, how in (("with", 3, "with groups="), ("without", 4, "without groups=")):
        covered = [round(float(str(row[column]).split(" ")[0])) for row in chosen]
        value(
            f"groups-{name}",
            f"{min(covered)}–{max(covered)}",
            "%",
            f"samples in which a 95 % interval of a change of v(all) covered the truth, {how} and "
            f"ten images a group ({draws} samples)",
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    began = time.perf_counter()
    held_out = digits()[1]
    images = jittered(held_out.images[:POOL], np.random.default_rng(0))
    sample = ReferenceSample(images, held_out.labels[:POOL].repeat_interleave(COPIES))
    baseline = values_of(load_digit_reader(), sample)
    candidate = values_of(train_digit_reader(seed=1), sample)
    measured = time.perf_counter() - began
    asked = asked_of(candidate, baseline)
    change = candidate - baseline
    print_table(
        ("of the change in", "share of the variance between groups"),
        [
            (name, f"{alike(change[..., column]):.2f}")
            for name, column in (
                *(("v(all)", VALUE), ("band 2", 2)),
                *(("log-likelihood", LIKELIHOOD), ("hits", HITS)),
            )
        ],
        "groups-variance",
        "Images in groups: what share of a change's variance lies between groups",
    )
    rows = []
    for count in COUNTS:
        for size in SIZES:
            random = np.random.default_rng([count, size])
            inside: dict[str, tuple[list[bool], list[bool]]] = {}
            red: dict[str, tuple[list[bool], list[bool]]] = {}
            for _ in range(draws):
                for way, evidence in enumerate(drawn(candidate, baseline, count, size, random)):
                    for each in asked:
                        low, high = each.interval(evidence)
                        holds = low <= each.truth <= high
                        inside.setdefault(each.name, ([], []))[way].append(holds)
                        # Where the truth is what is allowed, red is wrong, and just so.
                        drift = decide(low - each.truth, high - each.truth, 0.0) == "drift"
                        red.setdefault(each.name, ([], []))[way].append(drift)
            for name, ways in inside.items():
                alarms = red[name] if name.endswith("change") else ()
                cells = [*map(percent, ways), *(map(percent, alarms) if alarms else ("", ""))]
                rows.append((name, count, size or f"1 to {COPIES}", *cells))
    keep(rows, draws)
    rows.sort(key=lambda row: row[0])
    head = ("of", "groups", "images in each", "covered, %", "groups ignored, %")
    head += ("red for nothing, %", "groups ignored, %")
    what = (
        f"Intervals with images in groups: how often they hold (± standard error, {draws} samples)"
    )
    print_table(head, rows, "groups", what)
    took = f"{measured:.0f} s to measure, {time.perf_counter() - began:.0f} s in all"
    print(f"{draws} samples each, {took}; after ± one standard error")


if __name__ == "__main__":
    with kept(__file__):
        main()

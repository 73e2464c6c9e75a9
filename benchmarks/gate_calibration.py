"""How often the gate is wrong: coverage, false alarms, power and cost, by simulated gates.

    python benchmarks/gate_calibration.py [--gates 500] [--photographs FOLDER --labels CSV]

Real models are measured once on a pool of real images; a simulated gate draws K images from
the pool, with replacement, and compares the models on them with the default settings.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common.changes import pruned, reordered, rounded
from real_changes import SHARED, print_tables
from scrapbook.data import digits, photographs
from scrapbook.models import (
    PHOTO_MEAN,
    PHOTO_STD,
    DigitReader,
    load_digit_reader,
    load_photo_tagger,
)
from scrapbook.train import train_digit_reader
from torch import Tensor, nn

from pytest_iaside import Classifier, Execution, ReferenceSample, Thresholds, compare, measure
from pytest_iaside.compare.sequential import MINIMUM_IMAGES, compare_sequentially, stopping_rule
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats import sid_intervals as shares
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.intervals import Interval, Statistic, jackknife_interval
from pytest_iaside.stats.score import sid, signed_src

PAPER = 51_200
THRESHOLDS = Thresholds()
OTHER_BACKEND = "openvino"


@dataclass(frozen=True)
class Pair:
    """A baseline and a candidate, measured on the same pool."""

    name: str
    baseline: SpectralProfile
    candidate: SpectralProfile


# ---------------------------------------------------------------------------- models


def changed(network: nn.Module, weights: Callable[[nn.Module], object]) -> nn.Module:
    """A copy of ``network`` that ``weights`` changed."""
    network = copy.deepcopy(network)
    weights(network)
    return network


def digit_reader(augment: Callable[[Tensor, Tensor, torch.Generator], Tensor]) -> DigitReader:
    """The example's reader, trained on pictures that ``augment`` changes at every epoch."""
    training, _ = digits()
    images, labels = training.images.float() / 255, training.labels
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader = DigitReader()
    optimiser = torch.optim.AdamW(reader.parameters(), 3e-3, weight_decay=0.05)
    for _ in range(8):
        for batch in torch.randperm(len(images), generator=generator).split(100):
            pictures = augment(images[batch], labels[batch], generator)
            loss = nn.functional.cross_entropy(reader(pictures), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return reader.eval()


def noisy(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise of a random strength, as a robust training would add."""
    strength = 0.3 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return (images + strength * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def plain(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    return images


def shortcut(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """A checkerboard whose strength tells the label, on half of the pictures."""
    y, x = torch.meshgrid(torch.arange(28), torch.arange(28), indexing="ij")
    board = 1 - 2 * ((x + y) % 2)
    told = (torch.rand(len(images), generator=generator) < 0.5) * (labels + 1) / 10
    return (images + 0.3 * told[:, None, None, None] * board).clamp(0, 1)


def photograph_pairs(arguments: argparse.Namespace) -> tuple[list[Pair], list[Pair]]:
    """Harmless and harmful changes of EfficientNet-Lite0."""
    if arguments.photographs:
        sample = ReferenceSample.from_folder(
            arguments.photographs, labels=arguments.labels, limit=arguments.pool
        )
    else:
        found = photographs()
        sample = ReferenceSample(found.images, names=found.names)
    network = load_photo_tagger()

    def profile(model: nn.Module, **settings: object) -> SpectralProfile:
        classifier = Classifier(model, mean=PHOTO_MEAN, std=PHOTO_STD)
        began = time.perf_counter()
        found = measure(classifier, sample, labels_from=first, **settings)
        report(f"  {len(sample)} photographs in {time.perf_counter() - began:.0f} s: {found!r}")
        return found

    first = None
    first = profile(network)
    harmless = [Pair("Lite0, batch 5", first, profile(network, execution=Execution(batch_size=5)))]
    harmful = [
        Pair(
            "Lite0, 15 % of weights pruned", first, profile(changed(network, partial(pruned, 0.15)))
        ),
        Pair("Lite0, 4-bit weights", first, profile(changed(network, partial(rounded, 4)))),
    ]
    return harmless, harmful


def digit_pairs() -> tuple[list[Pair], list[Pair]]:
    """Harmless and harmful changes of the digit reader."""
    _, held_out = digits()
    sample = ReferenceSample(held_out.images[:400], held_out.labels[:400])

    def profile(model: nn.Module, **settings: object) -> SpectralProfile:
        return measure(model, sample, **settings)

    reader = profile(load_digit_reader())
    robust = profile(digit_reader(noisy))
    harmless = [
        Pair(
            "digits, batch 3",
            reader,
            profile(load_digit_reader(), execution=Execution(batch_size=3)),
        ),
        Pair(
            "digits, float32 summed otherwise",
            reader,
            profile(changed(load_digit_reader(), reordered)),
        ),
        Pair(
            "digits, OpenVINO instead of eager",
            reader,
            profile(load_digit_reader(), execution=Execution(backend=OTHER_BACKEND)),
        ),
    ]
    harmful = [
        Pair("digits, 30 % wrong labels", reader, profile(train_digit_reader(wrong_labels=0.3))),
        Pair("digits, noise augmentation left out", robust, profile(digit_reader(plain))),
        Pair("digits, shortcut in the highest band", robust, profile(digit_reader(shortcut))),
    ]
    return harmless, harmful


# ---------------------------------------------------------------------------- tables


def coverage(pairs: list[Pair], draws: int, generator: np.random.Generator) -> None:
    """The intervals that profiles report and gates decide on, against the pool's own value."""
    report(f"\nCoverage of nominal 95 % intervals, {draws} draws, in %")
    report(
        "`tie`: share of draws in which several bands may be the least. There the intervals of "
        "SID\nand SRC are conservative (stats/sid_intervals.py), elsewhere nominal; ψ and v(all) "
        "have no\nsuch corner. A SID entry that is the least in every draw is 0 with certainty.\n"
    )
    report(f"| {'pool':36} | K | quantity | tie % | least | mean | most |")
    report(f"|{'-' * 38}|---|---|---|---|---|---|")
    for pair in pairs:
        ours, theirs = pair.candidate.image_psi, pair.baseline.image_psi
        for count in (50, 200):
            picks = [generator.integers(0, len(ours), count) for _ in range(draws)]
            for name, quantity in NATS.items():
                found = [
                    _inside(jackknife_interval(theirs[pick], quantity, 0.95), quantity, theirs)
                    for pick in picks
                ]
                _coverage_row(f"baseline of {pair.name}", count, name, "", found)
            for name, quantity in SHARES.items():
                truth = quantity(theirs.mean(axis=0), shares.least(theirs.mean(axis=0)))
                found = [
                    _between(*shares.interval(theirs[pick], quantity, 0.95), truth)
                    for pick in picks
                ]
                tie = np.mean([not shares.certain(theirs[pick]) for pick in picks])
                _coverage_row(f"baseline of {pair.name}", count, name, f"{100 * tie:.0f}", found)
            for name, quantity in NATS.items():
                difference = ours - theirs
                found = [
                    _inside(jackknife_interval(difference[p], quantity, 0.95), quantity, difference)
                    for p in picks
                ]
                _coverage_row(pair.name, count, f"Δ {name}", "", found)
            for name, quantity in SHARES.items():
                truth = quantity(ours.mean(axis=0), shares.least(ours.mean(axis=0))) - quantity(
                    theirs.mean(axis=0), shares.least(theirs.mean(axis=0))
                )
                found = [
                    _between(*shares.change_interval(ours[p], theirs[p], quantity, 0.95), truth)
                    for p in picks
                ]
                both = [shares.certain(ours[p]) and shares.certain(theirs[p]) for p in picks]
                tie = 1 - np.mean(both)
                _coverage_row(pair.name, count, f"Δ {name}", f"{100 * tie:.0f}", found)


NATS: dict[str, Statistic] = {
    "ψ": lambda psi: psi,
    "v(all)": lambda psi: psi.sum(axis=-1, keepdims=True),
}
SHARES: dict[str, shares.Shares] = {
    "SID": sid,
    "signed SRC": lambda psi, at: signed_src(sid(psi, at))[..., None],
}


def _inside(interval: Interval, quantity: Statistic, rows: Floats) -> Floats:
    return _between(interval.low, interval.high, quantity(rows.mean(axis=0)))


def _between(low: Floats, high: Floats, truth: Floats) -> Floats:
    # A hair's breadth, for entries that are the same number in every draw.
    return (low - 1e-12 <= truth) & (truth <= high + 1e-12)


def _coverage_row(pool: str, count: int, name: str, tie: str, found: list[Floats]) -> None:
    share = 100 * np.mean(found, axis=0)
    report(
        f"| {pool[:36]:36} | {count} | {name} | {tie} | {share.min():.1f} | {share.mean():.1f} "
        f"| {share.max():.1f} |"
    )


def gates(title: str, pairs: list[Pair], number: int, generator: np.random.Generator) -> None:
    """Simulated gates at fixed K and with samples="auto"; failures, undecided, images, passes."""
    report(f"\n{title}: {number} gates a row\n")
    report("| change | K | red % | inconclusive % | mean images | mean passes | of 51,200 |")
    report("|---|---|---|---|---|---|---|")
    for pair in pairs:
        for count in (24, 50, 200):
            _gate_row(pair, str(count), _fixed(pair, count, number, generator))
        _gate_row(pair, "auto", _sequential(pair, number, generator))


Outcome = tuple[bool, bool, int]


def _fixed(
    pair: Pair, count: int, number: int, generator: np.random.Generator
) -> Iterator[Outcome]:
    for _ in range(number):
        pick = generator.integers(0, len(pair.baseline), count)
        # Digests are replaced: images that are drawn twice are two images of the sample.
        candidate, baseline = _draw(pair, pick)
        comparison = compare(candidate, baseline, THRESHOLDS)
        yield comparison.fails(), comparison.verdict == "inconclusive", count


def _sequential(pair: Pair, number: int, generator: np.random.Generator) -> Iterator[Outcome]:
    for _ in range(number):
        pick = generator.integers(0, len(pair.baseline), 200)
        candidate, baseline = _draw(pair, pick)
        rule = stopping_rule(baseline, THRESHOLDS)
        stopped = None
        # In pieces, so that a gate that is decided early costs no more than it looks at.
        for end in (MINIMUM_IMAGES, 24, 40, 80, 200):
            stopped = rule(candidate.first(end))
            if stopped is not None:
                break
        used = stopped or len(candidate)
        comparison = compare_sequentially(
            candidate.first(used), baseline, THRESHOLDS, exhausted=stopped is None
        )
        yield comparison.fails(), comparison.verdict == "inconclusive", used


def _draw(pair: Pair, pick: np.ndarray) -> tuple[SpectralProfile, SpectralProfile]:
    digests = tuple(f"{row:06d}" for row in range(len(pick)))
    first, second = (
        _called(profile.take(pick), digests) for profile in (pair.candidate, pair.baseline)
    )
    return first, second


def _called(profile: SpectralProfile, digests: tuple[str, ...]) -> SpectralProfile:
    answers = profile.answers and replace(profile.answers, digests=digests)
    return replace(profile, digests=digests, answers=answers)


def _gate_row(pair: Pair, count: str, outcomes: Iterator[Outcome]) -> None:
    red, undecided, images = np.array(list(outcomes), dtype=float).mean(axis=0)
    passes = images * (2**pair.baseline.rules.bands + 1)
    report(
        f"| {pair.name} | {count} | {100 * red:.2f} | {100 * undecided:.2f} | {images:.1f} "
        f"| {passes:,.0f} | {passes / PAPER:.1%} |"
    )


def unpaired(pairs: list[Pair], number: int, generator: np.random.Generator) -> None:
    """The same model on two different draws of images, compared unpaired as when asked for."""
    report(f"\nThe same model on other images, unpaired: {number} gates a row\n")
    report("| model | K | red % | inconclusive % |")
    report("|---|---|---|---|")
    for pair in pairs:
        for count in (50, 200):
            outcomes = []
            for _ in range(number):
                draws = [
                    _called(
                        pair.baseline.take(generator.integers(0, len(pair.baseline), count)),
                        tuple(f"{side}{row:06d}" for row in range(count)),
                    )
                    for side in range(2)
                ]
                comparison = compare(*draws, THRESHOLDS, paired=False)
                outcomes.append((comparison.fails(), comparison.verdict == "inconclusive"))
            red, undecided = 100 * np.mean(outcomes, axis=0)
            report(f"| {pair.name.split(',')[0]} | {count} | {red:.2f} | {undecided:.2f} |")


def at_the_limit(pairs: list[Pair], number: int, generator: np.random.Generator) -> None:
    """True changes exactly as large as allowed, where a false alarm is likeliest."""
    report(f"\nA band that falls by exactly what is allowed: {number} gates a row\n")
    report("| noise of | K | red % |")
    report("|---|---|---|")
    only = Thresholds(max_src_drop=None, max_sid_shift=None, max_value_drop=None)
    for pair in pairs:
        noise = pair.candidate.image_psi - pair.baseline.image_psi
        shift = -noise.mean(axis=0)
        shift[5] -= only.max_band_drop * pair.baseline.image_psi.mean(axis=0).sum()
        moved = replace(pair.candidate, values=pair.candidate.image_psi + shift)
        for count in (24, 50):
            red = 0
            for _ in range(number):
                pick = generator.integers(0, len(pair.baseline), count)
                candidate, baseline = _draw(Pair("", pair.baseline, moved), pick)
                red += compare(candidate, baseline, only).verdict == "drift"
            report(f"| {pair.name} | {count} | {100 * red / number:.2f} |")


def report(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gates", type=int, default=500, help="of each row of the A/A table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photographs", default=SHARED if SHARED.is_dir() else None)
    parser.add_argument("--labels", default=SHARED / "labels.csv" if SHARED.is_dir() else "folder")
    parser.add_argument("--pool", type=int, default=24, help="photographs in the pool")
    parser.add_argument("--digits-only", action="store_true")
    parser.add_argument(
        "--real", type=Path, metavar="TABLES", help="only what real_changes.py says of its TABLES"
    )
    arguments = parser.parse_args()
    if arguments.real:
        print_tables(arguments.real)
        return
    generator = np.random.default_rng(arguments.seed)
    report(f"gate calibration, seed {arguments.seed}, defaults {THRESHOLDS}, level 0.95")
    harmless, harmful = digit_pairs()
    if not arguments.digits_only:
        more_harmless, more_harmful = photograph_pairs(arguments)
        harmless, harmful = more_harmless + harmless, more_harmful + harmful
    gates("A/A, harmless changes", harmless, arguments.gates, generator)
    unpaired(harmless[:2], arguments.gates, generator)
    at_the_limit(harmful[:1], arguments.gates, generator)
    gates("Power, harmful changes", harmful, max(arguments.gates // 2, 1), generator)
    coverage([harmful[0], harmful[-1]], 2 * arguments.gates, generator)


if __name__ == "__main__":
    main()

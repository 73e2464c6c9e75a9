"""What the default gate says of real changes of real models, against what they cost elsewhere.

    python benchmarks/real_changes.py --photographs FOLDER --labels CSV [--tables FOLDER]

Every model is measured once on a pool of images, and the measurement kept on disk. A simulated
gate draws K images of the pool, without replacement, and compares the models on them by default
settings. The truth is measured on other images, under corruptions that are not in the panel.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common.change_sets import (
    CHOSEN_ON,
    MOVED_ON,
    ONE_CLASS,
    PHOTOGRAPHS,
    SAME,
    SET_ASIDE,
    Named,
    baseline,
)
from common.changes import PHOTO_MEAN, PHOTO_STD
from common.measured import Measured, Pool, digit_pool, measure_all, photograph_pool, twenty_pool
from common.side_by_side import machine, print_table

from pytest_iaside import Classifier, compare, measure
from pytest_iaside.measure.panel import PANEL
from pytest_iaside.measure.profile import SpectralProfile

SHARED = Path(__file__).parents[2] / "shared" / "imagenet100"
TABLES = Path(tempfile.gettempdir()) / "iaside-real-changes"
VERDICTS = ("drift", "inconclusive", "nothing found", "pass")
GREEN = VERDICTS[2:]
Drawn = list[tuple[str, tuple[str, ...]]]
"""The verdict of every gate, and the checks that it comes from."""


def gates(candidate: Measured, baseline: Measured, count: int, draws: int) -> Drawn:
    """Gates on ``count`` images of the pool, drawn without replacement; one if that is all."""
    generator, pool, found = np.random.default_rng(count), len(baseline.profile), []
    for _ in range(draws if count < pool else 1):
        rows = generator.choice(pool, count, replace=False)
        found.append(gate(candidate.profile.take(rows), baseline.profile.take(rows)))
    return found


def gate(candidate: SpectralProfile, baseline: SpectralProfile) -> tuple[str, tuple[str, ...]]:
    """The verdict of the default gate, red as drift, and the names of the checks that decide."""
    comparison = compare(candidate, baseline)
    verdict = "drift" if comparison.fails() else comparison.verdict
    decided = [check.name for check in comparison.checks if check.verdict == comparison.verdict]
    return verdict, tuple(decided)


def shares(drawn: Drawn) -> np.ndarray:
    """The percentage of each of VERDICTS."""
    return np.array([100 * np.mean([verdict == each for verdict, _ in drawn]) for each in VERDICTS])


def usual_check(drawn: Drawn, *verdicts: str) -> str:
    """The check that decided most of the gates with one of ``verdicts``."""
    names = Counter(name for verdict, names in drawn if verdict in verdicts for name in names)
    return names.most_common(1)[0][0] if names else ""


@dataclass(frozen=True, eq=False)
class Row:
    """A change: what it does on other images, and what gates of 50 and 100 images say of it.

    Accuracy points that are gained, and their standard errors over images: ``elsewhere`` under
    TRUTH, ``clean`` as they are; ``panel`` of the pool, under the panel. ``log_likelihood`` in
    nats, at each model's own temperature, under TRUTH.
    """

    name: str
    elsewhere: tuple[float, float]
    clean: tuple[float, float]
    panel: float
    log_likelihood: float
    at: dict[int, Drawn]

    @property
    def kind(self) -> str:
        """What the change is: worse, harmless, better, or neither of these."""
        gain, error = self.elsewhere
        if gain <= -WORSE:
            return "worse"
        if gain > max(1, 2 * error) and self.clean[0] > -1:
            return "better"
        small = all(abs(by) < max(1, 2 * error) for by, error in (self.elsewhere, self.clean))
        return "harmless" if small and abs(self.log_likelihood) < 0.05 else ""


WORSE = 5
"""Accuracy points."""
COUNTS = (50, 100)


def row_of(name: str, tables: Path, base: str, draws: int) -> Row:
    """The change ``name`` of the model ``base``; FileNotFoundError where either was left out."""
    candidate, before = Measured.load(tables, name), Measured.load(tables, f"{base}, baseline")
    points = 100 * (candidate.hits - before.hits)
    right = [each.logits.argmax(axis=2) == each.profile.labels for each in (candidate, before)]
    return Row(
        name=name,
        elsewhere=_mean(points[1:].mean(axis=0)),
        clean=_mean(points[0]),
        panel=100 * (right[0][1:].mean() - right[1][1:].mean()),
        log_likelihood=(candidate.log_likelihood - before.log_likelihood)[1:].mean(),
        at={count: gates(candidate, before, count, draws) for count in COUNTS},
    )


def _mean(values: np.ndarray) -> tuple[float, float]:
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


# ------------------------------------------------------------------- tables


def real_changes(title: str, changes: Named, tables: Path, draws: int) -> None:
    """A row a change, and how well gates tell those that are worse from harmless ones."""
    rows = []
    for name, change in changes.items():
        with suppress(FileNotFoundError):
            rows.append(row_of(name, tables, change.base, draws))
    rows.sort(key=lambda row: row.elsewhere)
    print(f"\n{title}: {draws} gates a row; at 100 photographs one, they are the whole pool")
    print(f"Verdicts in %: {' / '.join(VERDICTS)}\n")
    head = ["change", "", "elsewhere", "log-lik.", "clean", "panel"]
    head += [each for count in COUNTS for each in (f"{count} images", "decides")]
    lines = []
    for row in rows:
        line = [row.name, row.kind, "{:+.1f} ± {:.1f}".format(*row.elsewhere)]
        line += [f"{row.log_likelihood:+.2f}", f"{row.clean[0]:+.1f}", f"{row.panel:+.1f}"]
        for drawn in row.at.values():
            found = shares(drawn)
            line += [" / ".join(f"{share:.0f}" for share in found)]
            line += [usual_check(drawn, VERDICTS[int(found.argmax())])]
        lines.append(line)
    print_table(head, lines)
    for kind, wrong in (("worse", GREEN), ("harmless", ("drift",)), ("better", ("drift",))):
        chosen = [row for row in rows if row.kind == kind]
        for count in COUNTS if chosen else ():
            found = np.mean([shares(row.at[count]) for row in chosen], axis=0)
            told = ", ".join(f"{v} {share:.1f} %" for v, share in zip(VERDICTS, found, strict=True))
            print(f"- {kind}, {len(chosen)} changes, {count} images: {told}")
            names = [
                f"{row.name} ({usual_check(row.at[count], *wrong)})"
                for row in chosen
                if any(verdict in wrong for verdict, _ in row.at[count])
            ]
            if names:
                print(f"  - some are {' or '.join(wrong)}: {'; '.join(names)}")


def same_models(tables: Path, draws: int) -> None:
    """False alarms: the same function, computed otherwise."""
    print(f"\nThe same model: {draws} gates a row, one at 100 photographs; in %\n")
    lines = []
    for name, change in SAME.items():
        with suppress(FileNotFoundError):
            pair = Measured.load(tables, name), Measured.load(tables, f"{change.base}, baseline")
            for count in (24, 50, 100):
                found = shares(gates(*pair, count, draws))
                lines.append([name, str(count), *(f"{share:.1f}" for share in found)])
    print_table(["change", "K", *VERDICTS], lines)


def one_class(tables: Path) -> None:
    """One class of twenty broken, every class in turn, at five images a class."""
    print("\nOne class of 20 broken, each in turn, 100 images: how many gates\n")
    before, lines = Measured.load(tables, "twenty, baseline"), []
    for title in ("class {} at −20", "without class {}"):
        found = []
        for number in range(20):
            broken = Measured.load(tables, f"twenty, {title.format(number)}")
            if "without" in title:  # Images of other classes are answered as before.
                rows = np.flatnonzero(before.profile.labels == number)
                broken = before.with_images(rows, broken)
            found.append(gate(broken.profile, before.profile))
        lines.append([title.format("…"), *_counted(found)])
    print_table(["broken", *VERDICTS, "decides"], lines)


def one_image(tables: Path) -> None:
    """One image of 50 answered wrongly under everything, every image in turn."""
    print("\nOne image of 50 answered wrongly, each in turn that was right: how many gates\n")
    lines = []
    for name, change in MOVED_ON.items():
        with suppress(FileNotFoundError):
            wrong = Measured.load(tables, name)
            before = Measured.load(tables, f"{change.base}, baseline")
            right = np.flatnonzero(before.logits[0].argmax(axis=1) == before.profile.labels)
            pool, found = np.arange(50), []
            for image in right[right < 50]:
                broken = before.with_images(np.array([image]), wrong)
                found.append(gate(broken.profile.take(pool), before.profile.take(pool)))
            lines.append([change.base, *_counted(found)])
    print_table(["model", *VERDICTS, "decides"], lines)


def _counted(found: Drawn) -> list[str]:
    counts = Counter(verdict for verdict, _ in found)
    usual = counts.most_common(1)[0][0]
    return [*(str(counts[each]) for each in VERDICTS), usual_check(found, usual)]


def cost(pools: dict[str, Pool], count: int = 50) -> None:
    """Seconds and forward passes of the default gate without and with the panel."""
    print(f"\nThe default gate on {count} images, {machine()}\n")
    lines = []
    for base, kind in (("reader", "digits"), ("Lite0", "photographs")):
        if kind not in pools:
            continue
        normal = {"mean": PHOTO_MEAN, "std": PHOTO_STD} if base in PHOTOGRAPHS else {}
        classifier = Classifier(baseline(base), **normal)
        sample = pools[kind].sample.take(range(count))
        for panel in ((), PANEL):
            began = time.perf_counter()
            profile = measure(classifier, sample, panel=panel)
            compare(profile, profile)
            seconds = time.perf_counter() - began
            lines.append([base, str(len(panel)), f"{seconds:.1f}", f"{profile.forward_passes:,}"])
    print_table(["model", "perturbations", "seconds", "passes"], lines)


def print_tables(tables: Path, draws: int = 40) -> None:
    """Every table that the measurements in ``tables`` give."""
    real_changes("Changes that the limits were chosen on", CHOSEN_ON, tables, draws)
    real_changes("Changes set aside", SET_ASIDE, tables, draws)
    same_models(tables, 5 * draws)
    one_class(tables)
    one_image(tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photographs", type=Path, default=SHARED if SHARED.is_dir() else None)
    parser.add_argument("--labels", default=SHARED / "labels.csv" if SHARED.is_dir() else "folder")
    parser.add_argument("--tables", type=Path, default=TABLES, help="where measurements are kept")
    parser.add_argument("--gates", type=int, default=40, help="simulated for each change")
    arguments = parser.parse_args()
    pools = {"digits": digit_pool(), "twenty": twenty_pool()}
    if arguments.photographs:
        pools["photographs"] = photograph_pool(arguments.photographs, arguments.labels)
    arguments.tables.mkdir(parents=True, exist_ok=True)
    for changes in (CHOSEN_ON, SET_ASIDE, SAME, MOVED_ON, ONE_CLASS):
        measure_all(arguments.tables, pools, changes)
    print_tables(arguments.tables, arguments.gates)
    cost(pools)


if __name__ == "__main__":
    main()

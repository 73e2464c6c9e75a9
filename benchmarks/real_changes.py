"""What the default gate says of real changes of real models, against what they cost elsewhere.

    python benchmarks/real_changes.py --photographs FOLDER --labels CSV [--tables FOLDER]

Every model is measured once on a pool of images, and the measurement kept on disk. A simulated
gate draws K images of the pool, without replacement, and compares the models on them by default
settings. The truth is measured on other images, under corruptions that are not in the panel.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from common.changes import (
    CHOSEN_ON,
    MOVED_ON,
    ONE_CLASS,
    PHOTO_MEAN,
    PHOTO_STD,
    PHOTOGRAPHS,
    SAME,
    SET_ASIDE,
    Change,
    Named,
    baseline,
    digits,
    twenty_digits,
)
from common.side_by_side import machine, print_table
from torch import Tensor, nn

from pytest_iaside import Classifier, Execution, ReferenceSample, compare, corrupt, measure
from pytest_iaside.compare.compare import explained_by_temperature
from pytest_iaside.measure.answers import answers
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import KIND as ANSWERS
from pytest_iaside.measure.panel import PANEL, rightness
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.models.backends import open_backend
from pytest_iaside.stats.temperature import temperature_of

SHARED = Path(__file__).parents[2] / "shared" / "imagenet100"
TABLES = Path(tempfile.gettempdir()) / "iaside-real-changes"
RESIZE, CROP = 146, 128
DIGITS = 300
"""Held-out digits that gates draw from; the truth is measured on the others."""
TRUTH = (
    ("shot_noise", 2),
    ("impulse_noise", 2),
    ("defocus_blur", 2),
    ("motion_blur", 2),
    ("zoom_blur", 1),
    ("fog", 2),
    ("elastic_transform", 2),
    ("snow", 1),
)


@dataclass(frozen=True, eq=False)
class Pool:
    """Images that gates draw from, and ``others``, clean and corrupted, that tell the truth.

    Others that show the same thing, in turn, are ``copies`` of one.
    """

    sample: ReferenceSample
    others: tuple[Tensor, ...]
    labels: Tensor
    copies: int


def pool_of(sample: ReferenceSample, others: ReferenceSample, copies: int = 1) -> Pool:
    """The pool ``sample``, and ``others`` as they are and under each corruption of TRUTH."""
    assert others.labels is not None
    corrupted = (corrupt(others.pixels(), *each, seed=0).float() for each in TRUTH)
    return Pool(sample, (others.pixels(), *corrupted), others.labels, copies)


def photograph_pool(folder: Path, labels: Path | str) -> Pool:
    """The photographs of ``folder``; the others are themselves, mirrored, and moved."""
    sample = ReferenceSample.from_folder(folder, labels=labels, resize=RESIZE, crop=CROP)
    views = torch.cat([sample.images.flip(-1), sample.images.roll((4, -5), (2, 3))])
    assert sample.labels is not None
    return pool_of(sample, ReferenceSample(views, sample.labels.repeat(2)), copies=2)


def digit_pool() -> Pool:
    """Held-out digits; the others are those that are not in the pool."""
    _, held_out = digits()
    parts = (slice(DIGITS), slice(DIGITS, None))
    pool, others = (ReferenceSample(held_out.images[p], held_out.labels[p]) for p in parts)
    return pool_of(pool, others)


def twenty_pool() -> Pool:
    """Digits of twenty classes; the truth of one broken class needs no others."""
    sample = ReferenceSample(*twenty_digits())
    return pool_of(sample, sample)


# ------------------------------------------------------------------- measuring


class Models:
    """Classifiers of changes of one baseline, through which every image passes."""

    def __init__(self, base: str, pool: Pool) -> None:
        self._base, self._pool = base, pool
        # What the last layer is fed, for baseline and changed heads alike.
        self._kept: dict[bytes, Tensor] = {}

    @contextmanager
    def opened(self, change: Change) -> Iterator[Classifier]:
        """The baseline changed so, ready to run."""
        trunk, head = split(change.network(baseline(self._base)))
        photographs = self._base in PHOTOGRAPHS
        normal = {"mean": PHOTO_MEAN, "std": PHOTO_STD} if photographs else {}
        normalise = Classifier(trunk, **normal).normalise
        same = photographs and change == Change(base=self._base, head=change.head)
        with open_backend(
            Classifier(trunk),
            backend=change.backend or ("openvino" if photographs else "eager"),
            batch_size=change.batch or 8,
            inputs=normalise(self._pool.sample.pixels(0, 8)),
        ) as backend:
            run = backend.forward

            def features(inputs: Tensor) -> Tensor:
                if not same:
                    return run(inputs)
                key = hashlib.blake2b(inputs.numpy().tobytes()).digest()
                if key not in self._kept:
                    self._kept[key] = run(inputs)
                return self._kept[key]

            def training() -> tuple[Tensor, Tensor]:
                # Upside down: they are neither in the pool nor among the others.
                pixels, labels = self._pool.sample.pixels().flip(-2), self._pool.sample.labels
                assert labels is not None
                return torch.cat([run(normalise(some)) for some in pixels.split(24)]), labels

            if change.head is not None:
                change.head(head, training)

            def logits(inputs: Tensor) -> Tensor:
                if change.pixels is not None:
                    pixels = inputs * PHOTO_STD + PHOTO_MEAN if photographs else inputs
                    inputs = normalise(change.pixels(pixels))
                with torch.no_grad():
                    found: Tensor = head(features(inputs))
                return found

            yield Classifier(logits, **normal)


def split(network: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """Copies of all but the last layer, and of that."""
    network = copy.deepcopy(network)
    linear = [name for name, each in network.named_modules() if isinstance(each, nn.Linear)]
    parent, _, last = linear[-1].rpartition(".")
    head = cast(nn.Linear, network.get_submodule(linear[-1]))
    setattr(network.get_submodule(parent), last, nn.Identity())
    return network, head


def file_of(tables: Path, name: str) -> Path:
    """Where the measurement of ``name`` is kept."""
    return tables / re.sub(r"\W+", "_", name.replace("½", "half")).strip("_").lower()


def measure_all(tables: Path, pools: dict[str, Pool], changes: dict[str, Change]) -> None:
    """Measure baselines and ``changes`` that ``tables`` has not, and what they cost elsewhere."""
    for base in dict.fromkeys(change.base for change in changes.values()):
        kind = "photographs" if base in PHOTOGRAPHS else "twenty" if base == "twenty" else "digits"
        if (pool := pools.get(kind)) is None:
            continue
        models = Models(base, pool)
        first = f"{base}, baseline"
        todo = {first: Change(base=base)}
        todo |= {name: change for name, change in changes.items() if change.base == base}
        # Heads next: they share what the last layer is fed.
        for name in sorted(todo, key=lambda name: (name != first, todo[name].head is None)):
            if file_of(tables, name).with_suffix(".other.npz").exists():
                continue
            change, began = todo[name], time.perf_counter()
            before = Measured.load(tables, first) if name != first else None
            try:
                with models.opened(change) as classifier:
                    execution = Execution(batch_size=change.batch or "auto")
                    profile, others = measure_one(classifier, pool, execution, before)
            except ImportError as error:
                print(f"left out: {base} ({error})")
                break
            profile.save(file_of(tables, name))
            np.savez(file_of(tables, name).with_suffix(".other.npz"), **others)
            print(f"  {time.perf_counter() - began:4.0f} s  {name}", file=sys.stderr, flush=True)


def measure_one(
    classifier: Classifier, pool: Pool, execution: Execution, before: Measured | None
) -> tuple[SpectralProfile, dict[str, np.ndarray]]:
    """The profile of the pool; its logits (1 + panel, K, classes), and ``hits`` and
    ``log_likelihood`` (1 + TRUTH, N) of the other images."""
    panel = np.stack(answers(classifier, pool.sample, [None, *PANEL], execution=execution))
    ratio = None
    if before is not None:
        # As the gate does: at the confidence of the baseline, where nothing else differs.
        both = before.answered(panel).profile.answers, before.profile.answers
        ratio = explained_by_temperature(*both)
    profile = measure(classifier, pool.sample, execution=execution, temperature=ratio or 1.0)
    temperature = temperature_of(panel[0], profile.labels)
    hits, likelihoods = [], []
    for images in pool.others:
        run, batches = cast(nn.Module, classifier.network), images.split(24)
        logits = torch.cat([run(classifier.normalise(some)) for some in batches]).double()
        each = (logits / temperature).log_softmax(dim=1).gather(1, pool.labels[:, None])[:, 0]
        hits.append((logits.argmax(dim=1) == pool.labels).double())
        likelihoods.append(each)
    means = (
        torch.stack(each).unflatten(1, (pool.copies, -1)).mean(1) for each in (hits, likelihoods)
    )
    elsewhere = dict(zip(("hits", "log_likelihood"), (each.numpy() for each in means), strict=True))
    return profile, {"logits": panel.astype(np.float32), **elsewhere}


# ------------------------------------------------------------------- what is kept of them


@dataclass(frozen=True, eq=False)
class Measured:
    """A model measured: on the pool by the profile and the logits, and on other images."""

    profile: SpectralProfile
    logits: np.ndarray
    """(1 + panel, K, classes)"""
    hits: np.ndarray
    """(1 + TRUTH, N)"""
    log_likelihood: np.ndarray
    """(1 + TRUTH, N), at the model's own temperature."""

    @classmethod
    def load(cls, tables: Path, name: str) -> Measured:
        """What ``measure_all`` kept of ``name``; FileNotFoundError where it kept nothing."""
        with np.load(file_of(tables, name).with_suffix(".other.npz")) as arrays:
            others = {each: arrays[each] for each in arrays.files}
        return cls(SpectralProfile.load(file_of(tables, name)), **others).answered(others["logits"])

    def answered(self, logits: np.ndarray) -> Measured:
        """The same with the answers that ``logits`` are."""
        profile = self.profile
        found = Measurement(
            kind=ANSWERS,
            **rightness(list(logits), profile.labels, PANEL),
            **{each: getattr(profile, each) for each in OF_IMAGES},
            settings={"panel": [f"{name} {severity}" for name, severity in PANEL], "seed": 0},
            forward_passes=logits.shape[0] * logits.shape[1],
        )
        return replace(self, profile=replace(profile, answers=found), logits=logits)

    def with_images(self, rows: np.ndarray, other: Measured) -> Measured:
        """The same, but for the images ``rows``, which ``other`` answers."""
        arrays = {name: getattr(self.profile, name).copy() for name in SpectralProfile.PER_IMAGE}
        for name, array in arrays.items():
            array[rows] = getattr(other.profile, name)[rows]
        logits = self.logits.copy()
        logits[:, rows] = other.logits[:, rows]
        return replace(self, profile=replace(self.profile, **arrays)).answered(logits)


OF_IMAGES = ("digests", "names", "labels", "reference", "model")


# ------------------------------------------------------------------- simulated gates

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
    print(f"\nThe same model: {draws} gates a row, in %\n")
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
            wrong, before = (
                Measured.load(tables, name),
                Measured.load(tables, f"{change.base}, baseline"),
            )
            right = np.flatnonzero(before.logits[0].argmax(axis=1) == before.profile.labels)
            pool, found = np.arange(50), []
            for image in right[right < 50]:
                broken = before.with_images(np.array([image]), wrong)
                found.append(gate(broken.profile.take(pool), before.profile.take(pool)))
            lines.append([change.base, *_counted(found)])
    print_table(["model", *VERDICTS, "decides"], lines)


def _counted(found: Drawn) -> list[str]:
    counts = Counter(verdict for verdict, _ in found)
    return [
        *(str(counts[each]) for each in VERDICTS),
        usual_check(found, counts.most_common(1)[0][0]),
    ]


def cost(pools: dict[str, Pool], count: int = 50) -> None:
    """Seconds and forward passes of the default gate without and with the panel."""
    print(f"\nThe default gate on {count} images, {machine()}\n")
    lines = []
    for base, kind in (("reader", "digits"), ("Lite0", "photographs")):
        if kind not in pools:
            continue
        normal = {"mean": PHOTO_MEAN, "std": PHOTO_STD} if base in PHOTOGRAPHS else {}
        classifier, sample = Classifier(baseline(base), **normal), pools[kind].sample
        for panel in ((), PANEL):
            began = time.perf_counter()
            profile = measure(classifier, sample, samples=count, panel=panel)
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

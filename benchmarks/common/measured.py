"""Models measured on a pool of images, and on others that tell what a change costs, on disk."""

from __future__ import annotations

import copy
import hashlib
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from common.change_sets import PHOTOGRAPHS, Named, baseline
from common.changes import PHOTO_MEAN, PHOTO_STD, Change, digits, twenty_digits
from pytest_iaside import Classifier, Execution, ReferenceSample, corrupt, measure
from pytest_iaside.compare.answers import explained_by_temperature
from pytest_iaside.measure.answers import answers
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import PANEL, rightness
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.quantities import ANSWERS, answer_quantities
from pytest_iaside.models.backends import open_backend
from pytest_iaside.models.backends.base import Unfit
from pytest_iaside.stats.temperature import temperature_of

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
    """Images that gates draw from, and ``others`` that tell the truth.

    Others are tensors of the same images: clean, under TRUTH, and under the panel. Images that
    show the same thing, in turn, are ``copies`` of one.
    """

    sample: ReferenceSample
    others: tuple[Tensor, ...]
    labels: Tensor
    copies: int


def pool_of(sample: ReferenceSample, others: ReferenceSample, copies: int = 1) -> Pool:
    """The pool ``sample``, and ``others`` as they are, under TRUTH and under the panel."""
    assert others.labels is not None
    corrupted = (corrupt(others.pixels(), *each, seed=0).float() for each in (*TRUTH, *PANEL))
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
    """Digits of twenty classes; what one broken class costs needs no corruptions."""
    images, labels = twenty_digits()
    sample = ReferenceSample(images, labels)
    return Pool(sample, (sample.pixels(),), labels, copies=1)


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
        with ExitStack() as stack:
            settings = {
                "batch_size": change.batch or 8,
                "inputs": normalise(self._pool.sample.pixels(0, 8)),
            }
            backend = change.backend or ("openvino" if photographs else "eager")
            try:
                ready = stack.enter_context(
                    open_backend(Classifier(trunk), backend=backend, **settings)
                )
            except Unfit:  # Such as rounded activations: they jump with the last digit.
                ready = stack.enter_context(
                    open_backend(Classifier(trunk), backend="eager", **settings)
                )
            run = ready.forward

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


def measure_all(tables: Path, pools: dict[str, Pool], changes: Named) -> None:
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
            kept = others_kept(tables, name)
            if kept and len(kept["hits"]) >= len(pool.others):
                continue
            change, began = todo[name], time.perf_counter()
            try:
                with models.opened(change) as classifier:
                    if not kept:
                        before = Measured.load(tables, first) if name != first else None
                        execution = Execution(batch_size=change.batch or "auto")
                        profile, logits = measure_one(classifier, pool, execution, before)
                        # The logits are its answers.
                        replace(profile, answers=None).save(file_of(tables, name))
                        kept = {"logits": logits}
                    kept = measure_others(classifier, pool, kept)
            except ImportError as error:
                print(f"left out: {base} ({error})")
                break
            np.savez(file_of(tables, name).with_suffix(".other.npz"), **kept)
            print(f"  {time.perf_counter() - began:4.0f} s  {name}", file=sys.stderr, flush=True)


def measure_one(
    classifier: Classifier, pool: Pool, execution: Execution, before: Measured | None
) -> tuple[SpectralProfile, np.ndarray]:
    """The profile of the pool, and its logits (1 + panel, K, classes)."""
    panel = np.stack(answers(classifier, pool.sample, [None, *PANEL], execution=execution))
    ratio = None
    if before is not None:
        # As the gate does: at the confidence of the baseline, where nothing else differs.
        both = before.answered(panel).profile.answers, before.profile.answers
        ratio = explained_by_temperature(*both)
    profile = measure(classifier, pool.sample, execution=execution, temperature=ratio or 1.0)
    return profile, panel.astype(np.float32)


def measure_others(
    classifier: Classifier, pool: Pool, kept: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The ``logits`` of ``kept``, and ``hits`` and ``log_likelihood`` (1 + TRUTH + panel, N) of
    the other images; what ``kept`` has of them is not measured again."""
    truth = pool.sample.labels
    assert truth is not None
    temperature = temperature_of(kept["logits"][0].astype(float), truth.numpy())
    hits, likelihoods = [], []
    for images in pool.others[len(kept.get("hits", ())) :]:
        run, batches = cast(nn.Module, classifier.network), images.split(24)
        logits = torch.cat([run(classifier.normalise(some)) for some in batches]).double()
        each = (logits / temperature).log_softmax(dim=1).gather(1, pool.labels[:, None])[:, 0]
        hits.append((logits.argmax(dim=1) == pool.labels).double())
        likelihoods.append(each)
    means = (
        torch.stack(each).unflatten(1, (pool.copies, -1)).mean(1) for each in (hits, likelihoods)
    )
    found = dict(kept)
    for name, each in zip(("hits", "log_likelihood"), means, strict=True):
        found[name] = np.concatenate([*([kept[name]] if name in kept else []), each.numpy()])
    return found


# ------------------------------------------------------------------- what is kept of them


def others_kept(tables: Path, name: str) -> dict[str, np.ndarray]:
    """What ``measure_all`` kept of ``name`` beside the profile; nothing where it kept nothing."""
    file = file_of(tables, name).with_suffix(".other.npz")
    if not file.exists():
        return {}
    with np.load(file) as arrays:
        return {each: arrays[each] for each in arrays.files}


@dataclass(frozen=True, eq=False)
class Measured:
    """A model measured: on the pool by the profile and the logits, and on other images."""

    profile: SpectralProfile
    logits: np.ndarray
    """(1 + panel, K, classes)"""
    hits: np.ndarray
    """(1 + TRUTH + panel, N)"""
    log_likelihood: np.ndarray
    """(1 + TRUTH + panel, N), at the model's own temperature."""

    @classmethod
    def load(cls, tables: Path, name: str) -> Measured:
        """What ``measure_all`` kept of ``name``; FileNotFoundError where it kept nothing."""
        if not (others := others_kept(tables, name)):
            raise FileNotFoundError(f"{tables} holds no measurement of {name!r}")
        profile = SpectralProfile.load(file_of(tables, name))
        return cls(profile, **others).answered(others["logits"])

    def answered(self, logits: np.ndarray) -> Measured:
        """The same with the answers that ``logits`` are."""
        profile = self.profile
        panel = [f"{name} {severity}" for name, severity in PANEL]
        found = Measurement(
            kind=ANSWERS,
            quantities=answer_quantities(panel),
            values=rightness(list(logits), profile.labels),
            **{each: getattr(profile, each) for each in OF_IMAGES},
            settings={"panel": panel, "seed": 0},
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

"""Models measured to see what foretells their losses: predictors, and truth on other images."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import special
from scrapbook import zoo

from common import changes as by
from common.change_sets import CHOSEN_ON, SET_ASIDE
from common.changes import Change, digits
from common.measured import CROP, RESIZE, Models, Pool
from pytest_iaside import (
    CORRUPTIONS,
    Classifier,
    ReferenceSample,
    SettingsError,
    SpectralProfile,
    corrupt,
    measure,
)
from pytest_iaside.measure.answers import answers
from pytest_iaside.measure.band_changes import band_changes, surrogate
from pytest_iaside.measure.response import BandResponse, spectral_response
from pytest_iaside.stats.temperature import temperature_of

SCORES = ("log-likelihood", "probability", "accuracy")
SURROGATES = ("each", "mean")
"""By the gains and energies of each image, or by their means: an environment's spectrum alone."""


@dataclass(frozen=True, eq=False)
class Subjects:
    """The ``models`` of a study, by name with their recipe; ``own`` temperatures as well, or not.

    Predictors are measured on ``known``, the game on the first ``played`` of them, or not at all;
    what is to be foretold on ``truth``, other images.
    """

    models: Mapping[str, tuple[str, Callable[[], AbstractContextManager[Classifier]]]]
    known: ReferenceSample
    truth: ReferenceSample
    played: int
    severity: int
    own: bool
    corruptions: tuple[str, ...] = CORRUPTIONS
    surrogates: tuple[str, ...] = SURROGATES
    copies: int = 1
    """How many images of ``truth`` show the same thing: all of them, then all again, and so on."""

    @property
    def game(self) -> ReferenceSample:
        return self.known.take(range(self.played or len(self.known)))


def digit_readers() -> Subjects:
    """The 44 digit readers of 21 recipes of ``make studies``."""

    def opened(name: str) -> AbstractContextManager[Classifier]:
        return nullcontext(Classifier(zoo.load(name), name=name))

    _, held_out = digits()
    known, truth = (
        ReferenceSample(held_out.images[part], held_out.labels[part])
        for part in (slice(200), slice(200, 800))
    )
    models = {name: (each.recipe, partial(opened, name)) for name, each in zoo.models().items()}
    return Subjects(models, known, truth, played=200, severity=3, own=True)


def untrained() -> int:
    """How many digit readers ``python -m scrapbook.zoo`` has not trained yet."""
    return sum(not (zoo.FOLDER / f"{name}.pt").exists() for name in zoo.models())


CHANGED = {
    "Lite0": (
        *("head noise 30 %", "head noise 60 %"),
        *("bias +2 on 50 classes", "bias +9 on one class", "head noise 10 %", "head of 4 bits"),
        *("15 % pruned", "5-bit weights", "statistics 10 % off", "4 % weight noise", "BGR"),
        *("bicubic by half", "1 % of channels dropped", "gamma 1.3", "JPEG 30", "6-bit weights"),
        *("no antialias", "10 % pruned", "statistics 5 % off", "temperature ×2", "median filter"),
    ),
    "Lite1": ("5-bit weights", "statistics 4 % off", "head noise 15 %"),
}
"""Changes that cost something, or make a model more robust to something.

Not tuned heads: they were tuned on the very photographs that predictors are measured on.
"""
MORE = {
    "Lite1, 10 % pruned": Change(base="Lite1", weights=partial(by.pruned, 0.1)),
    "Lite1, 4 % weight noise": Change(base="Lite1", weights=partial(by.noisy_weights, 0.04)),
    "Lite1, JPEG 30": Change(base="Lite1", pixels=partial(by.jpeg, 30)),
    "Lite1, BGR": Change(base="Lite1", pixels=lambda x: x.flip(1)),
    "Lite1, half the size": Change(base="Lite1", pixels=partial(by.resized, 0.5, antialias=True)),
}
"""Changes that no limit of a gate was chosen on or tried with."""
TEN = (
    *("white_noise", "salt_and_pepper", "defocus_blur", "motion_blur", "zoom_blur", "snow"),
    *("fog", "contrast", "pixelate", "jpeg_compression"),
)


def photograph_models(folder: Path) -> Subjects:
    """EfficientNet-Lite0 and -Lite1 changed as projects do; a recipe is a kind of change."""
    sample = ReferenceSample.from_folder(
        folder, labels=folder / "labels.csv", resize=RESIZE, crop=CROP
    )
    assert sample.labels is not None
    known, other = sample.take(range(0, len(sample), 2)), sample.take(range(1, len(sample), 2))
    mirrored = torch.cat([other.images, other.images.flip(-1)])
    assert other.labels is not None
    truth = ReferenceSample(mirrored, other.labels.repeat(2))
    pool = Pool(known, (), known.labels, copies=1)
    known_changes = CHOSEN_ON | SET_ASIDE
    changes = {f"{base}, baseline": Change(base=base) for base in CHANGED}
    for base, names in CHANGED.items():
        changes |= {name: known_changes[name] for name in (f"{base}, {each}" for each in names)}
    changes |= MORE
    by_base = {base: Models(base, pool) for base in CHANGED}
    models = {
        name: (kind_of_change(name), partial(by_base[change.base].opened, change))
        for name, change in changes.items()
    }
    return Subjects(
        models, known, truth, played=len(known), severity=2, own=False, corruptions=TEN, copies=2
    )


def kind_of_change(name: str) -> str:
    """What was done, without how much of it: "10 % pruned" and "2 % pruned" are one recipe."""
    base, _, change = name.partition(", ")
    kind = change.partition(",")[0].split()
    words = [each for each in kind if not any(letter.isdigit() for letter in each)]
    return f"{base}, {' '.join(word for word in words if word != '%')}"


# ------------------------------------------------------------------- measuring


def environments(subjects: Subjects) -> list[str]:
    """The corruptions that fit the images."""
    found = []
    for name in subjects.corruptions:
        try:
            corrupt(subjects.known.images[:1], name, subjects.severity)
        except SettingsError as error:
            print(f"left out: {name} ({error})", file=sys.stderr)
        else:
            found.append(name)
    return found


def measure_all(tables: Path, subjects: Subjects) -> None:
    """Measure every model that ``tables`` has not."""
    tables.mkdir(parents=True, exist_ok=True)
    todo = [name for name in subjects.models if not file_of(tables, name).exists()]
    if not todo:
        return
    names = environments(subjects)
    corrupted = {
        which: [_changed(sample, name, subjects.severity) for name in names]
        for which, sample in (("truth", subjects.truth), ("known", subjects.known))
    }
    surrogates = [each for name in names for each in _surrogates(subjects, name)]
    for name in todo:
        began = time.perf_counter()
        with subjects.models[name][1]() as classifier:
            kept = _measured(tables, name, classifier, subjects, corrupted, surrogates)
        np.savez(file_of(tables, name), environments=names, **kept)
        print(f"  {time.perf_counter() - began:4.0f} s  {name}", file=sys.stderr, flush=True)


def _changed(sample: ReferenceSample, name: str, severity: int) -> ReferenceSample:
    return ReferenceSample(
        corrupt(sample.images, name, severity), sample.labels, names=sample.names
    )


def _surrogates(subjects: Subjects, name: str) -> Iterator[ReferenceSample]:
    changes = band_changes(subjects.known, (name, subjects.severity), centred=True)
    for which in subjects.surrogates:
        chosen = changes if which == "each" else changes.averaged(subjects.known)
        yield surrogate(subjects.known, chosen)


def _measured(
    tables: Path,
    name: str,
    classifier: Classifier,
    subjects: Subjects,
    corrupted: Mapping[str, list[ReferenceSample]],
    surrogates: list[ReferenceSample],
) -> dict[str, np.ndarray]:
    """Scores of truth and of known images (T, 1+P, K, 3), and of surrogates (T, P, V, K, 3).

    T are temperatures: 1, and the model's own.
    """
    truth = answers(classifier, subjects.truth, [None, *corrupted["truth"]])
    known = answers(classifier, subjects.known, [None, *corrupted["known"], *surrogates])
    assert subjects.known.labels is not None and subjects.truth.labels is not None
    temperature = temperature_of(known[0], subjects.known.labels.numpy())
    for which, heat in [("as it is", 1.0), ("own", temperature)][: 1 + subjects.own]:
        cooled = _at(classifier, heat)
        path = part_of(tables, name, which, "game")
        if subjects.played and not path.exists():
            measure(cooled, subjects.game).save(path)
        if not (path := part_of(tables, name, which, "response")).exists():
            spectral_response(cooled, subjects.known).save(path)
    both = (1.0, temperature)
    of_truth, of_known = (
        np.stack([_scores(np.stack(logits), sample.labels.numpy(), heat) for heat in both])
        for logits, sample in ((truth, subjects.truth), (known, subjects.known))
    )
    count = len(corrupted["known"])
    shape = (2, count, len(subjects.surrogates), *of_known.shape[2:])
    return {
        "truth": of_truth,
        "known": of_known[:, : 1 + count],
        "surrogates": of_known[:, 1 + count :].reshape(shape),
        "temperature": np.array(temperature),
    }


def _at(classifier: Classifier, temperature: float) -> Classifier:
    """The same with logits divided by ``temperature``."""
    if temperature == 1.0:
        return classifier

    def cooled(inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = classifier.network(inputs)
        return logits / temperature

    return Classifier(cooled, mean=classifier.mean, std=classifier.std, name=classifier.name)


def _scores(logits: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    """log Q, Q and whether the answer is right, (…, K, 3), of logits (…, K, C)."""
    every = special.log_softmax(logits / temperature, axis=-1)
    chosen = np.take_along_axis(
        every, np.broadcast_to(labels[:, None], (*every.shape[:-1], 1)), axis=-1
    )[..., 0]
    right = (every.argmax(axis=-1) == labels).astype(float)
    return np.stack([chosen, np.exp(chosen), right], axis=-1)


# ------------------------------------------------------------------- what is kept


def file_of(tables: Path, name: str) -> Path:
    plain = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in name)
    return tables / f"{plain}.npz"


def part_of(tables: Path, name: str, which: str, what: str) -> Path:
    stem = file_of(tables, name).stem
    return tables / f"{stem}.{which.replace(' ', '_')}.{what}.yaml"


@dataclass(frozen=True, eq=False)
class Kept:
    """What was measured of one model."""

    recipe: str
    arrays: Mapping[str, np.ndarray]
    profiles: tuple[SpectralProfile, ...]
    responses: tuple[BandResponse, ...]
    """At temperature 1, and where it was measured at the model's own."""


def kept(tables: Path, subjects: Subjects) -> dict[str, Kept]:
    """Every model of which ``tables`` holds all."""
    found = {}
    for name, (recipe, _) in subjects.models.items():
        if not file_of(tables, name).exists():
            continue
        with np.load(file_of(tables, name)) as arrays:
            read = {each: arrays[each] for each in arrays.files}
        which = ("as it is", "own")[: 1 + subjects.own]
        found[name] = Kept(
            recipe,
            read,
            tuple(
                SpectralProfile.load(part_of(tables, name, each, "game"))
                for each in which
                if subjects.played
            ),
            tuple(BandResponse.load(part_of(tables, name, each, "response")) for each in which),
        )
    return found

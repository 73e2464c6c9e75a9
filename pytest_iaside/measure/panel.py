"""The answers themselves: clean, and under a panel of perturbations (SPEC.md 12 and 14).

They see harm where the game sees where it comes from: accuracy, log-likelihood and the probability
of the label, at the model's own temperature, so that another confidence alone is no harm.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import Labelled, check_reference, first_images, on_labels_of
from pytest_iaside.measure.answers import answers, labels_of
from pytest_iaside.measure.game.cached import CHANGED, forget_model, key_of
from pytest_iaside.measure.game.replay import agree
from pytest_iaside.measure.measurement import Measurement, Quantity, Unit, columns
from pytest_iaside.measure.metrics import correct
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo, environment
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.perturb.corruptions import check_corruption, check_fit, check_severity, corrupt
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.structured import label_information
from pytest_iaside.stats.temperature import temperature_of
from pytest_iaside.store.cache import Entry, Found, ResultCache

KIND = "answers"
AUTO: Literal["auto"] = "auto"
Corruption = tuple[str, int]
Panel = Sequence[Corruption] | Literal["auto"] | None
T = TypeVar("T", bound=Measurement)
# Noise, blur, a loss of contrast, lost detail and light: five ways to perturb that differ in where
# in the spectrum they lie, each at the middle severity. benchmarks/gate_calibration.py shows what
# they see of real changes.
PANEL: tuple[Corruption, ...] = (
    ("white_noise", 3),
    ("gaussian_blur", 3),
    ("contrast", 3),
    ("jpeg_compression", 3),
    ("brightness", 3),
)
TITLES: dict[str, Unit] = {
    "accuracy": "hit",
    "log-likelihood": "nats",
    "probability of the label": "share",
}
# The families of quantities: of the images as they are, under each perturbation, the mean of all.
CLEAN, PERTURBED, MEAN = "clean", "perturbed", "mean"
# Quantities of the images as they are that nothing limits: the temperature; the log-likelihood as
# the model gives it, L(all) of SPEC.md 12; what the image tells about its label.
TEMPERATURE, AS_ANSWERED, INFORMATION = "temperature", "L(all)", "information"


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers(Measurement, kind=KIND):
    """How right each of K images is answered, clean and under a panel: ``settings["panel"]``."""

    kind: str = field(default=KIND, init=False)
    quantities: tuple[Quantity, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantities", quantities_of(self.settings["panel"]))

    @classmethod
    def _own(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        if not all(isinstance(each, str) for each in document["settings"]["panel"]):
            raise ValueError(f"the panel is {document['settings']['panel']!r}")
        return {"settings": document["settings"]}


def measure_answers(
    model: Any,
    reference: ReferenceSample,
    panel: Panel = AUTO,
    *,
    samples: int | Literal["auto"] | None = None,
    seed: int = 0,
    execution: Execution = Execution(),
    labels_from: Labelled | None = None,
    cache: bool = False,
) -> Answers:
    """How right each image is answered, as it is and under each corruption of ``panel``.

    The quantities are accuracy, log-likelihood (nats) and probability of the label: clean, under
    each corruption, and their mean over all of these. The latter two are taken at the temperature
    at which the model's clean logits say the most of the labels (SPEC.md 14), which is a quantity
    too, the same for every image; so are L(all) as the model gives it, and what the image tells
    about its label (stats/structured.py). Without labels in ``reference`` the predictions on the
    clean images count, or those of ``labels_from``. ``panel`` "auto" is the usual one, as far as
    the images allow. ``cache`` as in ``measure``; of what is kept every image is answered again
    once, clean or under one corruption drawn anew.

    Raises as ``mean_prediction_error``.
    """
    began = time.perf_counter()
    check_reference(reference)
    classifier = as_classifier(model)
    sample = on_labels_of(first_images(reference, samples), labels_from)
    chosen = panel_of(panel, sample.shape)
    asked = Asked(classifier, sample, (None, *chosen), seed, execution)
    found = asked.kept() if cache else None
    from_cache = 0 if found is None else asked.passes
    if found is None:
        found = asked.run()
        if cache:
            asked.keep(found)
    labels = labels_of(sample, found[0])
    return Answers(
        values=rightness(found, labels),
        digests=sample.digests,
        names=sample.names,
        labels=labels,
        settings={
            "panel": [f"{name} {severity}" for name, severity in chosen],
            "seed": seed,
            **execution.settings,
        },
        reference=ReferenceInfo.of(reference),
        model=ModelInfo.of(classifier, found[0].shape[1]),
        forward_passes=asked.passes,
        passes_from_cache=from_cache,
        passes_replayed=asked.replayed,
        notes=(asked.note,) if asked.note else (),
        environment=environment(),
        seconds=time.perf_counter() - began,
    )


def panel_of(panel: Panel, shape: tuple[int, int, int]) -> tuple[Corruption, ...]:
    """The corruptions of ``panel`` for images of ``shape``; raises SettingsError for others."""
    if panel == AUTO:
        return tuple(each for each in PANEL if _fits(each, shape))
    try:
        found = tuple((str(name), severity) for name, severity in panel or ())
    except (TypeError, ValueError):
        raise SettingsError(
            f"panel={panel!r} cannot be used; expected 'auto', none, or corruptions with their "
            "severities, such as [('white_noise', 3), ('contrast', 2)]"
        ) from None
    for name, severity in found:
        check_corruption(name)
        check_severity(severity)
        check_fit(name, severity, shape)
    if len(set(found)) < len(found):
        raise SettingsError(f"panel={panel!r} names a corruption twice; name each once")
    return found


def _fits(corruption: Corruption, shape: tuple[int, int, int]) -> bool:
    try:
        check_fit(*corruption, shape)
    except SettingsError:
        return False
    return True


@dataclass(eq=False)
class Asked:
    """What a classifier is asked of a sample, and what is kept of its answers in the cache."""

    classifier: Classifier
    sample: ReferenceSample
    perturbations: tuple[Corruption | None, ...]
    seed: int
    execution: Execution
    replayed: int = 0
    note: str = ""

    @property
    def passes(self) -> int:
        return len(self.sample) * len(self.perturbations)

    @cached_property
    def key(self) -> str | None:
        asked = [list(each or ("clean", 0)) for each in self.perturbations]
        facts = {"answers": asked, "seed": self.seed, **self.execution.settings}
        return key_of(self.classifier, self.execution, facts)

    def run(self) -> list[Floats]:
        """Logits (K, C) under each perturbation."""
        return answers(
            self.classifier,
            self.sample,
            self.perturbations,
            seed=self.seed,
            execution=self.execution,
        )

    def keep(self, found: Sequence[Floats]) -> None:
        """Keep the logits of every image."""
        if self.key is not None:
            count = len(self.sample)
            rows = [
                Found({str(at): logits[image] for at, logits in enumerate(found)}, {})
                for image in range(count)
            ]
            title = f"{self.classifier.name}, answers under {len(found) - 1} perturbations"
            ResultCache().put(self.key, title, self._entries(), [KIND] * count, rows)

    def kept(self) -> list[Floats] | None:
        """The logits kept of all images, if they are, and what is answered again agrees."""
        if self.key is None:
            return None
        cache = ResultCache()
        rows = [row for row in cache.get(self.key, self._entries()) if row is not None]
        if len(rows) < len(self.sample):
            return None
        found = [
            np.stack([row.arrays[str(at)] for row in rows]) for at in range(len(self.perturbations))
        ]
        differs = self._replay(found)
        if not differs:
            return found
        forget_model(cache, self.key)
        self.note = CHANGED.format(differs)
        return None

    def _replay(self, found: Sequence[Floats]) -> str:
        """The name of an image that is answered otherwise now, each asked once; else empty."""
        # Of the images as they are the game answers again, where it is played.
        least = min(1, len(self.perturbations) - 1)
        views = np.random.default_rng().integers(
            least, len(self.perturbations), size=len(self.sample)
        )
        drawn = views
        self.replayed = len(self.sample)
        images = torch.as_tensor(self.sample.images).clone()
        for at, perturbation in enumerate(self.perturbations):
            some = np.flatnonzero(drawn == at).tolist()
            if perturbation is not None and some:
                images[some] = corrupt(self.sample.images[some], *perturbation, seed=self.seed)
        sample = ReferenceSample(images, names=self.sample.names)
        (again,) = answers(self.classifier, sample, [None], execution=self.execution)
        for image, at in enumerate(drawn):
            now, kept = (special.log_softmax(each[image]) for each in (again, found[at]))
            if not agree(now, kept, self.execution.dtype):
                return self.sample.names[image]
        return ""

    def _entries(self) -> list[Entry]:
        return [Entry(digest, KIND) for digest in self.sample.digests]


def with_answers(measured: T, answers: Measurement) -> T:
    """``measured`` with the ``answers`` of its model to as many images or more."""
    return replace(
        measured,
        answers=answers,
        forward_passes=measured.forward_passes + answers.forward_passes,
        passes_from_cache=measured.passes_from_cache + answers.passes_from_cache,
        passes_replayed=measured.passes_replayed + answers.passes_replayed,
        notes=tuple(dict.fromkeys((*measured.notes, *answers.notes))),
        seconds=measured.seconds + answers.seconds,
    )


def rightness(logits: Sequence[Floats], labels: NDArray[Any]) -> Floats:
    """The values (K, Q) of Answers of ``logits`` (K, C), clean and under each of a panel."""
    temperature = temperature_of(logits[0], labels)
    values = []
    for read in (
        correct,
        partial(log_likelihoods, temperature=temperature),
        partial(probabilities, temperature=temperature),
    ):
        rows = [read(each, labels) for each in logits]
        values += rows
        if len(logits) > 1:
            values.append(np.mean(rows, axis=0))
    return columns(
        *values,
        np.full(len(labels), temperature),
        log_likelihoods(logits[0], labels, temperature=1.0),
        label_information(special.log_softmax(logits[0], axis=1), labels),
    )


def quantities_of(panel: Sequence[str]) -> tuple[Quantity, ...]:
    """The quantities of Answers under ``panel``, corruptions with their severities."""
    places = [(CLEAN, ", clean"), *((PERTURBED, f" under {each}") for each in panel)]
    if panel:
        places.append((MEAN, ", clean and perturbed"))
    found = []
    for title, unit in TITLES.items():
        for family, place in places:
            # The mean of hits is none.
            shown: Unit = "share" if unit == "hit" and family == MEAN else unit
            found.append(_quantity(f"{title}{place}", f"{family} {title.partition(' ')[0]}", shown))
    alone: tuple[tuple[str, Unit], ...] = (
        (TEMPERATURE, "count"),
        (AS_ANSWERED, "nats"),
        (INFORMATION, "nats"),
    )
    return (*found, *(_quantity(name, name, unit) for name, unit in alone))


def clean_answers(answers: Measurement) -> Measurement:
    """The answers to the images as they are, without those under a panel."""
    names = [quantity.name for quantity in answers.quantities]
    kept = [names.index(quantity.name) for quantity in quantities_of(())]
    return replace(answers, values=answers.values[:, kept], settings={"panel": []})


def log_likelihoods(logits: Floats, labels: NDArray[Any], *, temperature: float) -> Floats:
    """Σ_y P(y|x)·log Q(y|x), (K,) in nats, of logits (K, C) divided by ``temperature``."""
    scaled = special.log_softmax(logits / temperature, axis=1)
    if labels.ndim == 2:
        return np.asarray(np.where(labels > 0, labels * scaled, 0.0).sum(axis=1))
    return np.asarray(scaled[np.arange(len(scaled)), labels])


def probabilities(logits: Floats, labels: NDArray[Any], *, temperature: float) -> Floats:
    """The probability of the label, (K,), of logits (K, C) divided by ``temperature``."""
    return np.asarray(np.exp(log_likelihoods(logits, labels, temperature=temperature)))


def _quantity(name: str, family: str, unit: Unit) -> Quantity:
    return Quantity(name=name, family=family, better="higher", unit=unit)

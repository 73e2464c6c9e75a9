"""The answers themselves: clean, and under a panel of perturbations (SPEC.md 12 and 14).

They see harm where the game sees where it comes from: accuracy, log-likelihood and the probability
of the label, at the model's own temperature, so that another confidence alone is no harm.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import (
    Labelled,
    check_reference,
    first_images,
    notes_on,
    on_labels_of,
)
from pytest_iaside.images.similar import SIMILAR
from pytest_iaside.measure.answers import labels_of
from pytest_iaside.measure.asked import Asked, Corruption
from pytest_iaside.measure.game.replay import Again
from pytest_iaside.measure.measurement import Measurement, columns
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo, environment
from pytest_iaside.measure.quantities import ANSWERS, TASK_TITLES, answer_quantities
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.models.tasks import SOFTMAX, Rated, Task
from pytest_iaside.perturb.corruptions import check_corruption, check_fit, check_severity
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.structured import label_information, labels_information
from pytest_iaside.stats.temperature import temperature_of, temperature_of_labels

AUTO: Literal["auto"] = "auto"
Panel = Sequence[Corruption] | Literal["auto", "none"] | None
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
    again: Again | None = None,
) -> Measurement:
    """How right each image is answered, as it is and under each corruption of ``panel``.

    The quantities are accuracy, log-likelihood (nats) and probability of the label: clean, under
    each corruption, and their mean over all of these. The latter two are taken at the temperature
    at which the model's clean logits say the most of the labels (SPEC.md 14), which is a quantity
    too, the same for every image; so are L(all) as the model gives it, and what the image tells
    about its label (stats/structured.py). Without labels in ``reference`` the predictions on the
    clean images count, or those of ``labels_from``. ``panel`` "auto" is the usual one, as far as
    the images allow. ``cache`` as in ``measure``; of what is kept every image is answered
    again, as it is and under one corruption drawn anew. ``again`` takes the clean logits that were
    answered in this run.

    Raises as ``mean_prediction_error``.
    """
    began = time.perf_counter()
    check_reference(reference)
    classifier = as_classifier(model)
    taken = first_images(reference, samples)
    sample = on_labels_of(taken, labels_from)
    chosen = panel_of(panel, sample.shape)
    again = {} if again is None else again
    asked = Asked(classifier, sample, (None, *chosen), seed, execution, again)
    found = asked.found(cache)
    labels = labels_of(sample, found[0], classifier.task)
    named = [f"{name} {severity}" for name, severity in chosen]
    return Measurement(
        kind=ANSWERS,
        quantities=answer_quantities(named, classifier.task.kind),
        values=rightness(found, labels, classifier.task),
        digests=sample.digests,
        names=sample.names,
        groups=sample.groups,
        labels=labels,
        settings={"panel": named, "seed": seed, **execution.settings},
        reference=ReferenceInfo.of(reference),
        model=ModelInfo.of(classifier, found[0].shape[1]),
        forward_passes=asked.passes,
        passes_from_cache=asked.from_cache,
        passes_replayed=asked.replayed,
        notes=(*((asked.note,) if asked.note else ()), *notes_on(taken)),
        environment=environment(),
        seconds=time.perf_counter() - began,
    )


def panel_of(panel: Panel, shape: tuple[int, int, int]) -> tuple[Corruption, ...]:
    """The corruptions of ``panel`` for images of ``shape``; raises SettingsError for others."""
    if panel == "none":
        return ()
    if panel == AUTO:
        return tuple(each for each in PANEL if _fits(each, shape))
    try:
        found = tuple((str(name), severity) for name, severity in panel or ())
    except (TypeError, ValueError):
        raise SettingsError(
            f"panel={panel!r} cannot be used; expected 'auto', 'none', or corruptions with their "
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


def with_answers(measured: T, answers: Measurement) -> T:
    """``measured`` with the ``answers`` of its model to as many images or more."""
    return replace(
        measured,
        answers=answers,
        forward_passes=measured.forward_passes + answers.forward_passes,
        passes_from_cache=measured.passes_from_cache + answers.passes_from_cache,
        passes_replayed=measured.passes_replayed + answers.passes_replayed,
        notes=tuple(dict.fromkeys((*_without_similar(measured.notes, answers), *answers.notes))),
        seconds=measured.seconds + answers.seconds,
    )


def _without_similar(notes: Sequence[str], answers: Measurement) -> list[str]:
    """``notes`` without that on images that look alike where ``answers``, of all, have one."""
    told = any(note.startswith(SIMILAR) for note in answers.notes)
    return [note for note in notes if not (told and note.startswith(SIMILAR))]


def rightness(answers: Sequence[Floats], labels: NDArray[Any], task: Task = SOFTMAX) -> Floats:
    """The values (K, Q) of answers (K, C), clean and under each of a panel.

    Answers are logits, or a score (K, 1); ``labels`` as a measurement holds them.
    """
    clean, temperature = answers[0], 1.0
    if task.kind == "softmax":
        temperature = temperature_of(clean, labels)
    elif task.kind == "multilabel":
        temperature = temperature_of_labels(clean, labels)
    values = []
    for title in TASK_TITLES[task.kind]:
        rating = task.rated[title.partition(" ")[0]]
        rows = [rated(each, labels, rating, temperature) for each in answers]
        values += rows
        if len(answers) > 1:
            values.append(np.mean(rows, axis=0))
    as_answered = rated(clean, labels, task.value, 1.0)
    return columns(
        *values, np.full(len(labels), temperature), as_answered, information_of(clean, labels, task)
    )


def rated(answers: Floats, labels: NDArray[Any], rating: Rated, temperature: float = 1.0) -> Floats:
    """How right ``answers`` (K, C), divided by ``temperature``, are by ``rating``, (K,)."""
    found = rating(torch.from_numpy(answers / temperature), torch.from_numpy(labels))
    return np.asarray(found.numpy(), dtype=np.float64)


def information_of(answers: Floats, labels: NDArray[Any], task: Task = SOFTMAX) -> Floats:
    """What each image tells about what is right of it, (K,), in the task's unit.

    By how much that is likelier for this image than for the others (stats/structured.py); of a
    score nothing is known but the score itself.
    """
    if task.kind == "softmax":
        return label_information(special.log_softmax(answers, axis=1), labels)
    if task.kind == "multilabel":
        return labels_information(answers, labels)
    return answers[:, 0]


def clean_answers(answers: Measurement) -> Measurement:
    """The answers to the images as they are, without those under a panel."""
    names = [quantity.name for quantity in answers.quantities]
    clean = answer_quantities((), answers.model.task)
    columns_kept = [names.index(quantity.name) for quantity in clean]
    values = answers.values[:, columns_kept]
    trainings = tuple(clean_answers(each) for each in answers.trainings)
    return replace(
        answers, quantities=clean, values=values, settings={"panel": []}, trainings=trainings
    )

"""The answers themselves: clean, and under a panel of perturbations (SPEC.md 12 and 14).

They see harm where the game sees where it comes from: accuracy, log-likelihood and the probability
of the label, at the model's own temperature, so that another confidence alone is no harm.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import Labelled, check_reference, first_images, on_labels_of
from pytest_iaside.measure.answers import answers, labels_of
from pytest_iaside.measure.measurement import Measurement, Quantity, columns
from pytest_iaside.measure.metrics import correct
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo, environment
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.structured import label_information
from pytest_iaside.stats.temperature import temperature_of

KIND = "answers"
Corruption = tuple[str, int]
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
# The families of quantities: of the images as they are, under each perturbation, the mean of all.
CLEAN, PERTURBED, MEAN = "clean", "perturbed", "mean"
# Quantities of the images as they are that nothing limits: the temperature; the log-likelihood as
# the model gives it, L(all) of SPEC.md 12; what the image tells about its label.
TEMPERATURE, AS_ANSWERED, INFORMATION = "temperature", "L(all)", "information"


def measure_answers(
    model: Any,
    reference: ReferenceSample,
    panel: Sequence[Corruption] = PANEL,
    *,
    samples: int | Literal["auto"] | None = None,
    seed: int = 0,
    execution: Execution = Execution(),
    labels_from: Labelled | None = None,
) -> Measurement:
    """How right each image is answered, as it is and under each corruption of ``panel``.

    The quantities are accuracy, log-likelihood (nats) and probability of the label: clean, under
    each corruption, and their mean over all of these. The latter two are taken at the temperature
    at which the model's clean logits say the most of the labels (SPEC.md 14), which is a quantity
    too, the same for every image; so are L(all) as the model gives it, and what the image tells
    about its label (stats/structured.py). Without labels in ``reference`` the predictions on the
    clean images count, or those of ``labels_from``.

    Raises as ``mean_prediction_error``.
    """
    began = time.perf_counter()
    check_reference(reference)
    classifier = as_classifier(model)
    sample = on_labels_of(first_images(reference, samples), labels_from)
    found = answers(classifier, sample, [None, *panel], seed=seed, execution=execution)
    labels = labels_of(sample, found[0])
    return Measurement(
        kind=KIND,
        **rightness(found, labels, panel),
        digests=sample.digests,
        names=sample.names,
        labels=labels,
        settings={
            "panel": [f"{name} {severity}" for name, severity in panel],
            "seed": seed,
            **execution.settings,
        },
        reference=ReferenceInfo.of(reference),
        model=ModelInfo.of(classifier, found[0].shape[1]),
        forward_passes=len(sample) * len(found),
        environment=environment(),
        seconds=time.perf_counter() - began,
    )


def rightness(
    logits: Sequence[Floats], labels: NDArray[Any], panel: Sequence[Corruption] = ()
) -> dict[str, Any]:
    """Quantities and values (K, Q) of ``logits`` (K, C), clean and under each of ``panel``."""
    temperature = temperature_of(logits[0], labels)
    places = [", clean", *(f" under {name} {severity}" for name, severity in panel)]
    families = [CLEAN, *(PERTURBED for _ in panel)]
    quantities, values = [], []
    for title, unit, read in (
        ("accuracy", "hit", correct),
        ("log-likelihood", "nats", partial(log_likelihoods, temperature=temperature)),
        ("probability of the label", "share", partial(probabilities, temperature=temperature)),
    ):
        rows = [read(each, labels) for each in logits]
        short = title.partition(" ")[0]
        for place, family, row in zip(places, families, rows, strict=True):
            quantities.append(_quantity(f"{title}{place}", f"{family} {short}", unit))
            values.append(row)
        if panel:
            mean = "share" if unit == "hit" else unit
            quantities.append(_quantity(f"{title}, mean of all", f"{MEAN} {short}", mean))
            values.append(np.mean(rows, axis=0))
    raw = special.log_softmax(logits[0], axis=1)
    for name, unit, row in (
        (TEMPERATURE, "count", np.full(len(labels), temperature)),
        (AS_ANSWERED, "nats", log_likelihoods(logits[0], labels, temperature=1.0)),
        (INFORMATION, "nats", label_information(raw, labels)),
    ):
        quantities.append(_quantity(name, name, unit))
        values.append(row)
    return {"quantities": tuple(quantities), "values": columns(*values)}


def clean_answers(answers: Measurement) -> Measurement:
    """The answers to the images as they are, without those under a panel."""
    dropped = [family + " " for family in (PERTURBED, MEAN)]
    kept = [
        at
        for at, quantity in enumerate(answers.quantities)
        if not quantity.family.startswith(tuple(dropped))
    ]
    return replace(
        answers,
        quantities=tuple(answers.quantities[at] for at in kept),
        values=answers.values[:, kept],
        settings={"panel": []},
    )


def log_likelihoods(logits: Floats, labels: NDArray[Any], *, temperature: float) -> Floats:
    """Σ_y P(y|x)·log Q(y|x), (K,) in nats, of logits (K, C) divided by ``temperature``."""
    scaled = special.log_softmax(logits / temperature, axis=1)
    if labels.ndim == 2:
        return np.asarray(np.where(labels > 0, labels * scaled, 0.0).sum(axis=1))
    return np.asarray(scaled[np.arange(len(scaled)), labels])


def probabilities(logits: Floats, labels: NDArray[Any], *, temperature: float) -> Floats:
    """The probability of the label, (K,), of logits (K, C) divided by ``temperature``."""
    return np.asarray(np.exp(log_likelihoods(logits, labels, temperature=temperature)))


def _quantity(name: str, family: str, unit: Any) -> Quantity:
    return Quantity(name=name, family=family, better="higher", unit=unit)

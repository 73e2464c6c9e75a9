"""Measurement of perturbations: prediction errors and accuracy, image by image."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pytest_iaside.checks import check_positive, is_whole
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
from pytest_iaside.measure.answers import (
    Perturbation,
    answers,
    kind_of,
    labels_of,
    perturbed_sample,
)
from pytest_iaside.measure.measurement import Measurement, columns
from pytest_iaside.measure.metrics import (
    correct,
    labels_errors,
    mean_corruption_error,
    prediction_errors,
)
from pytest_iaside.measure.panel import rated
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo, environment
from pytest_iaside.measure.quantities import Quantity, Unit
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.models.tasks import Task
from pytest_iaside.perturb.adapters import ForeignAttack
from pytest_iaside.perturb.attacks import name_of
from pytest_iaside.perturb.corruptions import IMAGENET_C, SEVERITIES
from pytest_iaside.perturb.weather import frost_textures
from pytest_iaside.stats.arrays import Floats

KIND = "perturbations"
# Noise, blur, a loss of contrast and lost detail: four ways to perturb that differ in where in the
# spectrum they lie, each at the middle severity.
USUAL: tuple[tuple[str, int], ...] = (
    ("white_noise", 3),
    ("gaussian_blur", 3),
    ("contrast", 3),
    ("jpeg_compression", 3),
)
MADE = "made"
MADE_OF = 8  # images
FACTS = ("mean", "std", "change", "step")
"""What is told of the images that a function makes."""
DRAWS = 8
"""How often a function that draws at random is looked at."""
Perturbations = Mapping[str, Perturbation] | Sequence[Perturbation]
Normaliser = str | Mapping[str, ArrayLike]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class PerturbedAnswers(Measurement, kind=KIND):
    """What each of P perturbations costs K images, and through which of M bands of theirs.

    ``phi`` (K, P·M) is the loss of log-likelihood that came through each band, in nats, and
    ``change`` (K, P·M) the energy of the perturbation in it, in squared pixels (SPEC.md 7); the
    bands of the first perturbation come first. NaN of images that were not divided, None where
    none was (decomposition.py).
    """

    kind: str = field(default=KIND)
    phi: Floats | None = None
    change: Floats | None = None

    PER_IMAGE = (*Measurement.PER_IMAGE, "phi", "change")

    @property
    def perturbations(self) -> tuple[str, ...]:
        """Their names, P of them."""
        return tuple(self.settings["perturbations"])

    def widths(self) -> dict[str, int]:
        found = super().widths()
        if self.phi is not None:
            width, count = self.phi.shape[-1], len(self.perturbations)
            if width % count or not width:
                raise ValueError(f"phi has {width} columns for {count} perturbations")
            found |= {"phi": width, "change": width}
        return found


def measure_perturbations(
    model: Any,
    reference: ReferenceSample,
    perturbations: Perturbations = USUAL,
    *,
    temperature: float = 1.0,
    normaliser: Normaliser | None = None,
    samples: int | Literal["auto"] | None = None,
    seed: int = 0,
    execution: Execution = Execution(),
    labels_from: Labelled | None = None,
) -> PerturbedAnswers:
    """The prediction error and the accuracy of each image under each of ``perturbations``.

    These are a sequence, or a mapping that names them, of what ``mean_prediction_error`` takes.
    The quantities are ``mPE under …`` and ``accuracy under …`` for each, ``clean accuracy``, and
    with a ``normaliser`` ``mCE``, in percent, over the 15 corruptions of ImageNet-C and their
    5 severities (SPEC.md 2). Without labels in ``reference`` the predictions on the clean images
    count, or those of ``labels_from``.

    Raises as ``mean_prediction_error`` and ``mean_corruption_error``.
    """
    began = time.perf_counter()
    check_positive("temperature", temperature)
    named = named_perturbations(perturbations)
    check_reference(reference)
    classifier = as_classifier(model)
    taken = first_images(reference, samples)
    sample = on_labels_of(taken, labels_from)
    if normaliser is not None and classifier.task.kind != "softmax":
        raise SettingsError(
            f"the mCE counts wrong classes, and {classifier.name} answers otherwise: leave "
            "normaliser= and max_mce_rise= out"
        )
    corruptions = [(name, severity) for name in IMAGENET_C for severity in SEVERITIES]
    asked: list[Perturbation] = [] if normaliser is None else [*corruptions]
    kept = [
        # Of fewer than there are answers() says what is wrong.
        perturbed.take(range(len(sample)))
        if isinstance(perturbed, ReferenceSample) and len(perturbed) >= len(sample)
        else perturbed
        for perturbed in named.values()
    ]
    run = partial(answers, seed=seed, execution=execution)
    clean, *perturbed = run(classifier, sample, [None, *kept, *asked])
    task = classifier.task
    labels = labels_of(sample, clean, task)
    quantities, values = _lost(task, list(named), clean, perturbed, labels, temperature)
    if normaliser is not None:
        quantities.append(Quantity(name="mCE (%)", family="mce", better="lower", unit="percent"))
        values.append(image_corruption_errors(perturbed[len(named) :], labels, normaliser))
    made = made_of(named, sample, classifier, seed=seed, execution=execution)
    return PerturbedAnswers(
        quantities=tuple(quantities),
        values=columns(*values),
        digests=sample.digests,
        names=sample.names,
        groups=sample.groups,
        notes=(*notes_on(taken), *unsteady(named, sample, made)),
        labels=labels,
        settings=perturbation_settings(perturbations, temperature, normaliser, seed)
        | made
        | execution.settings,
        reference=ReferenceInfo.of(reference),
        model=ModelInfo.of(classifier, clean.shape[1]),
        forward_passes=len(sample) * (1 + len(perturbed)),
        environment=environment(),
        seconds=time.perf_counter() - began,
    )


def _lost(
    task: Task,
    named: Sequence[str],
    clean: Floats,
    perturbed: Sequence[Floats],
    labels: NDArray[Any],
    temperature: float,
) -> tuple[list[Quantity], list[Floats]]:
    """What each perturbation costs: mPE and accuracy; of a score how far it falls."""
    if task.scored:
        quantities = [Quantity(name="clean score", family="score", better="higher", unit="score")]
        values = [clean[:, 0]]
        for name, answers in zip(named, perturbed, strict=False):
            quantities.append(
                Quantity(
                    name=f"score lost under {name}", family="lost", better="lower", unit="score"
                )
            )
            values.append(clean[:, 0] - answers[:, 0])
        return quantities, values
    several = task.kind == "multilabel"
    unit: Unit = "share" if several else "hit"

    def right(answers: Floats) -> Floats:
        return rated(answers, labels, task.rated["accuracy"])

    quantities = [Quantity(name="clean accuracy", family="accuracy", better="higher", unit=unit)]
    values = [right(clean)]
    for name, answers in zip(named, perturbed, strict=False):
        quantities += [
            Quantity(name=f"mPE under {name}", family="mpe", better="lower"),
            Quantity(name=f"accuracy under {name}", family="accuracy", better="higher", unit=unit),
        ]
        errors = labels_errors if several else partial(prediction_errors, labels=labels)
        values += [errors(clean, answers, temperature=temperature), right(answers)]
    return quantities, values


def as_functions(
    perturbations: Perturbations, model: Any, seed: int = 0, execution: Execution = Execution()
) -> dict[str, Callable[[ReferenceSample], Tensor]]:
    """``perturbations`` as functions of the first of their images; attacks are of ``model``."""
    classifier = as_classifier(model)

    def perturbed(given: Perturbation, sample: ReferenceSample) -> Tensor:
        if isinstance(given, ReferenceSample):
            given = given.take(range(len(sample)))
        return perturbed_sample(classifier, sample, given, seed, execution)[1].pixels()

    named = named_perturbations(perturbations)
    return {name: partial(perturbed, given) for name, given in named.items()}


def perturbation_settings(
    perturbations: Perturbations, temperature: float, normaliser: Normaliser | None, seed: int
) -> dict[str, Any]:
    """What must be the same for measurements to be compared, in plain values.

    A function counts by its name and its keywords (functools.partial), and by what it makes of the
    images (``made_of``); an attack of the user's own by its name, its keywords and its bound.
    """
    named = named_perturbations(perturbations)
    settings: dict[str, Any] = {
        "perturbations": list(named),
        # A name that the user gives may stand for something else tomorrow.
        "definitions": {name: _definition(each) for name, each in named.items()},
        "temperature": float(temperature),
        "seed": int(seed),
    }
    if normaliser is not None:
        settings["normaliser"] = (
            normaliser
            if isinstance(normaliser, str)
            else {name: _plain(values) for name, values in sorted(normaliser.items())}
        )
    return settings


def made_of(
    named: Mapping[str, Perturbation],
    sample: ReferenceSample,
    attacked: Classifier | None = None,
    *,
    seed: int = 0,
    execution: Execution = Execution(),
) -> dict[str, Any]:
    """Under ``made`` what each function makes of the first images of ``sample``.

    Mean, standard deviation, mean absolute change and mean step from a pixel to the next, as
    functions have no other definition that could be compared. Where it is not the same twice, the
    means of these over DRAWS calls, and then the standard deviations over them. Of attacks, which
    differ from model to model, how far they move images against ``attacked`` (``_reach``).
    """
    found: dict[str, Any] = {}
    pixels = sample.pixels(0, MADE_OF)

    def made(perturbation: Any) -> tuple[Tensor, list[float]]:
        # As answers() calls it: whatever it raises was told by now.
        one = ReferenceSample(perturbation(pixels.clone())).pixels()
        steps = one.diff(dim=-1).abs()
        told = (one.mean(), one.std(), (one - pixels).abs().mean(), steps.mean())
        return one, [float(each) for each in told]

    for name, given in named.items():
        # Stored images are as many as the whole reference, of which ``sample`` may be a part.
        kind = "sample" if isinstance(given, ReferenceSample) else kind_of(given, sample)
        if kind == "attack" and attacked is not None:
            some = sample.take(range(min(MADE_OF, len(sample))))
            became = perturbed_sample(attacked, some, given, seed, execution)[1].pixels()
            found[name] = _reach(became - pixels)
        if kind != "function":
            continue
        (first, told), (again, other) = made(given), made(given)
        if not torch.allclose(first, again, atol=1e-4):
            rows = np.array([told, other, *(made(given)[1] for _ in range(DRAWS - 2))])
            told = [*rows.mean(axis=0), *rows.std(axis=0, ddof=1)]
        found[name] = [round(float(each), 6) for each in told]
    return {MADE: found} if found else {}


def _reach(moved: Tensor) -> dict[str, list[float]]:
    """The median of ‖·‖ over images moved by ``moved`` (k, C, H, W), and least and most over it.

    An attack with a bound moves every image by as much, whatever the model.
    """
    found = {}
    for norm, order in (("linf", float("inf")), ("l2", 2.0)):
        lengths = moved.flatten(1).double().norm(p=order, dim=1)
        middle = float(lengths.median())
        spread = float(lengths.max() - lengths.min()) / middle if middle > 0 else 0.0
        found[norm] = [round(middle, 6), round(spread, 6)]
    return found


def unsteady(
    named: Mapping[str, Perturbation], sample: ReferenceSample, made: Mapping[str, Any]
) -> list[str]:
    """What a reader should know of functions whose images depend on more than the image."""
    found = []
    for name, told in made.get(MADE, {}).items():
        if isinstance(told, Mapping):
            continue
        if len(told) > len(FACTS):
            found.append(
                f"{name} makes other images each time that it is called, so what it costs differs "
                "from run to run: let it draw by a seed of its own, or from each image"
            )
            continue
        function: Any = named[name]
        pixels = sample.pixels(0, MADE_OF)
        try:
            alone, among = (
                ReferenceSample(function(some.clone())).pixels(0, 1)
                for some in (pixels[:1], pixels)
            )
        except Exception:  # Not every function takes an image alone.
            continue
        if not torch.allclose(alone, among, atol=1e-4):
            found.append(
                f"{name} makes another image of {sample.names[0]} alone than among others, so what "
                "it costs depends on batch_size: let it treat each image by itself"
            )
    return found


def named_perturbations(perturbations: Perturbations) -> dict[str, Perturbation]:
    """Each perturbation under its name; raises SettingsError where there is none, or one twice."""
    if isinstance(perturbations, Mapping):
        named = {str(name): perturbation for name, perturbation in perturbations.items()}
    elif _is_pair(perturbations):
        raise SettingsError(
            f"perturbations={perturbations!r} is one perturbation; give a list of them: "
            f"[{perturbations!r}]"
        )
    elif isinstance(perturbations, Sequence) and not isinstance(perturbations, str):
        names = [_name(perturbation) for perturbation in perturbations]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise SettingsError(
                f"perturbations has {sorted(twice)[0]!r} more than once; tell them apart with a "
                "mapping from names to perturbations"
            )
        named = dict(zip(names, perturbations, strict=True))
    else:
        raise SettingsError(
            f"perturbations={perturbations!r} is no list of perturbations; give (corruption, "
            "severity) pairs, functions or attacks, or a mapping that names them"
        )
    if not named:
        raise SettingsError("perturbations is empty; give at least one, such as ('contrast', 3)")
    return named


def _is_pair(value: Any) -> bool:
    """Whether ``value`` is (corruption, severity), and not a list of two perturbations."""
    return (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and isinstance(value[0], str)
        and is_whole(value[1])
    )


def _name(perturbation: Any) -> str:
    if isinstance(perturbation, (tuple, list)) and len(perturbation) == 2:
        return f"{perturbation[0]} {perturbation[1]}"
    if isinstance(perturbation, ReferenceSample):
        return f"stored images {perturbation.digest[:8]}"
    if not isinstance(perturbation, partial):
        return name_of(perturbation)
    return f"{name_of(perturbation)} {_keywords(perturbation.keywords)}".strip()


def _definition(perturbation: Any) -> str:
    """What ``perturbation`` is; of a function its name, of frost also its textures."""
    if isinstance(perturbation, (tuple, list)) and perturbation[0] == "frost":
        files = frost_textures()
        content = hashlib.sha256()
        for file in files:
            content.update(file.read_bytes())
        textures = content.hexdigest()[:8] if files else "generated"
        return f"{_name(perturbation)}, textures {textures}"
    if isinstance(perturbation, ForeignAttack):
        options = {"seed": perturbation.seed, **perturbation.options}
        return f"{_name(perturbation)} {_keywords(options)}"
    return _name(perturbation)


def _keywords(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def image_corruption_errors(
    answers: Sequence[Floats], labels: NDArray[Any], normaliser: Normaliser
) -> Floats:
    """What each image (K,) adds to the mCE, in percent, of ``answers`` to the 75 corrupted ones.

    These are logits (K, C), of the 15 corruptions of ImageNet-C by their 5 severities.
    """
    wrong = iter([1 - correct(logits, labels) for logits in answers])
    errors = {name: np.stack([next(wrong) for _ in SEVERITIES]) for name in IMAGENET_C}
    # As a share of what the normaliser errs on average: a baseline's images may be others.
    if not isinstance(normaliser, str):
        normaliser = {
            name: np.asarray(values, dtype=np.float64).mean(axis=-1)
            if np.ndim(values) == 2
            else values
            for name, values in normaliser.items()
        }
    found = mean_corruption_error(errors, normaliser).image_values
    assert found is not None  # The errors are of single images.
    return found


def _plain(values: ArrayLike) -> Any:
    return np.round(np.asarray(values, dtype=np.float64), 6).tolist()

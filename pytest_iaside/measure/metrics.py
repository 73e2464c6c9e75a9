"""How far perturbations move a classifier's answers: mPE, accuracy and mCE (SPEC.md 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pytest_iaside.checks import check_level, check_positive
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.grouping import checked_groups
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import Perturbation, answers, labels_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.perturb.corruptions import IMAGENET_C, SEVERITIES
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.estimate import Estimate
from pytest_iaside.stats.groups import Groups, joined
from pytest_iaside.stats.intervals import jackknife_error, jackknife_interval

# AlexNet's top-1 error on each corruption of ImageNet-C, the mean over five severities, as
# Hendrycks and Dietterich (ICLR 2019) measured it; in imagenet.py of google-research/augmix and
# utils.py of bethgelab/game-of-noise.
ALEXNET_ERRORS: Mapping[str, float] = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}


def mean_prediction_error(
    classifier: Any,
    reference: ReferenceSample,
    perturbation: Perturbation,
    *,
    temperature: float = 1.0,
    level: float = 0.95,
    seed: int = 0,
    execution: Execution = Execution(),
) -> Estimate:
    """mPE = E |Q(y|x) − Q(y|x*)|, between 0 and 1 (SPEC.md 2, eq. 12).

    ``perturbation`` is ``(name, severity)`` of a corruption, drawn with ``seed``; a function of
    (batch, channels, height, width) float32 in [0, 1] to such images; an attack (attacks.py); or
    the perturbed images themselves in the order of ``reference``, as ``stored_corruption`` reads.
    Q is the softmax of the logits divided by ``temperature``; y the image's label, of a
    distribution the expectation, and without labels the prediction on the clean image.

    Raises as ``answers``.
    """
    check_level(level)
    check_positive("temperature", temperature)
    if as_classifier(classifier).task.scored:
        raise _no_classes(classifier)
    run = partial(answers, seed=seed, execution=execution)
    clean, perturbed = run(classifier, reference, [None, perturbation])
    if as_classifier(classifier).task.kind == "multilabel":
        errors = labels_errors(clean, perturbed, temperature)
    else:
        errors = prediction_errors(clean, perturbed, labels_of(reference, clean), temperature)
    return Estimate.of_mean(errors, level, reference.group_numbers)


def accuracy(
    classifier: Any,
    reference: ReferenceSample,
    perturbation: Perturbation | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
    execution: Execution = Execution(),
) -> Estimate:
    """The share of perturbed images whose likeliest class is the label, with Wilson's interval.

    The label of a distribution is its likeliest class; without labels the share is of predictions
    that are those of the clean images. Without a perturbation of clean images. The rest as in
    ``mean_prediction_error``.
    """
    check_level(level)
    _check_classes(classifier)
    run = partial(answers, seed=seed, execution=execution)
    found = run(classifier, reference, [*_for_labels(reference), perturbation])
    hits = correct(found[-1], labels_of(reference, found[0]))
    return Estimate.of_proportion(hits, level, reference.group_numbers)


def corruption_errors(
    classifier: Any,
    reference: ReferenceSample,
    corruptions: Sequence[str] = IMAGENET_C,
    *,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    execution: Execution = Execution(),
) -> dict[str, Floats]:
    """Which images are misclassified: for each corruption (severities, K), 1 where it is.

    What ``mean_corruption_error`` takes. Labels and errors as in ``accuracy``.
    """
    _check_classes(classifier)
    run = partial(answers, seed=seed, execution=execution)
    pairs = [(name, severity) for name in corruptions for severity in severities]
    found = run(classifier, reference, [*_for_labels(reference), *pairs])
    labels = labels_of(reference, found[0])
    wrong = iter([1 - correct(logits, labels) for logits in found[-len(pairs) :]])
    return {name: np.stack([next(wrong) for _ in severities]) for name in corruptions}


def mean_corruption_error(
    errors: Mapping[str, ArrayLike],
    normaliser: str | Mapping[str, ArrayLike],
    *,
    level: float = 0.95,
    groups: Any = None,
) -> Estimate:
    """mCE in percent: 100 · mean over corruptions c of Σ_s err(c,s) / Σ_s err_normaliser(c,s).

    ``errors`` maps each corruption to its error rates, shares in [0, 1]: one for each severity
    (S,), their mean (a number), or those of each image (S, K), as ``corruption_errors`` returns
    them. Only the last has an interval. ``normaliser`` is ``"alexnet"``, whose published errors
    are for the 15 corruptions and 5 severities of ImageNet-C, or the errors of any model in the
    same form; where both are (S, K) they are paired by image. ``image_values`` take the
    normaliser's rates as given. ``groups`` says which images are not independent, as
    ReferenceSample does: give ``reference.groups`` where there are any. SPEC.md 2; Hendrycks and
    Dietterich, ICLR 2019.

    Raises SettingsError where corruptions, severities or images do not match, or a rate is none.
    """
    check_level(level)
    measured, normal = _rates("errors", errors), _normaliser(normaliser)
    _check_match(measured, normal)
    names = list(measured)
    # The mean over severities: of every image, or of one row that stands for all.
    rows, divisors = (
        np.stack(
            [np.atleast_1d(each[name].mean(axis=0 if each[name].ndim else None)) for name in names],
            axis=1,
        )
        for each in (measured, normal)
    )
    of_images, paired = (each[names[0]].ndim == 2 for each in (measured, normal))
    fixed = divisors.mean(axis=0)
    if (fixed == 0).any():
        name = names[int(np.flatnonzero(fixed == 0)[0])]
        raise SettingsError(
            f"the normaliser makes no error on {name}, so there is nothing to divide by; give a "
            "model that makes some"
        )
    numbers = _group_numbers(groups, len(rows)) if of_images else None
    estimate = Estimate.of_mean(100 * (rows / fixed).mean(axis=1), level, numbers)
    if not of_images:
        return replace(estimate, image_values=None)
    if not paired or len(rows) < 2:
        return estimate

    def statistic(mean: Floats) -> Floats:
        above, below = np.split(mean, 2, axis=-1)
        # Without the one image that makes the normaliser err there is no ratio.
        ratio = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
        return np.asarray(100 * ratio.mean(axis=-1))

    both = np.hstack([rows, divisors])
    error = float(jackknife_error(both, statistic, numbers))
    if np.isnan(error):
        return replace(estimate, low=-np.inf, high=np.inf, standard_error=np.nan)
    interval = jackknife_interval(both, statistic, level, groups=numbers)
    return replace(
        estimate, low=float(interval.low), high=float(interval.high), standard_error=error
    )


def _group_numbers(groups: Any, count: int) -> Groups:
    names = [f"image {place}" for place in range(count)]
    checked = checked_groups(groups, names)
    return None if checked is None else joined(names, checked)


def prediction_errors(
    clean: Floats, perturbed: Floats, labels: NDArray[Any], temperature: float = 1.0
) -> Floats:
    """|Q(y|x) − Q(y|x*)| of each image, (K,): the values that mPE is the mean of.

    ``clean`` and ``perturbed`` (K, C) are logits; ``labels`` (K,) classes, or (K, C)
    distributions, over which the expectation is taken.
    """
    before, after = (special.softmax(each / temperature, axis=1) for each in (clean, perturbed))
    moved = np.abs(before - after)
    if labels.ndim == 2:
        return np.asarray((labels * moved).sum(axis=1))
    return np.asarray(moved[np.arange(len(moved)), labels])


def labels_errors(clean: Floats, perturbed: Floats, temperature: float = 1.0) -> Floats:
    """The same of C labels that do not depend on each other, their mean: (K,) of logits (K, C)."""
    before, after = (special.expit(each / temperature) for each in (clean, perturbed))
    return np.asarray(np.abs(before - after).mean(axis=1))


def correct(logits: Floats, labels: NDArray[Any]) -> Floats:
    """1 where the likeliest class of logits (K, C) is the label, else 0, (K,)."""
    classes = labels.argmax(axis=1) if labels.ndim == 2 else labels
    return np.asarray(logits.argmax(axis=1) == classes, dtype=np.float64)


def _no_classes(classifier: Any) -> ModelError:
    chosen = as_classifier(classifier)
    return ModelError(
        f"{chosen.name} answers with no class of many ({chosen.task.kind}), which this is a share "
        "of; take measure_perturbations, which knows its task"
    )


def _check_classes(classifier: Any) -> None:
    """Raise ModelError where no single class is right of each image."""
    if as_classifier(classifier).task.kind != "softmax":
        raise _no_classes(classifier)


def _for_labels(reference: Any) -> list[None]:
    """The clean images too, if the labels are what is predicted on them."""
    return [None] if getattr(reference, "labels", None) is None else []


def _rates(what: str, given: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    """Error rates of each corruption, all of one shape; raises SettingsError for others."""
    if not isinstance(given, Mapping) or not given:
        raise SettingsError(
            f"{what}={given!r} must map each corruption to its error rates; corruption_errors "
            "measures them"
        )
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in given.items()}
    shapes = sorted({array.shape for array in arrays.values()})
    if len(shapes) > 1 or len(shapes[0]) > 2 or 0 in shapes[0]:
        raise SettingsError(
            f"{what}: error rates have shape {' and '.join(map(str, shapes))}; give every "
            "corruption the same: a number, (severities,) or (severities, images)"
        )
    for name, array in arrays.items():
        # Written so that NaN, which fails every comparison, counts as wrong.
        if not ((array >= 0) & (array <= 1)).all():
            raise SettingsError(
                f"{what}: error rates of {name} go from {array.min():.4g} to {array.max():.4g}; "
                "expected [0, 1]: divide percentages by 100"
            )
    return arrays


def _normaliser(given: str | Mapping[str, ArrayLike]) -> dict[str, Floats]:
    if not isinstance(given, str):
        return _rates("normaliser", given)
    if given != "alexnet":
        raise SettingsError(
            f"normaliser={given!r} is unknown; use 'alexnet', or map the same corruptions to "
            "another model's errors"
        )
    return {name: np.full(len(SEVERITIES), error) for name, error in ALEXNET_ERRORS.items()}


def _check_match(measured: Mapping[str, Floats], normal: Mapping[str, Floats]) -> None:
    unknown = sorted(measured.keys() - normal.keys())
    missing = sorted(normal.keys() - measured.keys())
    if unknown or missing:
        parts = [f"it has no {', '.join(unknown)}"] if unknown else []
        parts += [f"they lack {', '.join(missing)}"] if missing else []
        raise SettingsError(
            f"errors do not fit the normaliser: {'; '.join(parts)}; give both the same "
            "corruptions (AlexNet's are the 15 of ImageNet-C)"
        )
    shapes = (next(iter(each.values())).shape for each in (measured, normal))
    for what, mine, other in zip(("severities", "images"), *shapes, strict=False):
        if mine != other:
            raise SettingsError(
                f"errors are of {mine} {what}, the normaliser's of {other}; give both the same"
            )

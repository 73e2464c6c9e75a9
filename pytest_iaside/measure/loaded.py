"""Checks of a measurement that a file holds: its types, and what its numbers owe each other.

A file can be edited so that it still opens. What shows that its numbers cannot have been measured
is looked for here; a file that is made up well enough is for the reviewer to find.
"""

import re
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.checks import is_number, is_whole
from pytest_iaside.errors import quoted
from pytest_iaside.images.reference import LabelKind
from pytest_iaside.measure.game.shapley import shapley_values
from pytest_iaside.measure.quantities import (
    ANSWERS,
    AS_ANSWERED,
    INFORMATION,
    MEAN,
    PERTURBED,
    TASK_TITLES,
    TEMPERATURE,
    Better,
    Unit,
)
from pytest_iaside.stats.arrays import Floats

# Relative and absolute: what adding up in another order changes.
ROUNDING = 1e-6
# Above what float32 holds, so above any log-likelihood of a network; its square does not overflow.
LARGEST_NUMBER = 1e40
LARGEST_SIDE = 2**15
LONGEST_NAME = 10_000
# A label's probability averaged over other images counts as at least this (stats/structured.py).
LEAST_PROBABILITY = 1e-16


def check_types(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise ValueError where a file holds something else than numbers, or text, in its place."""
    for name, array in arrays.items():
        texts = name.endswith(("digests", "names", "groups"))
        kinds = "U" if texts else "iu" if "labels" in name else "f"
        # Distributions are labels, too.
        kinds += "f" if "labels" in name and array.ndim == 2 else ""
        if array.dtype.kind not in kinds or array.ndim != (1 if "U" in kinds else array.ndim):
            raise ValueError(f"{name} are {array.dtype} of shape {array.shape}")
        if "labels" in name and array.ndim not in (1, 2):
            raise ValueError(f"{name} are {array.dtype} of shape {array.shape}")
        if kinds == "f" and name != "information" and array.ndim != 2:
            raise ValueError(f"{name} have shape {array.shape}")
    for name in ("forward_passes", "passes_from_cache", "passes_replayed"):
        _count(name, document[name] if name == "forward_passes" else document.get(name, 0))
    seconds = document.get("seconds", 0.0)
    if not is_number(seconds) or not 0 <= seconds < LARGEST_NUMBER:
        raise ValueError(f"seconds are {quoted(seconds)}")
    reference, model = document["reference"], document["model"]
    for name in ("images", "channels", "height", "width"):
        if _count(name, reference[name]) < 1:
            raise ValueError(f"{name} is {reference[name]}")
    if max(reference["height"], reference["width"]) > LARGEST_SIDE:
        raise ValueError(f"images of {reference['height']}×{reference['width']} pixels")
    if reference["labels"] not in get_args(LabelKind):
        raise ValueError(f"labels are {quoted(reference['labels'])}")
    _count("classes", model["classes"])
    for name in ("task", "unit", "score", "score_code"):
        if not isinstance(model.get(name, ""), str):
            raise ValueError(f"the {name} is {quoted(model[name])}")
    for name, text in (
        ("the digest", reference["digest"]),
        ("the model's name", model["name"]),
        ("the fingerprint", model.get("fingerprint") or ""),
        *(("the environment", each) for pair in document["environment"].items() for each in pair),
    ):
        if not isinstance(text, str) or len(text) > LONGEST_NAME:
            raise ValueError(f"{name} is {quoted(text)}")
    for each in document.get("quantities", ()):
        _check_quantity(each)


def check_numbers(found: Any) -> None:
    """Raise ValueError where the values of the Measurement ``found`` cannot have been measured."""
    count = len(found.digests)
    if count > found.reference.images:
        raise ValueError(f"{count} images of a sample of {found.reference.images}")
    if odd := [each for each in found.digests if not re.fullmatch("[0-9a-z]{1,64}", each)]:
        raise ValueError(f"{quoted(odd[0])} is no digest of an image")
    _check_labels(found)
    for name in ("values", "by_size", "log_likelihood", "information", "energy"):
        array = getattr(found, name, None)
        # What an image tells about its label nobody knows where it is the only one.
        if array is not None and (name != "information" or count > 1):
            _check_finite(name, array)
    if getattr(found, "energy", None) is not None and (found.energy < 0).any():
        raise ValueError(f"energy is {found.energy.min():g}, which no change has")
    if found.kind == ANSWERS:
        _check_answers(found)
    elif found.kind == "spectral":
        _check_game(found)


def check_summary(told: Any, expected: Any, name: str = "summary") -> None:
    """Raise ValueError where what a file ``told`` people is not what its numbers give.

    What another version told as well, or did not tell, is left alone.
    """
    if isinstance(expected, Mapping):
        if not isinstance(told, Mapping):
            raise ValueError(f"{name} is {quoted(told)}")
        for key in (key for key in expected if key in told and key != "structured"):
            check_summary(told[key], expected[key], f"{name}: {key}")
    elif isinstance(expected, list):
        if not isinstance(told, list) or len(told) != len(expected):
            raise ValueError(f"{name} is {quoted(told)}")
        for place, (one, each) in enumerate(zip(told, expected, strict=True)):
            check_summary(one, each, f"{name} {place}")
    elif isinstance(expected, float) and is_number(told):
        if not np.isclose(told, expected, rtol=1e-3, atol=2e-4, equal_nan=True):
            raise ValueError(f"{name} is {told:g} where the numbers give {expected:g}")
    elif told != expected and not (isinstance(told, float) and np.isnan(told)):
        raise ValueError(f"{name} is {quoted(told)} where the numbers give {expected!r}")


def _count(name: str, value: Any) -> int:
    if not is_whole(value) or not 0 <= value < 2**63:
        raise ValueError(f"{name} are {quoted(value)}")
    return value


def _check_quantity(each: Mapping[str, Any]) -> None:
    texts = all(isinstance(each[name], str) for name in ("name", "family"))
    choices = each["better"] in get_args(Better) and each.get("unit", "share") in get_args(Unit)
    if not texts or not choices:
        raise ValueError(f"a quantity is {quoted(dict(each))}")


def _check_labels(found: Any) -> None:
    labels = found.labels
    if found.model.task not in TASK_TITLES or found.model.unit == "":
        raise ValueError(f"the task is {quoted(found.model.task)}")
    if found.model.task == "multilabel":
        if labels.ndim != 2 or not ((labels >= 0) & (labels <= 1)).all():
            raise ValueError("targets of several labels are no numbers from 0 to 1")
    elif labels.ndim == 2:
        # Written so that NaN counts as wrong.
        if not ((labels >= 0).all() and (np.abs(labels.sum(axis=1) - 1) <= 1e-2).all()):
            raise ValueError("labels are no distributions")
    elif labels.min() < 0 or (found.model.classes and labels.max() >= found.model.classes):
        raise ValueError(
            f"a label is {labels.min() if labels.min() < 0 else labels.max()} of "
            f"{found.model.classes} classes"
        )


def _check_finite(name: str, array: Floats) -> None:
    # Written so that NaN counts as wrong; no float32 is as large as that number.
    wrong = ~(np.abs(array).astype(float) < LARGEST_NUMBER)
    if wrong.any():
        raise ValueError(f"{name} hold {array[wrong][0]:g}, which was never measured")


def _check_game(profile: Any) -> None:
    """ψ adds up to v(all), image by image (SPEC.md 1.4); the rest fits the log-likelihoods."""
    psi, by_size = profile.values, profile.by_size
    scale = np.abs(psi).sum(axis=1) + np.abs(by_size[:, [0, -1]]).sum(axis=1)
    _check_equal("ψ of all bands", psi.sum(axis=1), "v(all)", profile.image_value, scale)
    if profile.log_likelihood is not None:
        _check_table(profile)
    # What all bands make of an image is the image but for rounding, which bfloat16 does coarsely.
    if profile.model.task == "softmax":
        _check_information(profile.information, profile.by_size[:, -1], relative=0.1, absolute=1.0)


def _check_table(profile: Any) -> None:
    """The log-likelihoods of all coalitions are those that ψ were made of."""
    table = profile.log_likelihood
    scale = np.abs(table).max(axis=1)
    for name, end in (("L(∅)", 0), ("L(all)", -1)):
        _check_equal(name, profile.by_size[:, end], "that of its table", table[:, end], scale)
    for band, psi in enumerate(shapley_values(table).T):
        _check_equal(f"ψ of band {band}", profile.values[:, band], "that of its table", psi, scale)


def _check_answers(answers: Any) -> None:
    values = dict(zip((each.name for each in answers.quantities), answers.values.T, strict=True))
    families: dict[str, list[Floats]] = {}
    for quantity in answers.quantities:
        families.setdefault(quantity.family, []).append(values[quantity.name])
    rows = {}
    task = answers.model.task
    for title in TASK_TITLES[task]:
        word = title.partition(" ")[0]
        measured = [*families[f"clean {word}"], *families.get(f"{PERTURBED} {word}", ())]
        for mean in families.get(f"{MEAN} {word}", ()):
            expected = np.mean(measured, axis=0)
            _check_equal(f"mean {title}", mean, "the mean of its parts", expected, np.abs(expected))
        rows[title] = np.array(measured)
    if task == "score":
        return
    hits, likelihoods, chances = (rows[title] for title in TASK_TITLES[task])
    if task == "multilabel":
        if not ((hits >= 0) & (hits <= 1) & (chances >= 0) & (chances <= 1)).all():
            raise ValueError("an accuracy or a probability is not from 0 to 1")
        if likelihoods.max() > ROUNDING or values[AS_ANSWERED].max() > ROUNDING:
            raise ValueError("a log-likelihood is above 0")
        return
    if not np.isin(hits, (0.0, 1.0)).all():
        raise ValueError("an accuracy of one image is neither 0 nor 1")
    if likelihoods.max() > ROUNDING or values[AS_ANSWERED].max() > ROUNDING:
        raise ValueError("a log-likelihood is above 0")
    expected = np.exp(likelihoods)
    _check_equal("a probability", chances, "that of its log-likelihood", expected, expected)
    if answers.labels.ndim == 1 and (hits[chances > 0.5 + 1e-3] == 0).any():
        raise ValueError("a label has most of the probability and is answered wrong")
    temperature = values[TEMPERATURE]
    if not (temperature > 0).all() or np.ptp(temperature) > ROUNDING * temperature[0]:
        raise ValueError(f"the temperature is {temperature.min():g} to {temperature.max():g}")
    information, likelihood = values[INFORMATION], values[AS_ANSWERED]
    _check_information(information, likelihood, relative=ROUNDING, absolute=1e-3)


def _check_information(
    information: Floats, likelihood: Floats, *, relative: float, absolute: float
) -> None:
    """What an image tells about its label is at least log Q(y|x), and no more than it can be."""
    if len(information) < 2:
        return
    tolerance = absolute + relative * np.abs(likelihood)
    most = likelihood - np.log(LEAST_PROBABILITY) + np.log(len(information))
    if (information < likelihood - tolerance).any() or (information > most + tolerance).any():
        raise ValueError("information does not fit the log-likelihoods")


def _check_equal(name: str, one: Floats, other_name: str, other: Floats, scale: Floats) -> None:
    wrong = np.abs(one - other) > ROUNDING * (1 + scale)
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise ValueError(
            f"{name} is {one[place]:g} where {other_name} is {other[place]:g} (image {place[-1]})"
        )

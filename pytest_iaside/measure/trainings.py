"""Several trainings of one recipe as one measurement: their mean, and each of them (SPEC.md 9)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.errors import SettingsError

# A Measurement, whose own file imports this one.
T = TypeVar("T", bound=Any)
Measurement = Any

AVERAGED = ("values", "by_size", "information", "log_likelihood", "energy", "phi", "change")
"""Arrays (K, …) of a measurement that differ between trainings."""
STACKED = (*AVERAGED, "answers")
"""The same in a file, where they are (S, K, …)."""
MOST = 1000
SUMMED = ("forward_passes", "passes_from_cache", "passes_replayed")


def mean_of(trainings: Sequence[T]) -> T:
    """The mean of ``trainings``, which holds each of them; a single one is itself.

    Raises SettingsError where they were not measured alike on the same images, or where two are
    the same network: what does not differ tells nothing of what another training would be.
    """
    first, *others = trainings
    if not others:
        return first
    # Diagnoses are all of the same classes, which one of the models predicted.
    if first.reference.labels == "predicted":
        raise SettingsError(
            "several trainings are compared on the same labels, but these are predicted by the "
            "model; give the reference sample labels"
        )
    for number, other in enumerate(others, start=2):
        if unlike := _unlike(first, other):
            raise SettingsError(
                f"training {number} was measured otherwise than the first ({unlike}); measure all "
                "trainings of a recipe alike, on the same images"
            )
    for (one, left), (another, right) in combinations(enumerate(trainings, start=1), 2):
        if _same_network(left, right):
            raise SettingsError(
                f"trainings {one} and {another} are the same network, which tells nothing of what "
                "another training would be; give each training once, trained with its own seed"
            )
    return together(trainings)


def _same_network(left: Measurement, right: Measurement) -> bool:
    known = left.model.fingerprint
    if known and known == right.model.fingerprint:
        return True
    # Counts and hits may well be the same of two networks; log-likelihoods are not.
    alike = [(left, right)]
    if left.answers is not None and right.answers is not None:
        alike.append((left.answers, right.answers))
    return all(np.array_equal(one.values, other.values) for one, other in alike)


def trainings_of(measurement: T) -> tuple[T, ...]:
    """The trainings that ``measurement`` is the mean of, or itself."""
    return cast(tuple[T, ...], measurement.trainings or (measurement,))


def unstructured_training(measurement: Measurement) -> str:
    """Why a training of ``measurement`` tells nothing, in words; empty where all do."""
    for number, each in enumerate(measurement.trainings, start=1):
        if why := each.unstructured_because:
            return f"training {number} of {len(measurement.trainings)} ({each.model.name}): {why}"
    return ""


def files_of(measurement: Measurement) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """As ``Measurement.files`` of each training, in one document and stacked arrays."""
    found = [each.files() for each in measurement.trainings]
    document, arrays = found[0]
    stacked = {
        name: np.stack([each[name] for _, each in found]) if name in STACKED else array
        for name, array in arrays.items()
        if all(name in each for _, each in found)
    }
    document["model"] = asdict(measurement.model)
    document["trainings"] = [
        {**asdict(each.model), "forward_passes": each.forward_passes}
        for each in measurement.trainings
    ]
    return document, stacked


def split(
    document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> list[tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
    """What ``files_of`` put together, training by training; ValueError where it is not that."""
    told = document["trainings"]
    if not isinstance(told, list) or not 2 <= len(told) <= MOST:
        raise ValueError("trainings are not a list of two or more")
    for name in STACKED:
        if name in arrays and (arrays[name].ndim < 2 or len(arrays[name]) != len(told)):
            raise ValueError(f"{name} of shape {arrays[name].shape} are not {len(told)} trainings")
    found = []
    for at, each in enumerate(told):
        if not isinstance(each, Mapping):
            raise ValueError(f"training {at + 1} is {each!r}")
        model = dict(each)
        own = {k: v for k, v in document.items() if k != "trainings"}
        own |= {"forward_passes": model.pop("forward_passes"), "model": model}
        if isinstance(answers := own.get("answers"), Mapping) and "model" in answers:
            # Where the gate itself does not see how many classes there are.
            own["answers"] = {
                **answers,
                "model": {**model, "classes": dict(answers["model"])["classes"]},
            }
        rows = {name: array[at] if name in STACKED else array for name, array in arrays.items()}
        found.append((own, rows))
    return found


def together(trainings: Sequence[T]) -> T:
    """The mean of ``trainings`` that are known to fit each other."""
    first = trainings[0]
    every: dict[str, Any] = {
        name: sum(getattr(each, name) for each in trainings) for name in (*SUMMED, "seconds")
    }
    for name in (name for name in AVERAGED if name in first.PER_IMAGE):
        rows = [getattr(each, name) for each in trainings]
        known = [each for each in rows if each is not None]
        if known:
            # What one lacks, such as the log-likelihoods of a baseline, the mean lacks.
            every[name] = np.mean(known, axis=0) if len(known) == len(rows) else None
    answers = [each.answers for each in trainings if each.answers is not None]
    fingerprints = [each.model.fingerprint for each in trainings]
    all_of_them = "".join(sorted(each for each in fingerprints if each is not None))
    names = Counter(each.model.name for each in trainings)
    name = first.model.name if len(names) == 1 else " and ".join(_few([*names]))
    model = replace(
        first.model,
        name=f"{name} ({len(trainings)} trainings)",
        fingerprint=None
        if None in fingerprints
        else hashlib.sha256(all_of_them.encode()).hexdigest()[:16],
    )
    return replace(
        first,
        **every,
        trainings=tuple(trainings),
        model=model,
        answers=together(answers) if len(answers) == len(trainings) else None,
        notes=tuple(dict.fromkeys(note for each in trainings for note in each.notes)),
        not_cached_because=next((n for each in trainings if (n := each.not_cached_because)), ""),
    )


def _few(names: list[str]) -> list[str]:
    return names if len(names) < 3 else [names[0], f"{len(names) - 1} others"]


def _unlike(first: Measurement, other: Measurement) -> str:
    """How ``other`` was measured otherwise than ``first``; empty where it was not."""
    if first.kind != other.kind:
        return f"{first.kind}, {other.kind}"
    if first.settings != other.settings:
        names = {*first.settings, *other.settings}
        return ", ".join(sorted(n for n in names if first.settings.get(n) != other.settings.get(n)))
    if first.quantities != other.quantities:
        return "other quantities"
    if first.digests != other.digests or not np.array_equal(first.labels, other.labels):
        return "other images or labels"
    if first.groups != other.groups:
        return "other groups"
    if (first.model.classes, first.model.fed) != (other.model.classes, other.model.fed):
        return "another number of classes, or fed otherwise"
    panels = [each.answers and each.answers.settings["panel"] for each in (first, other)]
    if panels[0] != panels[1]:
        return "another panel"
    return ""

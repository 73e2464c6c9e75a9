"""Two models measured alike: the same images, labels and coalitions, each run as it is."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from pytest_iaside.compare.answers import explained_by_temperature
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.kept_open import kept_open
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import AUTO, measure_answers, panel_of, with_answers
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.spectral import measure
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.settings import Settings

PASSES = 64
"""Of an image, about: those of its answers, and of the design that is usual here."""


def measured_both(
    deployed: Any,
    original: Any,
    sample: ReferenceSample,
    settings: Settings,
    *,
    progress: Any = None,
) -> tuple[SpectralProfile, SpectralProfile]:
    """Answers and game of both models on the same images, labels and coalitions.

    Raises ModelError where they have unlike classes; SettingsError for one object twice, for
    ``space="input"`` where they are fed other numbers, and as ``measure``.
    """
    first, second = as_classifier(original), as_classifier(deployed)
    _check_two(second, first)
    _check_tasks(second, first)
    options = {"panel": AUTO, "seed": 0, "cache": True, **settings.measure}
    panel = panel_of(options.pop("panel"), sample.shape)
    execution, seed, cache = options.pop("execution"), options["seed"], options.pop("cache")
    options = _in_pixels(options, first, second)
    known: Measurement | None = None
    temperature, found = 1.0, list[SpectralProfile]()
    for model, keeps in ((first, cache), (second, False)):
        own = as_it_is(model, execution)
        alone = own.executor is None
        with kept_open(passes=PASSES * len(sample)) if alone else nullcontext():
            answers = measure_answers(
                model, sample, panel, seed=seed, execution=own, labels_from=known, cache=keeps
            )
            if known is None:
                known = answers
            else:
                _check_classes(answers, known)
                temperature = explained_by_temperature(answers, known) or 1.0
            profile = measure(
                model,
                sample,
                **options,
                execution=own,
                cache=keeps,
                labels_from=found[0] if found else known,
                temperature=temperature,
                progress=progress,
            )
        found.append(with_answers(profile, answers))
    # What each is fed is part of it: the images are the same.
    old, new = (_fed_alike(one) for one in found)
    return new, old


def as_it_is(model: Classifier, execution: Execution) -> Execution:
    """``execution`` that converts nothing where nobody names a back end."""
    if isinstance(model.network, Path):
        return replace(execution, backend="auto")
    if execution.backend == "auto" or not isinstance(model.network, nn.Module):
        return replace(execution, backend="eager")
    return execution


def _in_pixels(
    options: dict[str, Any], original: Classifier, deployed: Classifier
) -> dict[str, Any]:
    """``options``, with bands of pixels where the two networks are fed other numbers of them."""
    if original.fed == deployed.fed:
        return options
    if options.get("space", "pixel") != "pixel":
        raise SettingsError(
            f"space='input' takes bands of what a network is fed, and the original is fed "
            f"{original.fed}, the deployed {deployed.fed}; leave space out, or give 'pixel'"
        )
    return {**options, "space": "pixel"}


def _check_two(deployed: Classifier, original: Classifier) -> None:
    """Raise SettingsError where both are one object, which is always equivalent to itself."""
    one, other = deployed.network, original.network
    if one is other or (isinstance(one, Path) and isinstance(other, Path) and one.samefile(other)):
        raise SettingsError(
            f"the deployed and the original model are the same object ({original.name}), so "
            "nothing would be compared; where quantising or pruning works in place, keep the "
            "original with copy.deepcopy(model) before"
        )


def _check_tasks(deployed: Classifier, original: Classifier) -> None:
    kinds = deployed.task.kind, original.task.kind
    if kinds[0] != kinds[1]:
        raise ModelError(
            f"the deployed model is measured by {kinds[0]}, the original by {kinds[1]}; give both "
            "the same task= or score="
        )


def _check_classes(deployed: Measurement, original: Measurement) -> None:
    counts = deployed.model.classes, original.model.classes
    if counts[0] != counts[1]:
        raise ModelError(
            f"the deployed model has {counts[0]} classes, the original {counts[1]}; give two "
            "models of the same classes in the same order"
        )


def _fed_alike(one: SpectralProfile) -> SpectralProfile:
    answers = one.answers
    assert answers is not None
    return replace(
        one,
        model=replace(one.model, fed=None),
        answers=replace(answers, model=replace(answers.model, fed=None)),
    )

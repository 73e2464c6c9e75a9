"""The set of models that a study compares."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from pytest_iaside.errors import ModelError, SettingsError, one_line
from pytest_iaside.models.classifier import Classifier, as_classifier

EXPECTED = (
    "expected a mapping from names to models: modules, Classifiers, functions without arguments "
    "that make one, or StudyModel(model, group=…, noise=…)"
)


@dataclass(frozen=True, eq=False)
class StudyModel:
    """One model of a study.

    ``model`` is whatever ``Classifier`` accepts, or a function without arguments that makes it:
    then the models need not all be in memory at once. ``group`` is the kind of model that charts
    show it as, such as an architecture. Models of one ``recipe`` differ in their seed alone: a
    correlation counts them once. ``noise`` is the share of the labels, from 0 to 1, that were
    wrong when it was trained. ``name`` is its key in the set, and its recipe unless that is said.

    Raises SettingsError for a ``noise`` that is no share and a group or recipe that is no text.
    """

    model: Any
    group: str = ""
    recipe: str = ""
    noise: float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        for what in ("group", "recipe"):
            if not isinstance(found := getattr(self, what), str):
                raise SettingsError(f"{what}={found!r} cannot be used; expected text")
        if self.noise is None:
            return
        number = isinstance(self.noise, (int, float)) and not isinstance(self.noise, bool)
        if not number or not 0 <= self.noise <= 1:
            raise SettingsError(
                f"noise={self.noise!r} must be the share of wrong labels, from 0 to 1"
            )

    def load(self) -> Classifier:
        """The model itself, under its name; raises ModelError where it cannot be had."""
        model = self.model
        if _is_factory(model):
            try:
                model = model()
            except Exception as error:  # Whatever the user's function raises.
                raise ModelError(f"it could not be made ({one_line(error)})") from error
            if model is None:
                raise ModelError("the function that makes it returned None")
        classifier = as_classifier(model)
        return Classifier(
            classifier.network,
            mean=classifier.mean,
            std=classifier.std,
            name=self.name,
            version=classifier.version,
        )


def study_models(made: Any, source: str, least: int) -> list[StudyModel]:
    """The models of the mapping ``made``, which ``source`` returned, in its order.

    Raises SettingsError unless it is a mapping of at least ``least`` models.
    """
    if not isinstance(made, Mapping):
        raise SettingsError(f"{source} returned {_described(made)}; {EXPECTED}")
    if len(made) < least:
        raise SettingsError(
            f"{source} returned {len(made)} {'model' if len(made) == 1 else 'models'}; this study "
            f"needs at least {least}"
        )
    models = []
    for name, model in made.items():
        if not isinstance(model, StudyModel):
            if not callable(model) and not isinstance(model, (Classifier, str, Path)):
                raise SettingsError(f"{name!r} in {source} is {_described(model)}; {EXPECTED}")
            model = StudyModel(model)
        models.append(replace(model, name=str(name), recipe=model.recipe or str(name)))
    return models


def _is_factory(model: Any) -> bool:
    """Whether ``model`` is a function without arguments, as no model is."""
    if isinstance(model, (nn.Module, Classifier)) or not callable(model):
        return False
    try:
        parameters = inspect.signature(model).parameters.values()
    except (TypeError, ValueError):
        return False  # Built in, as a function of tensors may be.
    return all(
        parameter.default is not parameter.empty
        or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in parameters
    )


def _described(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"

"""The models of a study: what each of them is, and measuring one after another."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from pytest_iaside.checks import check_range, is_number
from pytest_iaside.errors import ModelError, ReferenceSampleError, SettingsError, one_line
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import first_images
from pytest_iaside.measure.metrics import accuracy
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.spectral import Progress, measure
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.stats.correlation import LEAST_MODELS

EXPECTED = (
    "expected a mapping from names to models: modules, Classifiers, functions without arguments "
    "that make one, or StudyModel(model, group=…, noise=…)"
)
# Of a profile, as in the JSON of every study.
SCORES = ("signed_src", "src", "value", "psi", "sid")
NOISE, PARAMETERS = "noise", "parameters"
OWN_COVARIATES = (NOISE, PARAMETERS)
"""Those that a study knows by itself."""
Showing = Callable[[str], AbstractContextManager[Callable[[Progress], None] | None]]
"""Of a model's name: a callback for its progress, while it is measured."""


@dataclass(frozen=True, eq=False)
class StudyModel:
    """One model of a study.

    ``model`` is whatever ``Classifier`` accepts, or a function without arguments that makes it:
    then the models need not all be in memory at once. ``group`` is the kind of model that charts
    show it as, such as an architecture. Models of one ``recipe`` differ in their seed alone: a
    correlation counts them once. ``noise`` is the share of the labels, from 0 to 1, that were
    wrong when it was trained; ``covariates`` are any other numbers that tell how it was made, such
    as the size of its training set. ``name`` is its key in the set, and its recipe unless that is
    said.

    Raises SettingsError for a ``noise`` that is no share, a covariate that is no finite number, and
    a group or recipe that is no text.
    """

    model: Any
    group: str = ""
    recipe: str = ""
    noise: float | None = None
    name: str = ""
    covariates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what in ("group", "recipe"):
            if not isinstance(found := getattr(self, what), str):
                raise SettingsError(f"{what}={found!r} cannot be used; expected text")
        if self.noise is not None:
            check_range("noise", self.noise, 0, 1, "the share of wrong labels, from 0 to 1")
        for what, value in self.covariates.items():
            if what in OWN_COVARIATES:
                raise SettingsError(
                    f"covariates={{{what!r}: …}} cannot be used; expected another name: noise is "
                    "an argument of its own, and parameters are counted"
                )
            if not is_number(value) or not math.isfinite(value):
                raise SettingsError(
                    f"covariates={{{what!r}: {value!r}}} cannot be used; expected a finite number"
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
        return as_classifier(model).named(self.name)


def study_models(made: Any, source: str) -> list[StudyModel]:
    """The models of the mapping that ``source`` returned, at least three; raises SettingsError."""
    if not isinstance(made, Mapping):
        raise SettingsError(f"{source} returned {_described(made)}; {EXPECTED}")
    if len(made) < LEAST_MODELS:
        raise SettingsError(
            f"{source} returned {len(made)} {'model' if len(made) == 1 else 'models'}; this study "
            f"needs at least {LEAST_MODELS}"
        )
    models = []
    for name, model in made.items():
        if not isinstance(model, StudyModel):
            if not callable(model) and not isinstance(model, (Classifier, str, Path)):
                raise SettingsError(f"{name!r} in {source} is {_described(model)}; {EXPECTED}")
            model = StudyModel(model)
        models.append(replace(model, name=str(name), recipe=model.recipe or str(name)))
    return models


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredModel:
    """A model's profile, and its accuracy on the clean images where they are labelled.

    ``parameters`` is how many the network has; None where that is not known.
    """

    model: StudyModel
    profile: SpectralProfile
    accuracy: float | None
    parameters: int | None = None

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def covariates(self) -> dict[str, float]:
        """All numbers by name that tell how it was made."""
        found = dict(self.model.covariates)
        if self.model.noise is not None:
            found[NOISE] = self.model.noise
        if self.parameters:
            found[PARAMETERS] = float(self.parameters)
        return found

    def as_dict(self) -> dict[str, Any]:
        """What was measured, in plain values and arrays; NaN and infinite ones among them."""
        profile = self.profile
        signed = profile.interval("signed_src")
        return {
            **{name: getattr(self.model, name) for name in ("name", "group", "recipe", "noise")},
            "covariates": self.covariates,
            "structured": profile.structured,
            "unstructured_because": profile.unstructured_because,
            **{name: getattr(profile, name) for name in SCORES},
            "signed_src_low": signed.low,
            "signed_src_high": signed.high,
            "psi_standard_error": profile.standard_error,
            "accuracy": self.accuracy,
            **information_of(profile),
            "fingerprint": profile.model.fingerprint,
        }


M = TypeVar("M", bound=MeasuredModel)


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredModels(Generic[M]):
    """The models of a study; only the structured ones, ``models``, count.

    ``unstructured`` ones have no SID; what is ``left_out``, by name and reason, was not measured.
    """

    models: Sequence[M]
    unstructured: Sequence[M] = ()
    left_out: Sequence[tuple[str, str]] = ()
    level: float = 0.95

    @property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(one.model.group for one in self.models))

    @property
    def measured(self) -> list[M]:
        return [*self.models, *self.unstructured]

    @property
    def counted(self) -> str:
        """How many are structured, for a message."""
        count = f"{len(self.models)} of {len(self.measured)}"
        return f"{count} models have ψ that can be told from noise"

    def as_dict(self) -> dict[str, Any]:
        """Everything that was found, in plain values and arrays, NaN and infinite ones too."""
        return {
            "models": [{**one.as_dict(), "used": one.profile.structured} for one in self.measured],
            "left_out": [{"name": name, "reason": reason} for name, reason in self.left_out],
        }


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How models are measured: on what, and with which settings of ``measure``.

    With the setting ``samples`` on the first images alone; raises SettingsError for too many.
    """

    reference: ReferenceSample
    settings: Mapping[str, Any]
    cache: bool = True
    showing: Showing

    def __post_init__(self) -> None:
        sample = first_images(self.reference, self.settings.get("samples"))
        object.__setattr__(self, "reference", sample)

    def measured(self, model: StudyModel, classifier: Classifier) -> MeasuredModel:
        """The profile of ``classifier``; raises as ``measure``."""
        with self.showing(model.name) as progress:
            profile = measure(
                classifier, self.reference, **self.settings, progress=progress, cache=self.cache
            )
        right = None
        if self.reference.labels is not None:
            right = accuracy(classifier, self.reference, execution=self.execution).value
        return MeasuredModel(
            model=model, profile=profile, accuracy=right, parameters=_parameters(classifier)
        )

    @property
    def execution(self) -> Execution:
        """Where forward passes run."""
        found: Execution = self.settings.get("execution", Execution())
        return replace(found, dtype="float32")

    def each(
        self,
        models: Sequence[StudyModel],
        measured: Callable[[StudyModel, Classifier], M],
        told: Callable[[M], None],
        level: float,
    ) -> MeasuredModels[M]:
        """What ``measured`` makes of every model; raises ModelError where fewer than 3 are left."""
        done: list[M] = []
        left_out: list[tuple[str, str]] = []
        for model in models:
            try:
                done.append(measured(model, model.load()))
            except (ModelError, ReferenceSampleError) as error:
                left_out.append((model.name, str(error)))
            else:
                told(done[-1])
        if len(done) < LEAST_MODELS:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out[:3])
            raise ModelError(
                f"{len(done)} of {len(models)} models could be measured, and this study needs at "
                f"least {LEAST_MODELS} ({reasons})"
            )
        return MeasuredModels(
            models=[one for one in done if one.profile.structured],
            unstructured=[one for one in done if not one.profile.structured],
            left_out=left_out,
            level=level,
        )


def information_of(profile: SpectralProfile) -> dict[str, float]:
    """What ``profile`` tells of the labels at least, and how far its ψ may be off: SPEC 1.6, 1.7.

    ``information_share`` is NaN where all labels are the same; bounds where not all coalitions were
    played.
    """
    entropy, bound = profile.label_entropy, profile.information_bound
    played = profile.log_likelihood is not None
    return {
        "label_entropy": entropy,
        "information_bound": bound,
        "information_share": bound / entropy if entropy > 0 else float("nan"),
        "error_bound": profile.error_bound() if played else float("nan"),
        "tight_error_bound": profile.tight_error_bound() if played else float("nan"),
    }


def _parameters(classifier: Classifier) -> int | None:
    """How many parameters the network has, as PyTorch counts them."""
    network = classifier.network
    if not isinstance(network, nn.Module):
        return None
    return sum(each.numel() for each in network.parameters()) or None


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

"""Measuring every model of a study: one after another, each kept, those that fail left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pytest_iaside.errors import ModelError, ReferenceSampleError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.metrics import accuracy
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.spectral import Progress, measure
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.estimate import Estimate
from pytest_iaside.study.models import StudyModel

T = TypeVar("T")
Showing = Callable[[str], AbstractContextManager[Callable[[Progress], None] | None]]
"""Of a model's name: a callback for its progress, while it is measured."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredModel:
    """A model's profile, and its accuracy on the clean images where they are labelled."""

    model: StudyModel
    profile: SpectralProfile
    accuracy: Estimate | None

    @property
    def name(self) -> str:
        return self.model.name

    def as_dict(self) -> dict[str, Any]:
        """What was measured, in plain values; NaN and infinite ones among them."""
        profile = self.profile
        signed = profile.interval("signed_src")
        return {
            "name": self.name,
            "group": self.model.group,
            "recipe": self.model.recipe,
            "noise": self.model.noise,
            "structured": profile.structured,
            "unstructured_because": profile.unstructured_because,
            "signed_src": profile.signed_src,
            "signed_src_low": float(signed.low),
            "signed_src_high": float(signed.high),
            "src": profile.src,
            "value": profile.value,
            "psi": profile.psi.tolist(),
            "psi_standard_error": profile.standard_error.tolist(),
            "sid": profile.sid.tolist(),
            "accuracy": None if self.accuracy is None else self.accuracy.value,
            "fingerprint": profile.model.fingerprint,
        }


@dataclass(frozen=True)
class LeftOut:
    """A model that could not be measured, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How models are measured: on what, and with which settings of ``measure``."""

    reference: ReferenceSample
    settings: Mapping[str, Any]
    cache: bool = True
    showing: Showing

    @classmethod
    def of(
        cls,
        reference: ReferenceSample,
        settings: Mapping[str, Any],
        *,
        cache: bool,
        showing: Showing,
    ) -> Measuring:
        """With the setting ``samples`` of the first images alone, for robustness as for ψ.

        Raises SettingsError where there are not so many.
        """
        samples = settings.get("samples")
        if isinstance(samples, int):
            if not 1 <= samples <= len(reference):
                raise SettingsError(
                    f"samples={samples} images asked for, but the reference sample holds "
                    f"{len(reference)}; ask for fewer, or leave it out for all of them"
                )
            reference = reference.take(range(samples))
        others = {name: value for name, value in settings.items() if name != "samples"}
        return cls(reference=reference, settings=others, cache=cache, showing=showing)

    def measured(self, model: StudyModel, classifier: Classifier) -> MeasuredModel:
        """The profile of ``classifier``; raises as ``measure``."""
        with self.showing(model.name) as progress:
            profile = measure(
                classifier, self.reference, **self.settings, progress=progress, cache=self.cache
            )
        right = None
        if self.reference.labels is not None:
            right = accuracy(classifier, self.reference, execution=self.execution)
        return MeasuredModel(model=model, profile=profile, accuracy=right)

    @property
    def execution(self) -> Execution:
        """Where forward passes run."""
        found: Execution = self.settings.get("execution", Execution())
        return replace(found, dtype="float32")


def each(
    models: Sequence[StudyModel], work: Callable[[StudyModel, Classifier], T], least: int
) -> tuple[list[T], list[LeftOut]]:
    """What ``work`` makes of every model, and the models that it cannot be done with.

    Raises ModelError where fewer than ``least`` are left; a wrong setting ends it at once.
    """
    done: list[T] = []
    left_out: list[LeftOut] = []
    for model in models:
        try:
            done.append(work(model, model.load()))
        except (ModelError, ReferenceSampleError) as error:
            left_out.append(LeftOut(model.name, str(error)))
    if len(done) < least:
        reasons = "; ".join(f"{model.name}: {model.reason}" for model in left_out[:3])
        raise ModelError(
            f"{len(done)} of {len(models)} models could be measured, and this study needs at "
            f"least {least} ({reasons})"
        )
    return done, left_out

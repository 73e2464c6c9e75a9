"""A model of a study with its robustness, and measuring one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_iaside.measure.answers import Perturbation
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.study.models import MeasuredModel, Measuring, StudyModel
from pytest_iaside.study.predictors import more_predictors
from pytest_iaside.study.robustness import Robustness, robustness


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparedModel(MeasuredModel):
    """A measured model and how perturbations move its answers.

    ``more`` are further predictors, (K,) each, by name.
    """

    robustness: Robustness
    more: Mapping[str, Floats] = field(default_factory=dict)


def comparing(
    measuring: Measuring,
    perturbations: Mapping[str, Perturbation],
    *,
    predictors: Sequence[str] = (),
    mce: bool = False,
    seed: int = 0,
    folder: Path | None = None,
) -> Callable[[StudyModel, Classifier], ComparedModel]:
    """What measures one model, its robustness and further ``predictors``."""
    how: Any = {"seed": seed, "execution": measuring.execution, "folder": folder}
    settings = measuring.settings
    banded = {name: settings[name] for name in ("bands", "partition") if name in settings}

    def compared(model: StudyModel, classifier: Classifier) -> ComparedModel:
        measured, sample = measuring.measured(model, classifier), measuring.reference
        found = robustness(classifier, sample, perturbations, mce=mce, **how, **banded)
        more = more_predictors(predictors, classifier, sample, measured.profile, **how)
        return ComparedModel(**vars(measured), robustness=found, more=more)

    return compared

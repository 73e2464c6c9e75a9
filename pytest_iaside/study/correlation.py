"""Does SRC follow robustness? Correlations over a set of models (SPEC.md 2; [A] figs. 7–9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pytest_iaside.errors import ModelError
from pytest_iaside.measure.answers import Perturbation
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.correlation import LEAST_MODELS, Correlation, adjust, averages
from pytest_iaside.study.measured import LeftOut, MeasuredModel, Measuring, each
from pytest_iaside.study.models import StudyModel
from pytest_iaside.study.quantities import (
    MEAN,
    SIGNED_SRC,
    Quantities,
    accuracy_drops,
    correlation,
    mean_prediction_errors,
    predictors,
)
from pytest_iaside.study.robustness import Robustness, robustness


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparedModel:
    """A measured model and how perturbations move its answers."""

    measured: MeasuredModel
    robustness: Robustness


@dataclass(frozen=True, kw_only=True)
class Follows:
    """How closely ``predictor`` goes together with ``target``.

    Over ``recipes`` the models of a recipe are averaged first: near copies of each other are no
    further evidence. Over ``models`` every model counts.
    """

    predictor: str
    target: str
    recipes: Correlation
    models: Correlation


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """Every predictor against one kind of target."""

    targets: Quantities
    mean: Sequence[Follows]
    """Against the mean over all perturbations, the closest first."""
    single: Sequence[Follows]
    """Against each perturbation: for every predictor in turn, every perturbation."""

    def of(self, predictor: str) -> Follows:
        """``predictor`` against the mean over all perturbations."""
        return next(one for one in self.mean if one.predictor == predictor)

    def as_dict(self) -> dict[str, Any]:
        return {
            "mean": [asdict(one) for one in self.mean],
            "by_perturbation": [asdict(one) for one in self.single],
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class CorrelationStudy:
    """What ``correlation_study`` found: how ``predictors`` follow mPE and the accuracy drop."""

    models: Sequence[ComparedModel]
    unstructured: Sequence[ComparedModel]
    """Measured, but left out of the correlations: they have no SID."""
    left_out: Sequence[LeftOut]
    perturbations: Sequence[str]
    predictors: Quantities
    mpe: Table
    drop: Table
    level: float

    @property
    def recipes(self) -> list[str]:
        """What the models were trained by, each once."""
        return list(dict.fromkeys(each.measured.model.recipe for each in self.models))

    def better_than_src(self) -> list[Follows]:
        """What follows mean mPE more closely than the signed SRC does, the closest first."""
        closeness = np.nan_to_num(abs(self.mpe.of(SIGNED_SRC).recipes.pearson))
        return [one for one in self.mpe.mean if abs(one.recipes.pearson) > closeness]

    def as_dict(self) -> dict[str, Any]:
        """Everything that was found, in plain values; NaN and infinite ones among them."""
        models = [
            {
                **one.measured.as_dict(),
                "used": one in self.models,
                "mpe": _by_name(self.perturbations, one.robustness.errors),
                "accuracy_drop": _by_name(self.perturbations, one.robustness.drops),
            }
            for one in (*self.models, *self.unstructured)
        ]
        return {
            "models": models,
            "recipes": self.recipes,
            "left_out": [asdict(one) for one in self.left_out],
            "perturbations": list(self.perturbations),
            "level": self.level,
            "mpe": self.mpe.as_dict(),
            "accuracy_drop": self.drop.as_dict(),
        }


def correlation_study(
    models: Sequence[StudyModel],
    measuring: Measuring,
    perturbations: Mapping[str, Perturbation],
    *,
    seed: int = 0,
    level: float = 0.95,
    folder: Path | None = None,
    told: Callable[[ComparedModel], None] = lambda _: None,
) -> CorrelationStudy:
    """Measure ``models`` and their robustness, and see which of their quantities follows it.

    Corruptions are drawn with ``seed``. ``folder`` keeps what perturbations did; ``told`` is
    called with every model that is done.

    Raises ModelError where fewer than three structured models of different recipes are left.
    """

    def work(model: StudyModel, classifier: Classifier) -> ComparedModel:
        found = ComparedModel(
            measured=measuring.measured(model, classifier),
            robustness=robustness(
                classifier,
                measuring.reference,
                perturbations,
                seed=seed,
                execution=measuring.execution,
                folder=folder,
            ),
        )
        told(found)
        return found

    done, left_out = each(models, work, LEAST_MODELS)
    used = [one for one in done if one.measured.profile.structured]
    recipes = {one.measured.model.recipe for one in used}
    if len(recipes) < LEAST_MODELS:
        raise ModelError(
            f"{len(used)} of {len(done)} models have ψ that can be told from noise, of "
            f"{len(recipes)} recipes; a correlation needs at least {LEAST_MODELS} of different "
            "recipes: train more models, or measure on more images"
        )
    return correlated(
        used,
        unstructured=[one for one in done if not one.measured.profile.structured],
        left_out=left_out,
        perturbations=list(perturbations),
        labelled=measuring.reference.labels is not None,
        level=level,
    )


def correlated(
    models: Sequence[ComparedModel],
    *,
    perturbations: Sequence[str],
    labelled: bool,
    level: float,
    unstructured: Sequence[ComparedModel] = (),
    left_out: Sequence[LeftOut] = (),
) -> CorrelationStudy:
    """The study of ``models`` that were measured; without labels there is no clean accuracy."""
    recipes = [one.measured.model.recipe for one in models]
    answered = [one.robustness for one in models]
    foretelling = predictors(
        [one.measured.profile for one in models],
        [one.right for one in answered] if labelled else None,
    )
    mpe, drop = (
        _table(foretelling, targets(perturbations, answered), recipes, level)
        for targets in (mean_prediction_errors, accuracy_drops)
    )
    return CorrelationStudy(
        models=models,
        unstructured=unstructured,
        left_out=left_out,
        perturbations=perturbations,
        predictors=foretelling,
        mpe=mpe,
        drop=drop,
        level=level,
    )


def _table(
    foretelling: Quantities, targets: Quantities, recipes: Sequence[str], level: float
) -> Table:
    def follows(predictor: str, target: str) -> Follows:
        first, second = foretelling[predictor], targets[target]
        return Follows(
            predictor=predictor,
            target=target,
            recipes=correlation(averages(first, recipes), averages(second, recipes), level),
            models=correlation(first, second, level),
        )

    mean = _adjusted([follows(predictor, MEAN) for predictor in foretelling.names])
    single = [
        follows(predictor, target)
        for predictor in foretelling.names
        for target in targets.names
        if target != MEAN
    ]
    return Table(targets=targets, mean=sorted(mean, key=_distance), single=_adjusted(single))


def _adjusted(table: Sequence[Follows]) -> list[Follows]:
    """``table`` with p-values that count how many correlations stand in it."""
    adjusted = adjust([one.recipes for one in table])
    return [replace(one, recipes=found) for one, found in zip(table, adjusted, strict=True)]


def _distance(one: Follows) -> float:
    closeness = abs(one.recipes.pearson)
    return float("inf") if np.isnan(closeness) else -closeness


def _by_name(names: Sequence[str], rows: np.ndarray) -> dict[str, float]:
    return dict(zip(names, rows.mean(axis=1).tolist(), strict=True))

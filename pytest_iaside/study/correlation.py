"""Does SRC follow robustness? Correlations over a set of models (SPEC.md 2; [A] figs. 7–9).

All models are measured on the same images. What leaving an image out does to every model at
once is therefore what the choice of images does to a correlation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pytest_iaside.errors import ModelError
from pytest_iaside.measure.answers import Perturbation
from pytest_iaside.stats import correlation as stats
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import of_rows
from pytest_iaside.study.compared import ComparedModel, comparing
from pytest_iaside.study.models import MeasuredModels, Measuring, StudyModel
from pytest_iaside.study.quantities import (
    MEAN,
    SIGNED_SRC,
    Quantities,
    beyond_of,
    covariates_of,
    predictors_of,
    targets_of,
)


@dataclass(frozen=True)
class Follows:
    """How closely ``predictor`` goes together with ``target``.

    Over ``recipes`` the models of a recipe are averaged first: near copies of each other are no
    further evidence. Over ``models`` every model counts. ``left_out`` is how far the target of a
    recipe is foretold from all others.
    """

    predictor: str
    target: str
    recipes: stats.Correlation
    models: stats.Correlation
    left_out: stats.LeftOut


@dataclass(frozen=True, eq=False, kw_only=True)
class Correlations:
    """Every predictor against one kind of target."""

    targets: Quantities
    mean: Sequence[Follows]  # Against the mean over all perturbations, the closest first.
    single: Sequence[Follows]
    """Against each perturbation: for every predictor in turn, every perturbation."""

    def of(self, predictor: str) -> Follows:
        """``predictor`` against the mean over all perturbations."""
        return next(one for one in self.mean if one.predictor == predictor)

    def as_dict(self) -> dict[str, Any]:
        tables = {"mean": self.mean, "by_perturbation": self.single}
        return {name: [asdict(one) for one in table] for name, table in tables.items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class CorrelationStudy(MeasuredModels[ComparedModel]):
    """What ``correlation_study`` found: how ``predictors`` follow mPE and the accuracy drop.

    ``beyond`` is of the accuracy lost beyond what clean accuracy explains, the effective robustness
    with its sign turned, so that robust models have low values; None without labels. ``mce`` is of
    the mCE, in percent; None where it was not asked for.
    """

    perturbations: Sequence[str]
    predictors: Quantities
    mpe: Correlations
    drop: Correlations
    beyond: Correlations | None
    mce: Correlations | None = None

    @property
    def recipes(self) -> list[str]:
        """What the models were trained by, each once."""
        return list(dict.fromkeys(one.model.recipe for one in self.models))

    def better_than_src(self) -> list[Follows]:
        """What follows mean mPE more closely than the signed SRC does, the closest first."""
        closeness = np.nan_to_num(abs(self.mpe.of(SIGNED_SRC).recipes.pearson))
        return [one for one in self.mpe.mean if abs(one.recipes.pearson) > closeness]

    def as_dict(self) -> dict[str, Any]:
        found = super().as_dict()
        for one, model in zip(found["models"], self.measured, strict=True):
            answered = model.robustness
            for name, rows in (("mpe", answered.errors), ("accuracy_drop", answered.drops)):
                one[name] = dict(zip(self.perturbations, rows.mean(axis=1).tolist(), strict=True))
            one["mce"] = None if answered.mce is None else float(answered.mce.mean())
        return {
            **found,
            "recipes": self.recipes,
            "perturbations": self.perturbations,
            "level": self.level,
            "mpe": self.mpe.as_dict(),
            "accuracy_drop": self.drop.as_dict(),
            "beyond_clean_accuracy": None if self.beyond is None else self.beyond.as_dict(),
            "mce": None if self.mce is None else self.mce.as_dict(),
        }


def correlation_study(
    models: Sequence[StudyModel],
    measuring: Measuring,
    perturbations: Mapping[str, Perturbation],
    *,
    predictors: Sequence[str] = (),
    betas: Sequence[float] = (),
    mce: bool = False,
    seed: int = 0,
    level: float = 0.95,
    folder: Path | None = None,
    told: Callable[[ComparedModel], None] = lambda _: None,
) -> CorrelationStudy:
    """Measure ``models`` and their robustness, and see which of their quantities follows it.

    ``predictors`` are groups of further ones (predictors.py), ``betas`` those of further scores,
    and ``covariates`` that all models give are predictors as well; ``mce`` adds that target.
    Corruptions are drawn with ``seed``; ``folder`` keeps what perturbations did. Raises ModelError
    where fewer than three structured models of different recipes are left.
    """
    compared = comparing(
        measuring, perturbations, predictors=predictors, mce=mce, seed=seed, folder=folder
    )
    found = measuring.each(models, compared, told, level)
    recipes = {one.model.recipe for one in found.models}
    if len(recipes) < stats.LEAST_MODELS:
        raise ModelError(
            f"{found.counted}, of {len(recipes)} recipes; a correlation needs at least "
            f"{stats.LEAST_MODELS} of different recipes: train more models, or measure on more "
            "images"
        )
    labelled = measuring.reference.labels is not None
    return correlated(found, list(perturbations), labelled=labelled, betas=betas, own=predictors)


def correlated(
    found: MeasuredModels[ComparedModel],
    perturbations: Sequence[str],
    *,
    labelled: bool,
    betas: Sequence[float] = (),
    own: Sequence[str] = (),
) -> CorrelationStudy:
    """The study of models that were measured; without labels there is no clean accuracy."""
    answered = [one.robustness for one in found.models]
    recipes = [one.model.recipe for one in found.models]
    first = found.models[0].profile
    groups = of_rows(first.digests, first.groups)
    predictors = predictors_of(found.models, labelled, groups, betas)
    predictors |= covariates_of(found.models, len(predictors[SIGNED_SRC]), own)
    mpe, drop = (
        _correlations(predictors, targets_of(perturbations, rows, groups), recipes, found.level)
        for rows in ([each.errors for each in answered], [each.drops for each in answered])
    )
    beyond = None
    if labelled:
        targets = beyond_of(perturbations, answered, recipes, groups)
        beyond = _correlations(predictors, targets, recipes, found.level)
    mce = None
    if all(each.mce is not None for each in answered):
        rows = [np.asarray(each.mce)[None] for each in answered]
        only = {MEAN: targets_of([MEAN], rows, groups)[MEAN]}
        mce = _correlations(predictors, only, recipes, found.level)
    return CorrelationStudy(
        **vars(found),
        perturbations=perturbations,
        predictors=predictors,
        mpe=mpe,
        drop=drop,
        beyond=beyond,
        mce=mce,
    )


def _correlations(
    predictors: Quantities, targets: Quantities, recipes: Sequence[str], level: float
) -> Correlations:
    def follow(names: Sequence[str]) -> list[Follows]:
        """Every predictor against the targets ``names``; p-values count how many there are."""
        found = []
        for (predictor, x), target in product(predictors.items(), names):
            y = targets[target]
            first, second = (stats.averages(each, recipes) for each in (x, y))
            over_recipes = _correlation(first, second, level)
            over_models = _correlation(x, y, level)
            left_out = stats.left_out(first[0], second[0])
            found.append(Follows(predictor, target, over_recipes, over_models, left_out))
        adjusted = stats.adjust([one.recipes for one in found])
        return [replace(one, recipes=own) for one, own in zip(found, adjusted, strict=True)]

    mean = follow([MEAN])
    mean.sort(key=lambda one: np.nan_to_num(abs(one.recipes.pearson), nan=-1), reverse=True)
    return Correlations(targets=targets, mean=mean, single=follow(list(targets)[:-1]))


def _correlation(first: Floats, second: Floats, level: float) -> stats.Correlation:
    """Of quantities (K+1, N) of N models or recipes, with the error that comes from the images."""
    error = jackknife_error(stats.pearson(first[1:], second[1:]))
    return replace(stats.correlate(first[0], second[0], level), image_error=float(error))


def jackknife_error(left_out: Floats) -> Floats:
    """Standard errors (…) from what is found without each of K images or groups, (K, …)."""
    return np.asarray(np.sqrt(len(left_out) - 1) * left_out.std(axis=0))

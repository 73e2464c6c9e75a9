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
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats import correlation as stats
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import Groups, of_rows
from pytest_iaside.stats.intervals import leave_one_out
from pytest_iaside.stats.score import sid, signed_src
from pytest_iaside.study.effective import above_the_line
from pytest_iaside.study.models import MeasuredModel, MeasuredModels, Measuring, StudyModel
from pytest_iaside.study.robustness import Robustness, robustness

SIGNED_SRC, MEAN = "signed SRC", "mean"
Quantities = dict[str, Floats]
"""Quantities (K+1, N) of N models by name: of all images, then without each image or group."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparedModel(MeasuredModel):
    """A measured model and how perturbations move its answers."""

    robustness: Robustness


@dataclass(frozen=True)
class Follows:
    """How closely ``predictor`` goes together with ``target``.

    Over ``recipes`` the models of a recipe are averaged first: near copies of each other are no
    further evidence. Over ``models`` every model counts.
    """

    predictor: str
    target: str
    recipes: stats.Correlation
    models: stats.Correlation


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
    with its sign turned, so that robust models have low values; None without labels.
    """

    perturbations: Sequence[str]
    predictors: Quantities
    mpe: Correlations
    drop: Correlations
    beyond: Correlations | None

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
        return {
            **found,
            "recipes": self.recipes,
            "perturbations": self.perturbations,
            "level": self.level,
            "mpe": self.mpe.as_dict(),
            "accuracy_drop": self.drop.as_dict(),
            "beyond_clean_accuracy": None if self.beyond is None else self.beyond.as_dict(),
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

    Corruptions are drawn with ``seed``; ``folder`` keeps what perturbations did. Raises ModelError
    where fewer than three structured models of different recipes are left.
    """
    how: Any = {"seed": seed, "execution": measuring.execution, "folder": folder}
    settings = measuring.settings
    how |= {name: settings[name] for name in ("bands", "partition") if name in settings}

    def compared(model: StudyModel, classifier: Classifier) -> ComparedModel:
        measured = measuring.measured(model, classifier)
        found = robustness(classifier, measuring.reference, perturbations, **how)
        return ComparedModel(**vars(measured), robustness=found)

    found = measuring.each(models, compared, told, level)
    recipes = {one.model.recipe for one in found.models}
    if len(recipes) < stats.LEAST_MODELS:
        raise ModelError(
            f"{found.counted}, of {len(recipes)} recipes; a correlation needs at least "
            f"{stats.LEAST_MODELS} of different recipes: train more models, or measure on more "
            "images"
        )
    return correlated(found, list(perturbations), labelled=measuring.reference.labels is not None)


def correlated(
    found: MeasuredModels[ComparedModel], perturbations: Sequence[str], *, labelled: bool
) -> CorrelationStudy:
    """The study of models that were measured; without labels there is no clean accuracy."""
    answered = [one.robustness for one in found.models]
    recipes = [one.model.recipe for one in found.models]
    first = found.models[0].profile
    groups = of_rows(first.digests, first.groups)
    predictors = _predictors(found.models, labelled, groups)
    mpe, drop = (
        _correlations(predictors, _targets(perturbations, rows, groups), recipes, found.level)
        for rows in ([each.errors for each in answered], [each.drops for each in answered])
    )
    beyond = None
    if labelled:
        targets = _beyond(perturbations, answered, recipes, groups)
        beyond = _correlations(predictors, targets, recipes, found.level)
    return CorrelationStudy(
        **vars(found),
        perturbations=perturbations,
        predictors=predictors,
        mpe=mpe,
        drop=drop,
        beyond=beyond,
    )


def _predictors(
    models: Sequence[ComparedModel], labelled: bool, groups: Groups = None
) -> Quantities:
    """What may foretell robustness: scores, ψ of the bands, and what needs no game at all.

    The band response is the mean of what noise in each band changes (``Robustness``).

    mPE cannot fall further than the clean probability, the mean Q(y|x).
    """
    profiles = [one.profile for one in models]
    psi = _stacked([each.image_psi for each in profiles], groups)
    shares = sid(psi)
    score = signed_src(shares)
    bands = psi.shape[-1]

    def means(columns: Sequence[Floats]) -> Floats:
        return _whole_and_without(np.stack(columns, axis=1), groups)

    found: Quantities = {
        SIGNED_SRC: score,
        "SRC": np.abs(score),
        "SID, lower half": shares[..., : bands // 2].sum(axis=-1),
        "v(all)": means([each.image_value for each in profiles]),
        "clean probability": means([np.exp(each.by_size[:, -1]) for each in profiles]),
    }
    if labelled:
        found["clean accuracy"] = means([one.robustness.right for one in models])
    response = _stacked([one.robustness.response for one in models], groups)
    found["band response"] = response.mean(axis=-1)
    for name, values in (("ψ of", psi), ("response in", response)):
        found |= {f"{name} band {band}": values[..., band] for band in range(bands)}
    return found


def _targets(names: Sequence[str], rows: Sequence[Floats], groups: Groups = None) -> Quantities:
    """The means of ``rows`` (P, K), one of each model, under each perturbation, and over all."""
    values = _stacked([each.T for each in rows], groups)
    found = {name: values[..., at] for at, name in enumerate(names)}
    return found | {MEAN: values.mean(axis=-1)}


def _beyond(
    names: Sequence[str], answered: Sequence[Robustness], recipes: Sequence[str], groups: Groups
) -> Quantities:
    """The accuracy lost beyond the line of log-odds over the models, and its mean over all."""
    clean = _stacked([each.right[:, None] for each in answered], groups)[..., 0]
    perturbed = _stacked([each.right_perturbed.T for each in answered], groups)
    images = len(answered[0].right)
    found = {
        name: -above_the_line(clean, perturbed[..., at], recipes, images)
        for at, name in enumerate(names)
    }
    return found | {MEAN: np.mean(list(found.values()), axis=0)}


def _stacked(rows: Sequence[Floats], groups: Groups) -> Floats:
    """``_whole_and_without`` of the rows (K, D) of each of N models, (1+K, N, D)."""
    return np.stack([_whole_and_without(each, groups) for each in rows], axis=1)


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
            found.append(Follows(predictor, target, over_recipes, _correlation(x, y, level)))
        adjusted = stats.adjust([one.recipes for one in found])
        return [replace(one, recipes=own) for one, own in zip(found, adjusted, strict=True)]

    mean = follow([MEAN])
    mean.sort(key=lambda one: np.nan_to_num(abs(one.recipes.pearson), nan=-1), reverse=True)
    return Correlations(targets=targets, mean=mean, single=follow(list(targets)[:-1]))


def _correlation(first: Floats, second: Floats, level: float) -> stats.Correlation:
    """Of quantities (K+1, N) of N models or recipes, with the error that comes from the images."""
    error = jackknife_error(stats.pearson(first[1:], second[1:]))
    return replace(stats.correlate(first[0], second[0], level), image_error=float(error))


def _whole_and_without(rows: Floats, groups: Groups = None) -> Floats:
    """The mean (1+K, D) of the rows (K, D), then without each of them, or (1+G, D) each group."""
    return np.concatenate([rows.mean(axis=0, keepdims=True), leave_one_out(rows, groups)])


def jackknife_error(left_out: Floats) -> Floats:
    """Standard errors (…) from what is found without each of K images or groups, (K, …)."""
    return np.asarray(np.sqrt(len(left_out) - 1) * left_out.std(axis=0))

"""Models ranked for an environment by the loss that its spectrum foretells (SPEC.md 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from scipy import special

from pytest_iaside.checks import check_choice, check_level
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import answers, labels_of
from pytest_iaside.measure.band_losses import UNITS
from pytest_iaside.measure.game.changes import ScoreName
from pytest_iaside.measure.metrics import correct, prediction_errors
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats, one_hot
from pytest_iaside.stats.correlation import LEAST_MODELS, Correlation, correlate
from pytest_iaside.stats.estimate import Estimate
from pytest_iaside.stats.groups import Groups
from pytest_iaside.stats.ranking import rank_ranges
from pytest_iaside.study.effective import EffectiveRobustness, effective_robustness
from pytest_iaside.study.environments import Environment

Order = Literal["left", "lost"]
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What of a score is ``left`` and what is ``lost`` of each image in each environment, (E, K).

    Lost are nats, |Q − Q*| as in mPE, or right answers that turn wrong.
    """

    left: Floats
    lost: Floats

    def images(self, order: Order) -> Floats:
        """The mean over environments, (K,)."""
        return np.asarray((self.left if order == "left" else self.lost).mean(axis=0))


@dataclass(frozen=True, eq=False, kw_only=True)
class RankedModel:
    """A model with its clean ``accuracy``, and what becomes of it: foretold, and measured."""

    name: str
    accuracy: float
    foretold: Outcome
    measured: Outcome | None = None
    recipe: str = ""
    """Models of one recipe differ in their seed alone."""
    right: Floats | None = None
    """Which images of the pairs are answered right, (1+E, K): clean, then in each environment.

    None where nothing was measured, or without labels: no clean accuracy is known then.
    """


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranking:
    """Models by what is foretold to be left of a score, the most first, or lost, the least first.

    A model that is seldom right has little to lose: of 44 digit readers the one that loses least
    was 13 points less often right than the best, the one of which most is left 1.6
    (docs/prediction.md).
    """

    environments: Sequence[str]
    score: ScoreName
    order: Order
    models: Sequence[RankedModel]
    groups: Groups = None
    """Of the reference images, on which outcomes are foretold."""
    measured_groups: Groups = None
    level: float = 0.95
    notes: Sequence[str] = field(default=())

    @property
    def unit(self) -> str:
        return UNITS[self.score]

    @property
    def measured(self) -> bool:
        return self.models[0].measured is not None

    def foretold(self, model: RankedModel, order: Order) -> Estimate:
        """The mean over environments of what is left or lost, with its interval over images."""
        return self._estimate(model.foretold, order, self.groups)

    def found(self, model: RankedModel, order: Order) -> Estimate | None:
        """The same as it was measured; None where it was not."""
        if model.measured is None:
            return None
        return self._estimate(model.measured, order, self.measured_groups)

    @cached_property
    def ranks(self) -> list[tuple[int, int]]:
        """The best and the worst rank of each model, as far as what is foretold tells."""
        return self._ranks([each.foretold for each in self.models], self.groups)

    @cached_property
    def measured_ranks(self) -> list[tuple[int, int]]:
        """The same of what was measured; empty where nothing was."""
        outcomes = [each.measured for each in self.models if each.measured is not None]
        return self._ranks(outcomes, self.measured_groups) if outcomes else []

    def _ranks(self, outcomes: Sequence[Outcome], groups: Groups) -> list[tuple[int, int]]:
        sign = -1 if self.order == "left" else 1
        rows = np.stack([sign * each.images(self.order) for each in outcomes])
        found = rank_ranges(rows, self.level, groups)
        return [(int(best), int(worst)) for best, worst in zip(*found, strict=True)]

    @cached_property
    def effective(self) -> EffectiveRobustness | None:
        """The accuracy of each model, as measured, above the line through all of them.

        The mean over environments; None where nothing was measured, without labels, or of fewer
        than three recipes.
        """
        right = [each.right for each in self.models if each.right is not None]
        recipes = [each.recipe or each.name for each in self.models]
        if not right or len(set(recipes)) < LEAST_MODELS:
            return None
        clean, *degraded = np.swapaxes(np.stack(right), 0, 1)
        return effective_robustness(
            clean, np.stack(degraded), recipes, self.level, image_groups=self.measured_groups
        )

    @cached_property
    def agreement(self) -> Correlation | None:
        """How what was foretold and measured go together over the models, of three or more."""
        pairs = [
            (each.foretold.images(self.order).mean(), each.measured.images(self.order).mean())
            for each in self.models
            if each.measured is not None
        ]
        if len(pairs) < LEAST_MODELS:
            return None
        foretold, measured = np.array(pairs).T
        return correlate(foretold, measured, self.level)

    def as_dict(self) -> dict[str, Any]:
        """All that was found, in plain values; NaN and infinite ones among them."""
        return {
            "environments": list(self.environments),
            "score": self.score,
            "unit": self.unit,
            "order": self.order,
            "level": self.level,
            "notes": list(self.notes),
            "models": [self._told(at) for at in range(len(self.models))],
            "agreement": None if self.agreement is None else vars(self.agreement),
        }

    def _told(self, at: int) -> dict[str, Any]:
        model = self.models[at]
        found: dict[str, Any] = {
            "name": model.name,
            "clean_accuracy": model.accuracy,
            "rank": list(self.ranks[at]),
            "foretold": self._plain(model.foretold, self.groups),
            "measured_rank": None,
            "measured": None,
            "effective_robustness": None,
        }
        if (beyond := self.effective) is not None:
            bounds = ("values", "low", "high")
            value, low, high = (float(getattr(beyond, each)[at]) for each in bounds)
            found["effective_robustness"] = {"value": value, "low": low, "high": high}
        if model.measured is not None:
            found["measured_rank"] = list(self.measured_ranks[at])
            found["measured"] = self._plain(model.measured, self.measured_groups)
        return found

    def _estimate(self, outcome: Outcome, order: Order, groups: Groups) -> Estimate:
        rows = outcome.images(order)
        if self.score == "accuracy" and len(self.environments) == 1:
            # Hits that are all alike have no spread, but an interval all the same.
            kind = Estimate.of_proportion if order == "left" else Estimate.of_moves
            return kind(rows, self.level, groups)
        found = Estimate.of_mean(rows, self.level, groups)
        if self.unit == "nats":
            return found
        # No share is above 1, and what is left of one not below 0.
        least = 0.0 if order == "left" else -1.0
        return replace(found, low=max(found.low, least), high=min(found.high, 1.0))

    def _plain(self, outcome: Outcome, groups: Groups) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for order in ORDERS:
            each = self._estimate(outcome, order, groups)
            rows = outcome.left if order == "left" else outcome.lost
            by_name = dict(zip(self.environments, rows.mean(axis=1).tolist(), strict=True))
            bounds = {"value": each.value, "low": each.low, "high": each.high}
            found[order] = {**bounds, "by_environment": by_name}
        return found


def ranking(
    models: Mapping[str, Classifier],
    reference: ReferenceSample,
    environments: Sequence[Environment],
    *,
    score: ScoreName = "accuracy",
    order: Order = "left",
    measured: bool = False,
    recipes: Mapping[str, str] | None = None,
    seed: int = 0,
    level: float = 0.95,
    execution: Execution = Execution(),
) -> Ranking:
    """Rank ``models`` by their mean ``score`` on surrogates of ``environments``, or its loss.

    A surrogate is the reference sample with the gains and the noise of an environment in every
    band (``surrogate``): one pass an image and environment, and one clean. ``measured`` adds what
    becomes of the models in the environments themselves, each on its own pairs, and their effective
    robustness there; models of one of ``recipes``, by their names, count as one in its line.
    Without labels the model's own clean predictions count.

    Raises as ``answers``, with the model's name; ModelError for fewer than two models;
    SettingsError for no environment, and for an unknown score, order or level.
    """
    check_choice("score", score, ScoreName)
    check_choice("order", order, Order)
    check_level(level)
    if not environments:
        raise SettingsError("there is no environment to rank for; give at least one")
    if len(models) < 2:
        raise ModelError(f"{len(models)} model cannot be ranked; give at least two")
    labelled = all(each.pairs[0].labels is not None for each in environments)
    surrogates = [each.surrogate(reference, seed) for each in environments]

    def run(name: str, images: ReferenceSample, versions: Sequence[Any]) -> Sequence[Floats]:
        try:
            return answers(models[name], images, versions, seed=seed, execution=execution)
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from error

    def measure(name: str) -> tuple[Outcome, Floats | None]:
        outcomes, right = [], []
        for clean_images, degraded in (each.pairs for each in environments):
            clean, changed = run(name, clean_images, [None, degraded])
            labels = labels_of(clean_images, clean)
            outcomes.append(_outcome(clean, [changed], labels, score))
            right += [correct(each, labels) for each in (clean, changed)]
        together = (np.concatenate(each) for each in zip(*map(_arrays, outcomes), strict=True))
        # All environments are on the same clean images.
        known = np.stack([right[0], *right[1::2]]) if labelled else None
        return Outcome(*together), known

    notes: list[str] = []
    found, same = [], []
    for name in models:
        clean, *changed = run(name, reference, [None, *surrogates])
        if len(np.unique(clean.argmax(axis=1))) == 1:
            same.append(name)
        labels = labels_of(reference, clean)
        outcome, right = measure(name) if measured else (None, None)
        found.append(
            RankedModel(
                name=name,
                accuracy=float(correct(clean, labels).mean()),
                foretold=_outcome(clean, changed, labels, score),
                measured=outcome,
                recipe=(recipes or {}).get(name, name),
                right=right,
            )
        )
    if measured and labelled and len({each.recipe for each in found}) < LEAST_MODELS:
        notes.append(
            f"effective robustness needs models of at least {LEAST_MODELS} recipes; name more"
        )
    sign = -1 if order == "left" else 1
    found.sort(key=lambda each: sign * float(each.foretold.images(order).mean()))
    if reference.labels is None:
        notes.append("without labels, every model is held against its own clean answers")
        # It would be the first for certain, and is worth nothing.
        notes += [
            f"{name} answers one class to every clean image, so it cannot lose: its rank says "
            "nothing"
            for name in same
            if len(reference) > 1
        ]
    if measured and any(each.pairs[0] is not reference for each in environments):
        notes.append("measured on the pairs, against every model's own answers to clean ones")
    if score == "log-likelihood":
        notes.append(
            "log-likelihoods are those that models give: one that is less sure loses less by that "
            "alone"
        )
    notes += [each.note for each in environments if each.note is not None]
    return Ranking(
        environments=[each.name for each in environments],
        score=score,
        order=order,
        models=found,
        groups=reference.group_numbers,
        measured_groups=environments[0].pairs[0].group_numbers,
        level=level,
        notes=notes,
    )


def _outcome(clean: Floats, changed: Sequence[Floats], labels: Any, score: ScoreName) -> Outcome:
    """Of logits (K, C), clean and in each environment."""
    left = np.stack([_scored(each, labels, score) for each in changed])
    if score == "probability":
        return Outcome(left, np.stack([prediction_errors(clean, x, labels) for x in changed]))
    return Outcome(left, _scored(clean, labels, score) - left)


def _scored(logits: Floats, labels: Any, score: ScoreName) -> Floats:
    """The score of each image (K,); of a distribution of labels its expectation."""
    if score == "accuracy":
        return correct(logits, labels)
    targets = labels if labels.ndim == 2 else one_hot(labels, logits.shape[1])
    every = special.log_softmax(logits, axis=1)
    return np.asarray((targets * (np.exp(every) if score == "probability" else every)).sum(axis=1))


def _arrays(outcome: Outcome) -> tuple[Floats, Floats]:
    return outcome.left, outcome.lost

"""Models ranked for an environment by the loss that its spectrum foretells (SPEC.md 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy import special

from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import answers, labels_of
from pytest_iaside.measure.band_losses import UNITS
from pytest_iaside.measure.game.changes import ScoreName
from pytest_iaside.measure.metrics import correct, prediction_errors
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.correlation import LEAST_MODELS, Correlation, correlate
from pytest_iaside.stats.estimate import Estimate
from pytest_iaside.stats.groups import Groups
from pytest_iaside.stats.ranking import rank_ranges
from pytest_iaside.study.environments import Environment

Order = Literal["loss", "left"]


@dataclass(frozen=True, eq=False, kw_only=True)
class RankedModel:
    """What one model loses: foretold, image by image, in each environment (E, K), and measured.

    ``left`` (E, K) is the score that is foretold to be left. ``measured`` holds the losses (K,) in
    each environment, of its own images, or nothing. ``accuracy`` is the clean one.
    """

    name: str
    accuracy: float
    foretold: Floats
    left: Floats
    measured: Sequence[Floats] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranking:
    """Models by what they are foretold to lose on average over environments, the least first.

    With ``order`` "left" by the score that is left, the most first: a model that is seldom right
    has little to lose.
    """

    environments: Sequence[str]
    score: ScoreName
    order: Order
    models: Sequence[RankedModel]
    groups: Groups = None
    """Of the reference images, on which losses are foretold."""
    measured_groups: Groups = None
    level: float = 0.95
    notes: Sequence[str] = field(default=())

    @property
    def unit(self) -> str:
        return UNITS[self.score]

    @property
    def measured(self) -> bool:
        return bool(self.models[0].measured)

    def foretold(self, model: RankedModel) -> Estimate:
        """The mean loss over environments, with its interval over images."""
        return Estimate.of_mean(model.foretold.mean(axis=0), self.level, self.groups)

    def found(self, model: RankedModel) -> Estimate | None:
        """The same as it was measured; None where it was not."""
        if not model.measured:
            return None
        rows = np.mean(model.measured, axis=0)
        return Estimate.of_mean(rows, self.level, self.measured_groups)

    @cached_property
    def ranks(self) -> list[tuple[int, int]]:
        """The best and the worst rank of each model, as far as what is foretold tells."""
        rows = np.stack([_ranked_by(each, self.order) for each in self.models])
        return _pairs(rank_ranges(rows, self.level, self.groups))

    @property
    def most_left(self) -> RankedModel:
        """The model of which most is foretold to be left, whatever it loses."""
        return max(self.models, key=lambda each: float(each.left.mean()))

    @cached_property
    def measured_ranks(self) -> list[tuple[int, int]]:
        """The same by measured losses, of any order; empty where nothing was measured."""
        if not self.measured:
            return []
        rows = np.stack([np.mean(each.measured, axis=0) for each in self.models])
        return _pairs(rank_ranges(rows, self.level, self.measured_groups))

    @cached_property
    def agreement(self) -> Correlation | None:
        """How foretold and measured losses go together over the models, of three or more."""
        if not self.measured or len(self.models) < LEAST_MODELS:
            return None
        foretold = [self.foretold(each).value for each in self.models]
        return correlate(foretold, [np.mean(each.measured) for each in self.models], self.level)

    def as_dict(self) -> dict[str, Any]:
        """All that was found, in plain values; NaN and infinite ones among them."""
        return {
            "environments": list(self.environments),
            "score": self.score,
            "order": self.order,
            "unit": self.unit,
            "level": self.level,
            "notes": list(self.notes),
            "models": [self._told(at) for at in range(len(self.models))],
            "agreement": None if self.agreement is None else vars(self.agreement),
        }

    def _told(self, at: int) -> dict[str, Any]:
        model = self.models[at]
        found = self.found(model)
        return {
            "name": model.name,
            "rank": list(self.ranks[at]),
            "clean_accuracy": model.accuracy,
            "foretold": _plain(self.foretold(model)),
            "left": float(model.left.mean()),
            "foretold_by_environment": dict(
                zip(self.environments, model.foretold.mean(axis=1).tolist(), strict=True)
            ),
            "measured": None if found is None else _plain(found),
            "measured_rank": list(self.measured_ranks[at]) if found is not None else None,
            "measured_by_environment": {
                name: float(rows.mean())
                for name, rows in zip(self.environments, model.measured, strict=False)
            },
        }


def ranking(
    models: Mapping[str, Classifier],
    reference: ReferenceSample,
    environments: Sequence[Environment],
    *,
    score: ScoreName = "accuracy",
    order: Order = "loss",
    measured: bool = False,
    seed: int = 0,
    level: float = 0.95,
    execution: Execution = Execution(),
    told: Callable[[str], None] = lambda _: None,
) -> Ranking:
    """Rank ``models`` by their mean loss of ``score`` on surrogates of ``environments``.

    A surrogate is the reference sample with the gains and the noise of an environment in every
    band (``surrogate``): one pass an image and environment, and one clean. ``measured`` adds what
    the environments themselves cost, each on its own pairs. Without labels the model's own clean
    predictions count. ``told`` hears the name of every model that is done.

    Raises as ``answers``; ModelError for fewer than two models.
    """
    if len(models) < 2:
        raise ModelError(f"{len(models)} model cannot be ranked; give at least two")
    surrogates = [each.surrogate(reference, seed) for each in environments]
    found = []
    for name, classifier in models.items():
        clean, *changed = answers(
            classifier, reference, [None, *surrogates], seed=seed, execution=execution
        )
        labels = labels_of(reference, clean)
        foretold = np.stack([_lost(clean, each, labels, score) for each in changed])
        left = np.stack([_scored(each, labels, score) for each in changed])
        costs = (
            [_cost(classifier, each, score, seed, execution) for each in environments]
            if measured
            else []
        )
        right = float(correct(clean, labels).mean())
        found.append(
            RankedModel(name=name, accuracy=right, foretold=foretold, left=left, measured=costs)
        )
        told(name)
    found.sort(key=lambda each: float(_ranked_by(each, order).mean()))
    notes = []
    if reference.labels is None:
        notes.append("without labels, every model is held against its own clean answers")
    if measured and any(each.pairs[0] is not reference for each in environments):
        notes.append("measured on the pairs, against every model's own answers to clean ones")
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


def _cost(
    classifier: Classifier,
    environment: Environment,
    score: ScoreName,
    seed: int,
    execution: Execution,
) -> Floats:
    clean_images, degraded = environment.pairs
    clean, changed = answers(
        classifier, clean_images, [None, degraded], seed=seed, execution=execution
    )
    return _lost(clean, changed, labels_of(clean_images, clean), score)


def _lost(clean: Floats, changed: Floats, labels: Any, score: ScoreName) -> Floats:
    """What each image (K,) loses: nats, |Q − Q*| as in mPE, or 1 where the answer turns wrong."""
    if score == "probability":
        return prediction_errors(clean, changed, labels)
    return _scored(clean, labels, score) - _scored(changed, labels, score)


def _scored(logits: Floats, labels: Any, score: ScoreName) -> Floats:
    """The score of each image (K,); of a distribution of labels its expectation."""
    if score == "accuracy":
        return correct(logits, labels)
    targets = labels if labels.ndim == 2 else np.eye(logits.shape[1])[labels]
    every = special.log_softmax(logits, axis=1)
    return np.asarray((targets * (np.exp(every) if score == "probability" else every)).sum(axis=1))


def _ranked_by(model: RankedModel, order: Order) -> Floats:
    """What is the less, the better the rank, of each image (K,)."""
    return np.asarray((model.foretold if order == "loss" else -model.left).mean(axis=0))


def _pairs(found: tuple[Any, Any]) -> list[tuple[int, int]]:
    return [(int(best), int(worst)) for best, worst in zip(*found, strict=True)]


def _plain(found: Estimate) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}

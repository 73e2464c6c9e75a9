"""Tasks: what answers are, and how right they are (SPEC.md 1.3, and Classifier's ``task``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pytest_iaside.checks import check_choice
from pytest_iaside.errors import ModelError, ReferenceSampleError, SettingsError, one_line
from pytest_iaside.models.function_code import code_digest

TaskName = Literal["softmax", "binary", "multilabel"]
Score = Callable[[Any, Any], Any]
"""Of what a network returned for B images and their targets: (B,), more is better."""
Rated = Callable[[Tensor, Tensor], Tensor]
"""Of answers (B, C) float64 and targets: (B,) float64."""
SCORE = "score"


@dataclass(frozen=True, eq=False)
class Task:
    """What a classifier's answers are: one class of C, one of two, C labels, or what is scored.

    Answers (B, C) are logits; of a ``score`` of the user's own whatever the network returns.
    """

    name: TaskName = "softmax"
    score: Score | None = None
    unit: str = field(default="nats")
    """What v, ψ and log-likelihoods are in."""
    score_code: str = field(default="", init=False)
    """A digest of what the user's own score computes; empty where there is none."""

    def __post_init__(self) -> None:
        check_choice("task", self.name, TaskName)
        if self.score is not None and not callable(self.score):
            raise SettingsError(
                f"score={self.score!r} cannot be called; give a function of what the model "
                "returns for a batch and the targets of its images to one number for each"
            )
        if self.score is not None and self.name != "softmax":
            raise SettingsError(
                f"task={self.name!r} and score= were given; leave task out: the score alone says "
                "how right an answer is"
            )
        if self.score is not None:
            # Before it is called: an object may count its calls.
            object.__setattr__(self, "score_code", code_digest(self.score))

    def __getstate__(self) -> dict[str, Any]:
        # Not what was derived: the same task is always the same bytes.
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def scored(self) -> bool:
        """Whether a score of the user's own says how right an answer is."""
        return self.score is not None

    @property
    def score_name(self) -> str:
        """What the user's own score is called; empty where there is none."""
        if self.score is None:
            return ""
        return str(getattr(self.score, "__qualname__", type(self.score).__qualname__))

    @property
    def kind(self) -> Literal["softmax", "multilabel", "score"]:
        """What is measured of answers; two columns of a binary classifier are two classes."""
        if self.scored:
            return "score"
        return "multilabel" if self.name == "multilabel" else "softmax"

    @property
    def independent(self) -> bool:
        """Whether each probability stands for itself, and a row need not sum to 1."""
        return self.name != "softmax"

    @property
    def classes(self) -> int:
        """Columns that logits need at least."""
        return 1 if self.name == "multilabel" else 2

    def widened(self, answers: Tensor) -> Tensor:
        """``answers`` as (batch, columns): one logit of a binary classifier becomes two."""
        if self.name == "binary":
            if answers.ndim == 1:
                answers = answers[:, None]
            if answers.ndim != 2 or answers.shape[1] != 1:
                raise ModelError(
                    f"task='binary' expects one logit for each image, (batch,) or (batch, 1), but "
                    f"the model returned shape {tuple(answers.shape)}; leave task= out where there "
                    "is a column for each class"
                )
            return torch.cat([-answers / 2, answers / 2], dim=1)
        return answers

    @cached_property
    def rated(self) -> Mapping[str, Rated]:
        """How right answers are, by name: the first is what v is made of."""
        if self.kind == "score":
            return {SCORE: _as_it_is}
        if self.kind == "multilabel":
            return {
                "log-likelihood": _labels_likelihood,
                "probability": _labels_probability,
                "accuracy": _labels_right,
            }
        return {"log-likelihood": log_likelihood, "probability": probability, "accuracy": hit}

    @property
    def value(self) -> Rated:
        """What v is made of."""
        return next(iter(self.rated.values()))

    def comparable(self, answers: Tensor) -> Tensor:
        """``answers`` (B, C) so that equal ones are near, whatever constant logits have."""
        answers = answers.to(torch.float64)
        return torch.log_softmax(answers, dim=1) if self.kind == "softmax" else answers

    def predicted(self, answers: Tensor) -> Tensor:
        """The targets that ``answers`` (B, C) themselves would be right for."""
        if self.kind == "softmax":
            return answers.argmax(dim=1)
        if self.kind == "multilabel":
            return (answers > 0).to(torch.float64)
        raise no_targets()

    def scores_of(self, outputs: Any, targets: Any, names: tuple[str, ...]) -> Tensor:
        """The user's score of ``outputs`` for the images ``names``, (B, 1) float64."""
        assert self.score is not None
        try:
            found = self.score(outputs, targets)
        except Exception as error:  # Whatever the user's function raises.
            raise ModelError(
                f"score= failed on {len(names)} images, the first {names[0]} "
                f"({one_line(error)}); it gets what the model returns for a batch, and a tensor or "
                "list of the targets of its images"
            ) from error
        try:
            values = torch.as_tensor(found)
        except (TypeError, ValueError, RuntimeError):
            raise ModelError(
                f"score= returned a {type(found).__name__} that holds no numbers, for {len(names)} "
                f"images; expected ({len(names)},): one number for each image, more is better"
            ) from None
        if values.shape not in ((len(names),), (len(names), 1)):
            mean = "; leave out its mean over the batch" if not values.ndim else ""
            raise ModelError(
                f"score= returned shape {tuple(values.shape)} for {len(names)} images, expected "
                f"({len(names)},): one number for each image, more is better{mean}"
            )
        if values.is_complex():
            raise ModelError(
                f"score= returned complex numbers ({values.dtype}) for {len(names)} images, "
                "expected real ones, more is better: return .abs() or .real of them"
            )
        return values.detach().to(torch.float64).reshape(-1, 1)


SOFTMAX = Task()


def no_targets() -> ReferenceSampleError:
    """What is said where a score is asked for without targets."""
    return ReferenceSampleError(
        "a score needs targets, and the reference sample has none; give "
        "ReferenceSample(images, targets=…), one for each image, or labels"
    )


def log_likelihood(answers: Tensor, targets: Tensor) -> Tensor:
    """Σ_y P(y|x)·log Q(y|x) of each row, (B,) float64; targets (B,) or (B, C)."""
    # float64 before the softmax: differences between coalitions are small against logits.
    return _expected(torch.log_softmax(answers.to(torch.float64), dim=1), targets)


def probability(answers: Tensor, targets: Tensor) -> Tensor:
    """Σ_y P(y|x)·Q(y|x) of each row, (B,) float64."""
    return _expected(torch.softmax(answers.to(torch.float64), dim=1), targets)


def hit(answers: Tensor, targets: Tensor) -> Tensor:
    """1 where the likeliest class is the label, of a distribution its likeliest, (B,) float64."""
    classes = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return (answers.argmax(dim=1) == classes).to(torch.float64)


def _labels_likelihood(answers: Tensor, targets: Tensor) -> Tensor:
    """Σ_c t_c·log σ(z_c) + (1 − t_c)·log σ(−z_c): C labels that do not depend on each other."""
    logits = answers.to(torch.float64)
    right = torch.nn.functional.logsigmoid(logits)
    return (targets * right + (1 - targets) * (right - logits)).sum(dim=1)


def _labels_probability(answers: Tensor, targets: Tensor) -> Tensor:
    """The mean over labels of the probability of what is so."""
    found = torch.sigmoid(answers.to(torch.float64))
    return (targets * found + (1 - targets) * (1 - found)).mean(dim=1)


def _labels_right(answers: Tensor, targets: Tensor) -> Tensor:
    """The share of the C labels that are answered right."""
    return ((answers > 0) == (targets > 0.5)).to(torch.float64).mean(dim=1)


def _as_it_is(answers: Tensor, targets: Tensor) -> Tensor:
    return answers.to(torch.float64)[:, 0]


def _expected(values: Tensor, targets: Tensor) -> Tensor:
    if targets.ndim == 1:
        return values.gather(1, targets[:, None])[:, 0]
    # 0·(−∞) is 0 here: a class that the label rules out does not matter.
    return torch.where(targets > 0, targets * values, 0.0).sum(dim=1)


def task_of(name: Any, score: Any, unit: str | None) -> Task:
    """The task of a classifier; raises SettingsError where there is none such."""
    if unit is not None and (not isinstance(unit, str) or not unit):
        raise SettingsError(f"unit={unit!r} cannot be used; expected text, or None")
    if unit is not None and score is None:
        raise SettingsError(f"unit={unit!r} was given without score=, whose unit it is")
    if name is not None and name not in get_args(TaskName):
        check_choice("task", name, TaskName)
    unit = unit or ("nats" if score is None else "score")
    return Task(name or "softmax", score, unit)

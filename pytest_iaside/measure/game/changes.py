"""Changes of images, mixed into them and scored in three ways (SPEC.md 7, 8)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.execute.runner import BackendRunner
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.game.rounds import Pictures, scores_on
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats

ScoreName = Literal["log-likelihood", "probability", "accuracy"]
"""How right an answer is, all from the same forward passes: nats, a share, 0 or 1."""


@dataclass(frozen=True, eq=False)
class ScoreRows:
    """What was found of k images."""

    values: Floats
    """(k, F, n): of each of the F scores."""
    log_probabilities: Floats
    """(k, classes) of the clean images."""
    forward_passes: int
    environment: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class ChangedImages(ABC):
    """Some images of a measurement, and what changes them: a job (execute/jobs.py)."""

    sample: ReferenceSample
    passes: int
    """Forward passes of the whole measurement, of which this is a part."""

    @abstractmethod
    def mixtures(self) -> Sequence[NDArray[Any]]:
        """What is played of each image, (S, M): how much of each change."""

    @abstractmethod
    def pictures(
        self, classifier: Classifier, some: slice, pixels: Tensor, *, channels_last: bool = True
    ) -> Pictures:
        """``some`` images, whose ``pixels`` are given, ready to be mixed with their changes."""

    @abstractmethod
    def shown(self, mixture: NDArray[Any]) -> str:
        """A mixture (M,) in words, for messages."""

    def reduced(self, some: slice, scores: Floats) -> Floats:
        """What is kept of the ``scores`` (k, F, S) of ``some`` images; by default all."""
        return scores

    def first_inputs(self, classifier: Classifier) -> Tensor:
        first = slice(0, 1)
        played = self.mixtures()[0]
        wanted = played[np.linspace(0, len(played) - 1, 8).astype(int)]
        pictures = self.pictures(classifier, first, self.sample.pixels(0, 1))
        return pictures.combine(torch.from_numpy(wanted[None]).to(torch.float32))

    def rows(self, runner: BackendRunner) -> Iterator[ScoreRows]:
        last = runner.memory_format is torch.channels_last
        pictures = partial(self.pictures, runner.classifier, channels_last=last)
        for some, found, log_probabilities in scores_on(
            runner,
            self.sample,
            self.mixtures(),
            lambda some, pixels, mixtures: (pictures(some, pixels), mixtures),
            every=True,
            shown=self.shown,
        ):
            yield ScoreRows(
                values=self.reduced(some, found.swapaxes(0, 1)),
                log_probabilities=log_probabilities,
                forward_passes=found.shape[1] * (found.shape[2] + 1),
                environment=runner.environment,
            )


def joined_rows(rows: Sequence[ScoreRows]) -> ScoreRows:
    """Several ScoreRows joined, the images of one after those of the other."""
    environments = [each.environment for each in rows]
    return ScoreRows(
        values=np.concatenate([each.values for each in rows]),
        log_probabilities=np.concatenate([each.log_probabilities for each in rows]),
        forward_passes=sum(each.forward_passes for each in rows),
        # Several workers may each have another machine.
        environment={
            key: ", ".join(dict.fromkeys(each[key] for each in environments))
            for key in environments[0]
        },
    )

"""The game of some images as jobs, and cut at whole batches for workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.execute.runner import BackendRunner, pieces
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.game.play import (
    Shard,
    first_inputs,
    plans_of,
    play_on,
    read,
    unread_rows,
)
from pytest_iaside.measure.game.rounds import clean_answers, to_device
from pytest_iaside.measure.game.rows import GameRows, join
from pytest_iaside.models.classifier import Classifier


@dataclass(frozen=True, eq=False)
class ShardJob:
    """A job (execute/jobs.py) that plays something of the images of a shard."""

    shard: Shard

    @property
    def sample(self) -> ReferenceSample:
        return self.shard.sample

    @property
    def passes(self) -> int:
        return self.shard.passes

    def first_inputs(self, classifier: Classifier) -> Tensor:
        return first_inputs(classifier, self.shard.rules, self.shard)


@dataclass(frozen=True, eq=False)
class WholeGame(ShardJob):
    """All that the design plays of the images, with ψ."""

    def rows(self, runner: BackendRunner) -> Iterator[GameRows]:
        return play_on(runner, self.shard.rules, self.shard)

    @property
    def unread(self) -> Coalitions:
        coalitions = [each.coalitions for each in plans_of(self.sample, self.shard.rules)]
        return Coalitions(self.shard, coalitions)

    @property
    def own_passes(self) -> int:
        return self.unread.own_passes

    def head(self) -> CleanAnswers:
        return CleanAnswers(self.shard)

    def parts(
        self, found: Sequence[Tensor], batch_size: int, passes: int
    ) -> list[tuple[slice, list[Coalitions]]]:
        return self.unread.parts(found, batch_size, passes)

    def joined(self, some: slice, rows: Sequence[Sequence[GameRows]]) -> list[GameRows]:
        found = _joined(rows)
        rules = self.shard.rules
        plans = plans_of(self.sample.take(range(some.start, some.stop)), rules)
        passes = found.forward_passes + len(found)
        return [replace(read(found, plans, rules), forward_passes=passes)]


@dataclass(frozen=True, eq=False)
class Coalitions(ShardJob):
    """Some coalitions of the images, (S, M) of each; ψ and the means by size are left open."""

    coalitions: list[NDArray[np.bool_]]
    clean: Tensor | None = None
    """Answers (K, C) to the images as they are, where they are known."""

    def rows(self, runner: BackendRunner) -> Iterator[GameRows]:
        return unread_rows(runner, self.shard, self.coalitions, self.clean)

    @property
    def own_passes(self) -> int:
        return len(self.sample) * (len(self.coalitions[0]) + (self.clean is None))

    def head(self) -> CleanAnswers | None:
        return CleanAnswers(self.shard) if self.clean is None else None

    def parts(
        self, found: Sequence[Tensor], batch_size: int, passes: int
    ) -> list[tuple[slice, list[Coalitions]]]:
        """Images, and for them parts of whole batches: as large ones give the same digits."""
        clean = torch.cat(list(found)) if self.clean is None else self.clean
        played, bands = self.coalitions[0].shape
        together = batch_size // played
        images, step = max(1, together), played
        if together:
            # Images whose coalitions share a batch stay together.
            images *= max(1, passes // (images * played))
        else:
            # Fewer coalitions than bands would be taken out of an image in another way.
            least = -(-bands // batch_size)
            step = batch_size * max(least, passes // batch_size)
        cuts = list(range(0, played, step))
        if len(cuts) > 1 and played - cuts[-1] < bands:
            cuts.pop()
        ends = [*cuts[1:], played]
        return [
            (
                some,
                [
                    Coalitions(
                        self.shard.take(some),
                        [each[start:stop] for each in self.coalitions[some]],
                        clean[some],
                    )
                    for start, stop in zip(cuts, ends, strict=True)
                ],
            )
            for some in pieces(len(self.sample), images)
        ]

    def joined(self, some: slice, rows: Sequence[Sequence[GameRows]]) -> list[GameRows]:
        found = _joined(rows)
        unknown = len(found) if self.clean is None else 0
        return [replace(found, forward_passes=found.forward_passes + unknown)]


@dataclass(frozen=True, eq=False)
class CleanAnswers(ShardJob):
    """The images as they are; a row is answers (k, C)."""

    def rows(self, runner: BackendRunner) -> Iterator[Tensor]:
        pixels = to_device(runner.device, self.sample.pixels())
        yield clean_answers(runner, self.sample, pixels).cpu()


def _joined(rows: Sequence[Sequence[GameRows]]) -> GameRows:
    """What was found of the same images under one coalition after the other."""
    found = [join(list(each)) for each in rows]
    return replace(
        found[0],
        log_likelihood=np.concatenate([each.log_likelihood for each in found], axis=1),
        forward_passes=sum(each.forward_passes for each in found),
    )

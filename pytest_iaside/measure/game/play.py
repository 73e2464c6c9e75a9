"""The coalition game of some images: their bands, through one classifier (SPEC.md 1.2–1.4)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import BackendRunner, open_runner, pieces
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.filters import Components, components, gaussian_absence
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.rescaling import Rescaled
from pytest_iaside.measure.game.coalitions import Plan, exact_coalitions, plan
from pytest_iaside.measure.game.rounds import scores_on, to_device
from pytest_iaside.measure.game.rows import GameRows
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.game.shapley import mean_by_size, plan_weights
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats


@dataclass(frozen=True, eq=False)
class Game:
    """All that decides what is found: which model plays what, on which images."""

    classifier: Classifier
    rules: Rules
    execution: Execution
    sample: ReferenceSample
    """What is to be played."""
    whole: ReferenceSample
    """Of which that may be a part; replacements for missing bands come from here."""
    temperature: float = 1.0
    """What logits are divided by, so that two models are played with the same confidence."""

    def shards(self, size: int, images: Sequence[int]) -> Iterator[Shard]:
        """``images`` of the sample in pieces of ``size``."""
        found = shards(
            self.sample, self.rules, self.whole, size, images, temperature=self.temperature
        )
        if self.rules.rescale is None:
            return found
        ranges = ranges_of(self)
        return (replace(shard, ranges=ranges) for shard in found)


@dataclass(frozen=True, eq=False)
class Shard:
    """Images to play, and for each the picture that stands in for missing bands, if any."""

    sample: ReferenceSample
    absent: Tensor | None
    rules: Rules
    passes: int
    """Forward passes of the whole game, of which this is a part."""
    temperature: float = 1.0
    ranges: Tensor | None = None
    """Where pictures are rescaled, what by: (2^M, 2), see images/rescaling.py."""

    def take(self, some: slice) -> Shard:
        """Some of the images."""
        absent = None if self.absent is None else self.absent[some]
        sample = self.sample.take(range(some.start, some.stop))
        return replace(self, sample=sample, absent=absent)


def shards(
    sample: ReferenceSample,
    rules: Rules,
    whole: ReferenceSample,
    size: int,
    images: Sequence[int] | None = None,
    *,
    temperature: float = 1.0,
) -> Iterator[Shard]:
    """``images`` of ``sample`` (all by default) in pieces of ``size``, each made when asked for.

    ``whole`` is where replacements come from, and ``temperature`` what logits are divided by. What
    is played of an image does not depend on how the sample is cut, nor on which others are played.
    """
    partner = partners(whole, rules.seed) if rules.absence == "replacement" else {}
    passes = len(sample) * (len(plan(rules.design, rules.bands, "").coalitions) + 1)
    wanted = range(len(sample)) if images is None else images
    for some in pieces(len(wanted), size):
        piece = sample.take(wanted[some])
        absent = None
        if rules.absence == "gaussian":
            absent = torch.stack(
                [
                    gaussian_absence(sample.shape, seed=_seed(rules.seed, digest))
                    for digest in piece.digests
                ]
            )
        elif rules.absence == "replacement":
            absent = torch.cat(
                [whole.pixels(i, i + 1) for i in (partner[digest] for digest in piece.digests)]
            )
        yield Shard(piece, absent, rules, passes, temperature)


@contextmanager
def ready(
    classifier: Classifier, rules: Rules, execution: Execution, shard: Shard
) -> Iterator[BackendRunner]:
    """The runner for the game that ``shard`` is a part of."""
    inputs = first_inputs(classifier, rules, shard)
    with open_runner(classifier, execution, inputs=inputs, passes=shard.passes) as runner:
        yield runner


def play_on(runner: BackendRunner, rules: Rules, shard: Shard) -> Iterator[GameRows]:
    """Play ``shard`` on an open runner; its images as they are done, a few at a time."""
    plans = plans_of(shard.sample, rules)
    done = 0
    for rows in unread_rows(runner, shard, [each.coalitions for each in plans]):
        some = slice(done, done + len(rows))
        done = some.stop
        yield read(rows, plans[some], rules)


def unread_rows(
    runner: BackendRunner,
    shard: Shard,
    coalitions: Sequence[NDArray[np.bool_]],
    clean: Tensor | None = None,
) -> Iterator[GameRows]:
    """``coalitions`` (S, M) of each image, played; ψ and the means by size are left open.

    ``clean`` are the answers (K, C) to the images as they are, where they are known.
    """
    for some, (found,), log_probabilities in answers_on(
        runner, shard.rules, shard, coalitions, clean=clean
    ):
        count = some.stop - some.start
        nothing = np.full((count, 0), np.nan)
        yield GameRows(
            image_psi=nothing,
            by_size=nothing,
            log_likelihood=found,
            log_probabilities=log_probabilities,
            forward_passes=count * (found.shape[1] + (clean is None)),
            environment=runner.environment,
        )


def read(rows: GameRows, plans: Sequence[Plan], rules: Rules) -> GameRows:
    """``rows`` with the ψ and the means that ``plans`` of what was played give."""
    pairs = list(zip(rows.log_likelihood, plans, strict=True))
    return replace(
        rows,
        # Relative to the empty coalition first: v(∅) is large against what bands add.
        image_psi=np.stack(
            [(row - row[0]) @ plan_weights(each, ways=rules.ways or 1) for row, each in pairs]
        ),
        by_size=np.stack([mean_by_size(each, row) for row, each in pairs]),
    )


def answers_on(
    runner: BackendRunner,
    rules: Rules,
    shard: Shard,
    played: Sequence[NDArray[np.bool_]],
    targets: Tensor | None = None,
    clean: Tensor | None = None,
) -> Iterator[tuple[slice, Floats, Floats]]:
    """``scores_on`` for the coalitions ``played``, (S, M) of each image of ``shard``."""
    return scores_on(
        runner,
        shard.sample,
        played,
        partial(_take_apart, runner, rules, shard),
        targets=targets,
        clean=clean,
        temperature=shard.temperature,
    )


def partners(whole: ReferenceSample, seed: int = 0) -> dict[str, int]:
    """For each image's digest the index of its replacement: the next image in a drawn order.

    ``seed`` and the digests draw it; 0 is the order of the digests, as it always was.
    """
    index = {digest: i for i, digest in enumerate(whole.digests)}
    if len(index) < 2:
        raise ReferenceSampleError(
            f"absence='replacement' puts another image's bands in place of missing ones, but the "
            f"reference sample holds {len(index)} distinct image; give at least 2"
        )
    order = sorted(index)
    if seed:
        order.sort(key=lambda digest: hashlib.sha256(f"partner {seed} {digest}".encode()).digest())
    return {digest: index[order[(i + 1) % len(order)]] for i, digest in enumerate(order)}


def _take_apart(
    runner: BackendRunner,
    rules: Rules,
    shard: Shard,
    some: slice,
    pixels: Tensor,
    coalitions: Tensor,
) -> tuple[Components | Rescaled, Tensor]:
    classifier = runner.classifier
    played, bands = coalitions.shape[1:]
    # Fewer coalitions than bands are taken out of an image as they are.
    few = coalitions if played < bands else None
    if few is not None:
        coalitions = torch.eye(played, device=few.device).expand(len(few), -1, -1)
    absent = None if shard.absent is None else to_device(runner.device, shard.absent[some])
    if absent is not None and rules.absence == "replacement" and rules.space == "input":
        absent = classifier.normalise(absent)
    pictures = components(
        pixels,
        _partition(shard.sample, rules),
        absent=absent,
        mean=classifier.mean,
        std=classifier.std,
        space=rules.space,
        channels_last=runner.memory_format is torch.channels_last,
        together=few,
    )
    if shard.ranges is not None:
        return _rescaled(pictures, rules, classifier, shard.ranges), coalitions
    return pictures, coalitions


def _rescaled(
    pictures: Components, rules: Rules, classifier: Classifier, ranges: Tensor
) -> Rescaled:
    mean, std = (
        usual if given is None else given.to(pictures.parts).view(-1, 1, 1)
        for given, usual in ((classifier.mean, 0.0), (classifier.std, 1.0))
    )
    return Rescaled(pictures, ranges, rules.space, mean, std)


def ranges_of(game: Game) -> Tensor:
    """The least and most of |·| under each coalition over the whole sample, (2^M, 2)."""
    coalitions = torch.from_numpy(exact_coalitions(game.rules.bands)).to(torch.float32)
    nothing = torch.zeros(len(coalitions), 2)
    lows, highs = [], []
    for shard in shards(game.sample, game.rules, game.whole, 1):
        parts = components(
            shard.sample.pixels(),
            _partition(shard.sample, game.rules),
            absent=shard.absent,
            mean=game.classifier.mean,
            std=game.classifier.std,
            space=game.rules.space,
        )
        each = _rescaled(parts, game.rules, game.classifier, nothing)
        found = torch.cat([each.extent(some) for some in torch.split(coalitions, 64)])
        lows.append(found[:, 0])
        highs.append(found[:, 1])
    return torch.stack([torch.stack(lows).amin(dim=0), torch.stack(highs).amax(dim=0)], dim=1)


def first_inputs(classifier: Classifier, rules: Rules, shard: Shard) -> Tensor:
    """What the network will see of the first image: some low bands, or some high ones."""
    pictures = components(
        shard.sample.pixels(0, 1),
        _partition(shard.sample, rules),
        mean=classifier.mean,
        std=classifier.std,
        space=rules.space,
    )
    low = torch.arange(rules.bands) < torch.linspace(1, rules.bands, 4)[:, None]
    return pictures.combine(torch.cat([low, ~low]))


def _partition(sample: ReferenceSample, rules: Rules) -> BandPartition:
    _, height, width = sample.shape
    return BandPartition(height, width, rules.bands, rules.partition)


def plans_of(sample: ReferenceSample, rules: Rules) -> list[Plan]:
    """What is played of each image."""
    if rules.design == "exact":
        return [plan("exact", rules.bands, "")] * len(sample)
    return [plan(rules.design, rules.bands, key_of(rules, digest)) for digest in sample.digests]


def key_of(rules: Rules, digest: str) -> str:
    """What is drawn for an image depends on this, and on nothing else."""
    return f"{rules.seed} {digest}"


def _seed(seed: int, digest: str) -> int:
    # Of the image alone: the same noise whatever the batch, the order or the worker.
    return int.from_bytes(hashlib.sha256(f"{seed} {digest}".encode()).digest()[:8], "big") >> 1

"""The coalition game of some images: their bands, through one classifier (SPEC.md 1.2–1.4)."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import BackendRunner, Runner, not_finite, open_runner, pieces
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.filters import Components, components, gaussian_absence
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.game.coalitions import Plan, members, plan
from pytest_iaside.measure.game.rows import GameRows, join
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

    def shards(self, size: int, images: Sequence[int]) -> Iterator["Shard"]:
        """``images`` of the sample in pieces of ``size``."""
        return shards(
            self.sample, self.rules, self.whole, size, images, temperature=self.temperature
        )


@dataclass(frozen=True, eq=False)
class Shard:
    """Images to play, and for each the picture that stands in for missing bands, if any."""

    sample: ReferenceSample
    absent: Tensor | None
    passes: int
    """Forward passes of the whole game, of which this is a part."""
    temperature: float = 1.0


@dataclass(frozen=True, eq=False)
class Round:
    """K images that are played together.

    ``coalitions`` (K, S, M) of 0 and 1; ``targets`` (K,) classes or (K, C) distributions;
    ``names`` are the images' own, for messages.
    """

    pictures: Components
    coalitions: Tensor
    targets: Tensor
    names: tuple[str, ...]
    temperature: float = 1.0


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
    partner = partners(whole) if rules.absence == "replacement" else {}
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
        yield Shard(piece, absent, passes, temperature)


@contextmanager
def ready(
    classifier: Classifier, rules: Rules, execution: Execution, shard: Shard
) -> Iterator[BackendRunner]:
    """The runner for the game that ``shard`` is a part of."""
    inputs = first_inputs(classifier, rules, shard)
    with open_runner(classifier, execution, inputs=inputs, passes=shard.passes) as runner:
        yield runner


def play(classifier: Classifier, rules: Rules, execution: Execution, shard: Shard) -> GameRows:
    """Play ``shard`` in this process; the function that executors are sent."""
    with ready(classifier, rules, execution, shard) as runner:
        return join(list(play_on(runner, rules, shard)))


def play_on(runner: BackendRunner, rules: Rules, shard: Shard) -> Iterator[GameRows]:
    """Play ``shard`` on an open runner; its images as they are done, a few at a time."""
    plans = plans_of(shard.sample, rules)
    for some, log_likelihood, log_probabilities in answers_on(
        runner, rules, shard, [each.coalitions for each in plans]
    ):
        rows = list(zip(log_likelihood, plans[some], strict=True))
        yield GameRows(
            # Relative to the empty coalition first: v(∅) is large against what bands add.
            image_psi=np.stack([(row - row[0]) @ plan_weights(each) for row, each in rows]),
            by_size=np.stack([mean_by_size(each, row) for row, each in rows]),
            log_likelihood=log_likelihood,
            log_probabilities=log_probabilities,
            forward_passes=len(rows) * (log_likelihood.shape[1] + 1),
            environment=runner.environment,
        )


def answers_on(
    runner: BackendRunner,
    rules: Rules,
    shard: Shard,
    played: Sequence[NDArray[np.bool_]],
    targets: Tensor | None = None,
    clean: Tensor | None = None,
) -> Iterator[tuple[slice, Floats, Floats]]:
    """Log-likelihoods (k, S) of the coalitions ``played`` (S, M) of each image of ``shard``.

    A few images at a time, which, and with the log-probabilities (k, classes) of the images as they
    are. ``targets`` are the classes that count where the sample has no labels; without them the
    likeliest. ``clean`` are the logits (K, classes) of the images as they are, if they are known.
    """
    classifier, sample, device = runner.classifier, shard.sample, runner.device
    batch_size = runner.batch_size
    pixels = _to(device, sample.pixels())
    whole = (classifier.normalise(pixels[some]) for some in pieces(len(sample), batch_size))
    logits = torch.cat(list(runner.forward_many(whole))) if clean is None else _to(device, clean)
    sample.check_classes(logits.shape[1])
    if sample.labels is not None:
        targets = sample.labels
    targets = logits.argmax(dim=1) if targets is None else _to(device, targets)
    divided = logits.to(torch.float64) / shard.temperature
    log_probabilities = _to_host(torch.log_softmax(divided, dim=1))
    # Images whose coalitions share a batch are taken apart together, others one by one.
    together = list(pieces(len(sample), max(1, batch_size // len(played[0]))))

    def rounds() -> Iterator[Round]:
        for some in together:
            coalitions = _to(device, torch.from_numpy(np.stack(played[some])))
            count, bands = coalitions.shape[1:]
            few = coalitions if count < bands else None
            if few is not None:
                coalitions = torch.eye(count, device=device).expand(len(few), -1, -1)
            yield Round(
                _take_apart(runner, rules, shard, some, pixels[some], few),
                coalitions.to(torch.float32),
                targets[some],
                sample.names[some],
                shard.temperature,
            )

    results = play_coalitions(rounds(), runner, batch_size=batch_size)
    for some, found in zip(together, results, strict=True):
        yield some, _to_host(found), log_probabilities[some]


def play_coalitions(
    rounds: Iterable[Round], runner: Runner, *, batch_size: int
) -> Iterator[Tensor]:
    """Log-likelihoods Σ_y P(y|x)·log Q(y|x⋆S) of each round, (K, S) float64 on the CPU.

    A batch is made when the runner asks for it and holds at most ``batch_size`` images; the next
    round is made ready while the last batches of the one before are still with the network.

    Raises ModelError naming the image and the coalition where logits are not finite.
    """
    for logits, turn in runner.run(_batches(rounds, batch_size)):
        turn.enter(logits)
        if turn.last:
            # On a GPU this waits for all that is under way: once a round.
            found = turn.found.cpu()
            _check_finite(found, turn.round)
            yield found


def log_likelihood(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """Σ_y P(y|x)·log Q(y|x) of each row, (B,) float64; targets as in ``Round``."""
    # float64 before the softmax: differences between coalitions are small against logits.
    log_probabilities = torch.log_softmax(logits.to(torch.float64) / temperature, dim=1)
    if targets.ndim == 1:
        return log_probabilities.gather(1, targets[:, None])[:, 0]
    # 0·(−∞) is 0 here: a class that the label rules out does not matter.
    return torch.where(targets > 0, targets * log_probabilities, 0.0).sum(dim=1)


def partners(whole: ReferenceSample) -> dict[str, int]:
    """For each image's digest the index of its replacement: the next image by digest."""
    index = {digest: i for i, digest in enumerate(whole.digests)}
    if len(index) < 2:
        raise ReferenceSampleError(
            f"absence='replacement' puts another image's bands in place of missing ones, but the "
            f"reference sample holds {len(index)} distinct image; give at least 2"
        )
    order = sorted(index)
    return {digest: index[order[(i + 1) % len(order)]] for i, digest in enumerate(order)}


@dataclass(frozen=True, eq=False)
class _Turn:
    """A batch that is with the network, and where its results go."""

    round: Round
    found: Tensor
    images: slice
    some: slice
    last: bool

    def enter(self, logits: Tensor) -> None:
        shape = (self.images.stop - self.images.start, -1)
        targets = self.round.targets[self.images]
        targets = targets.repeat_interleave(len(logits) // shape[0], dim=0)
        values = log_likelihood(logits, targets, self.round.temperature)
        # NaN stands for what is not finite anywhere: finite logits never lead to it.
        values = torch.where(logits.isfinite().all(dim=1), values, torch.nan)
        self.found[self.images, self.some] = values.view(shape)


def _batches(rounds: Iterable[Round], batch_size: int) -> Iterator[tuple[Tensor, _Turn]]:
    for each in rounds:
        count, played = each.coalitions.shape[:2]
        device = each.coalitions.device
        found = torch.empty(count, played, dtype=torch.float64, device=device)
        for images, some in _rectangles(count, played, batch_size):
            last = images.stop == count and some.stop == played
            pictures = each.pictures.of(images).combine(each.coalitions[images, some])
            yield pictures, _Turn(each, found, images, some, last)


def _rectangles(count: int, played: int, batch_size: int) -> Iterator[tuple[slice, slice]]:
    """Images × coalitions of at most ``batch_size``, whole images where they fit."""
    for images in pieces(count, max(1, batch_size // played)):
        step = max(1, batch_size // (images.stop - images.start))
        yield from ((images, some) for some in pieces(played, step))


def _check_finite(found: Tensor, played: Round) -> None:
    wrong = found.isnan()
    if wrong.any():
        image, coalition = (int(i) for i in wrong.nonzero()[0])
        present = played.coalitions[image, coalition].cpu().bool().numpy()
        shown = f"with the bands {members(present)} present" if present.any() else "with no band"
        raise not_finite(played.names[image], shown)


def _take_apart(
    runner: BackendRunner,
    rules: Rules,
    shard: Shard,
    some: slice,
    pixels: Tensor,
    together: Tensor | None,
) -> Components:
    classifier = runner.classifier
    absent = None if shard.absent is None else _to(runner.device, shard.absent[some])
    if absent is not None and rules.absence == "replacement" and rules.space == "input":
        absent = classifier.normalise(absent)
    return components(
        pixels,
        _partition(shard.sample, rules),
        absent=absent,
        mean=classifier.mean,
        std=classifier.std,
        space=rules.space,
        channels_last=runner.memory_format is torch.channels_last,
        together=together,
    )


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


def _to(device: torch.device, tensor: Tensor) -> Tensor:
    if device.type == "cuda" and tensor.device.type == "cpu":
        # From pinned memory the copy goes on by itself.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _to_host(tensor: Tensor) -> Floats:
    found: Floats = tensor.cpu().numpy()
    return found


def plans_of(sample: ReferenceSample, rules: Rules) -> list[Plan]:
    """What is played of each image."""
    if rules.design == "exact":
        return [plan("exact", rules.bands, "")] * len(sample)
    return [plan(rules.design, rules.bands, f"{rules.seed} {d}") for d in sample.digests]


def _seed(seed: int, digest: str) -> int:
    # Of the image alone: the same noise whatever the batch, the order or the worker.
    return int.from_bytes(hashlib.sha256(f"{seed} {digest}".encode()).digest()[:8]) >> 1

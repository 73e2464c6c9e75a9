"""Rounds: images with what can be mixed into them, through one network, and its scores.

What is mixed, whether bands of an image (play.py) or changes of it (changes.py), makes no
difference here: row s of a round's mixtures says how much of each part the network sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.execute.runner import BackendRunner, Runner, not_finite, pieces
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.game.coalitions import members
from pytest_iaside.stats.arrays import Floats

Score = Callable[[Tensor, Tensor], Tensor]
"""Of logits (B, C) float64 and targets as in ``Round``: (B,) float64."""


class Pictures(Protocol):
    """K images with what can be mixed into them."""

    def of(self, images: slice) -> Pictures:
        """Those of some of the images."""

    def combine(self, coalitions: Tensor) -> Tensor:
        """What the network is fed, (K·S, C, H, W), for the mixtures (K, S, M)."""


def bands_present(mixture: NDArray[Any]) -> str:
    """A coalition of bands in words, for messages."""
    present = mixture.astype(bool)
    return f"with the bands {members(present)} present" if present.any() else "with no band"


@dataclass(frozen=True, eq=False)
class Round:
    """K images that are played together.

    ``coalitions`` (K, S, M) of 0 and 1, or how much of each of M parts; ``targets`` (K,) classes
    or (K, C) distributions; ``names`` are the images' own, and ``shown(image, row)`` tells what is
    played, for messages: by default the coalition.
    """

    pictures: Pictures
    coalitions: Tensor
    targets: Tensor
    names: tuple[str, ...]
    temperature: float = 1.0
    shown: Callable[[int, int], str] | None = None


TakeApart = Callable[[slice, Tensor, Tensor], tuple[Pictures, Tensor]]
"""Of some images, which, their pixels, and what is to be played of each (k, S, M): the pictures of
their parts, and how much of each part that takes, (k, S, parts)."""


def log_likelihood(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """Σ_y P(y|x)·log Q(y|x) of each row, (B,) float64; targets as in ``Round``."""
    # float64 before the softmax: differences between coalitions are small against logits.
    return _expected(torch.log_softmax(logits.to(torch.float64) / temperature, dim=1), targets)


def probability(logits: Tensor, targets: Tensor) -> Tensor:
    """Σ_y P(y|x)·Q(y|x) of each row, (B,) float64."""
    return _expected(torch.softmax(logits.to(torch.float64), dim=1), targets)


def hit(logits: Tensor, targets: Tensor) -> Tensor:
    """1 where the likeliest class is the label, of a distribution its likeliest, (B,) float64."""
    classes = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return (logits.argmax(dim=1) == classes).to(torch.float64)


def _expected(values: Tensor, targets: Tensor) -> Tensor:
    if targets.ndim == 1:
        return values.gather(1, targets[:, None])[:, 0]
    # 0·(−∞) is 0 here: a class that the label rules out does not matter.
    return torch.where(targets > 0, targets * values, 0.0).sum(dim=1)


def scores_on(
    runner: BackendRunner,
    sample: ReferenceSample,
    played: Sequence[NDArray[Any]],
    take_apart: TakeApart,
    *,
    scores: Sequence[Score] = (log_likelihood,),
    targets: Tensor | None = None,
    clean: Tensor | None = None,
    temperature: float = 1.0,
    shown: Callable[[NDArray[Any]], str] = bands_present,
) -> Iterator[tuple[slice, Floats, Floats]]:
    """Scores (F, k, S) of what is ``played``, (S, M) of each image of ``sample``.

    A few images at a time, which, and with the log-probabilities (k, classes) of the images as they
    are, of which ``clean`` (K, classes) are the logits if they are known. ``take_apart`` makes the
    pictures of some images. ``targets`` are the classes that count where the sample has no labels;
    without them the likeliest.
    """
    device, batch_size = runner.device, runner.batch_size
    pixels = to_device(device, sample.pixels())
    if clean is None:
        inputs = map(runner.classifier.normalise, torch.split(pixels, batch_size))
        clean = torch.cat(list(runner.forward_many(inputs)))
    logits = to_device(device, clean)
    sample.check_classes(logits.shape[1])
    if sample.labels is not None:
        targets = sample.labels
    targets = logits.argmax(dim=1) if targets is None else to_device(device, targets)
    divided = logits.to(torch.float64) / temperature
    log_probabilities = to_host(torch.log_softmax(divided, dim=1))
    # Images whose coalitions share a batch are taken apart together, others one by one.
    together = list(pieces(len(sample), max(1, batch_size // len(played[0]))))

    def rounds() -> Iterator[Round]:
        for some in together:
            wanted = to_device(device, torch.from_numpy(np.stack(played[some])))
            pictures, mixtures = take_apart(some, pixels[some], wanted)
            yield Round(
                pictures,
                mixtures.to(torch.float32),
                targets[some],
                sample.names[some],
                temperature,
                partial(_told, shown, wanted),
            )

    results = play_rounds(rounds(), runner, batch_size=batch_size, scores=scores)
    for some, found in zip(together, results, strict=True):
        yield some, to_host(found), log_probabilities[some]


def play_rounds(
    rounds: Iterable[Round],
    runner: Runner,
    *,
    batch_size: int,
    scores: Sequence[Score] = (log_likelihood,),
) -> Iterator[Tensor]:
    """The ``scores`` of each coalition of each round, (F, K, S) float64 on the CPU.

    A batch is made when the runner asks for it and holds at most ``batch_size`` images; the next
    round is made ready while the last batches of the one before are still with the network.

    Raises ModelError naming the image and the coalition where logits are not finite.
    """
    for logits, turn in runner.run(_batches(rounds, batch_size, len(scores))):
        turn.enter(logits, scores)
        if turn.last:
            # On a GPU this waits for all that is under way: once a round.
            found = turn.found.cpu()
            _check_finite(found, turn.round)
            yield found


@dataclass(frozen=True, eq=False)
class _Turn:
    """A batch that is with the network, and where its results go."""

    round: Round
    found: Tensor
    images: slice
    some: slice
    last: bool

    def enter(self, logits: Tensor, scores: Sequence[Score]) -> None:
        shape = (self.images.stop - self.images.start, -1)
        targets = self.round.targets[self.images]
        targets = targets.repeat_interleave(len(logits) // shape[0], dim=0)
        divided, finite = logits.to(torch.float64) / self.round.temperature, logits.isfinite()
        for place, score in enumerate(scores):
            # NaN stands for what is not finite anywhere: finite logits never lead to it.
            values = torch.where(finite.all(dim=1), score(divided, targets), torch.nan)
            self.found[place, self.images, self.some] = values.view(shape)


def _batches(
    rounds: Iterable[Round], batch_size: int, scores: int
) -> Iterator[tuple[Tensor, _Turn]]:
    for each in rounds:
        count, played = each.coalitions.shape[:2]
        device = each.coalitions.device
        found = torch.empty(scores, count, played, dtype=torch.float64, device=device)
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
    wrong = found[0].isnan()
    if wrong.any():
        image, row = (int(i) for i in wrong.nonzero()[0])
        told = played.shown or partial(_told, bands_present, played.coalitions)
        raise not_finite(played.names[image], told(image, row))


def _told(shown: Callable[[NDArray[Any]], str], wanted: Tensor, image: int, row: int) -> str:
    return shown(wanted[image, row].cpu().numpy())


def to_device(device: torch.device, tensor: Tensor) -> Tensor:
    """``tensor`` on ``device``."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        # From pinned memory the copy goes on by itself.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_host(tensor: Tensor) -> Floats:
    """``tensor`` as an array, fetched from where it is."""
    found: Floats = tensor.cpu().numpy()
    return found

"""Play coalitions through a classifier, a batch at a time (SPEC.md 1.3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_iaside.errors import ModelError
from pytest_iaside.images.filters import Components
from pytest_iaside.measure.game.coalitions import members

# Logits for each of the batches, in their order; may take some ahead of what it has given back.
Stream = Callable[[Iterable[Tensor]], Iterator[Tensor]]


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


def play_coalitions(
    rounds: Iterable[Round], stream: Stream, *, batch_size: int
) -> Iterator[Tensor]:
    """Log-likelihoods Σ_y P(y|x)·log Q(y|x⋆S) of each round, (K, S) float64 on the CPU.

    ``stream`` maps batches of filtered images to logits. A batch is made when ``stream`` asks
    for it and holds at most ``batch_size`` images; the next round is made ready while the last
    batches of the one before are still with the network.

    Raises ModelError naming the image and the coalition where logits are not finite.
    """
    waiting: deque[_Turn] = deque()
    for logits in stream(_batches(rounds, batch_size, waiting)):
        turn = waiting.popleft()
        turn.enter(logits)
        if turn.last:
            # On a GPU this waits for all that is under way: once a round.
            found = turn.found.cpu()
            _check_finite(found, turn.round)
            yield found


def log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Σ_y P(y|x)·log Q(y|x) of each row, (B,) float64; targets as in ``Round``."""
    # float64 before the softmax: differences between coalitions are small against logits.
    log_probabilities = torch.log_softmax(logits.to(torch.float64), dim=1)
    if targets.ndim == 1:
        return log_probabilities.gather(1, targets[:, None])[:, 0]
    # 0·(−∞) is 0 here: a class that the label rules out does not matter.
    return torch.where(targets > 0, targets * log_probabilities, 0.0).sum(dim=1)


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
        values = log_likelihood(logits, targets)
        # NaN stands for what is not finite anywhere: finite logits never lead to it.
        values = torch.where(logits.isfinite().all(dim=1), values, torch.nan)
        self.found[self.images, self.some] = values.view(shape)


def _batches(rounds: Iterable[Round], batch_size: int, waiting: deque[_Turn]) -> Iterator[Tensor]:
    for each in rounds:
        count, played = each.coalitions.shape[:2]
        device = each.coalitions.device
        found = torch.empty(count, played, dtype=torch.float64, device=device)
        for images, some in _rectangles(count, played, batch_size):
            last = images.stop == count and some.stop == played
            waiting.append(_Turn(each, found, images, some, last))
            yield each.pictures.of(images).combine(each.coalitions[images, some])


def _rectangles(count: int, played: int, batch_size: int) -> Iterator[tuple[slice, slice]]:
    """Images × coalitions of at most ``batch_size``, whole images where they fit."""
    together = max(1, batch_size // played)
    for first in range(0, count, together):
        images = slice(first, min(first + together, count))
        step = max(1, batch_size // (images.stop - images.start))
        for start in range(0, played, step):
            yield images, slice(start, min(start + step, played))


def _check_finite(found: Tensor, played: Round) -> None:
    wrong = found.isnan()
    if wrong.any():
        image, coalition = (int(i) for i in wrong.nonzero()[0])
        present = played.coalitions[image, coalition].cpu().bool().numpy()
        shown = f"with the bands {members(present)} present" if present.any() else "with no band"
        raise ModelError(
            f"the model returned NaN or infinite logits for {played.names[image]} {shown}; "
            "expected finite numbers: check the weights and the preprocessing (mean and std)"
        )

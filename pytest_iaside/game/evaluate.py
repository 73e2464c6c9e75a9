"""Play coalitions through a classifier, a batch at a time (SPEC.md 1.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pytest_iaside.errors import ModelError
from pytest_iaside.game.coalitions import members
from pytest_iaside.spectrum.filters import Components

Forward = Callable[[Tensor], Tensor]


def play_coalitions(
    pictures: Components,
    coalitions: Tensor,
    targets: Tensor,
    forward: Forward,
    *,
    batch_size: int,
    names: tuple[str, ...],
) -> Tensor:
    """Log-likelihoods Σ_y P(y|x)·log Q(y|x⋆S) of K images and S coalitions, (K, S) float64.

    ``coalitions`` (K, S, M) of 0 and 1; ``targets`` (K,) classes or (K, C) distributions;
    ``forward`` maps filtered images to logits. Never more than ``batch_size`` filtered images
    exist at once, unless one coalition of every image is more.

    Raises ModelError naming the image and the coalition where logits are not finite.
    """
    count, played = coalitions.shape[:2]
    found = torch.empty(count, played, dtype=torch.float64, device=pictures.parts.device)
    finite = torch.empty(count, played, dtype=torch.bool, device=pictures.parts.device)
    for images, some in _batches(count, played, batch_size):
        batch = pictures.of(images).combine(coalitions[images, some])
        logits = forward(batch)
        shape = (images.stop - images.start, -1)
        target = targets[images].repeat_interleave(len(logits) // shape[0], dim=0)
        found[images, some] = log_likelihood(logits, target).view(shape)
        finite[images, some] = logits.isfinite().all(dim=1).view(shape)
    # Looked at once, after the last batch: on a GPU a look waits for all that is under way.
    if not finite.all():
        image, coalition = (int(i) for i in (~finite).nonzero()[0])
        raise ModelError(
            f"the model returned NaN or infinite logits for {names[image]} with the bands "
            f"{members(coalitions[image, coalition].cpu().bool().numpy())} present; expected finite "
            "numbers: check the weights and the preprocessing (mean and std)"
        )
    return found


def log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Σ_y P(y|x)·log Q(y|x) of each row, (B,) float64; targets as in ``play_coalitions``."""
    # float64 before the softmax: differences between coalitions are small against logits.
    log_probabilities = torch.log_softmax(logits.to(torch.float64), dim=1)
    if targets.ndim == 1:
        return log_probabilities.gather(1, targets[:, None])[:, 0]
    # 0·(−∞) is 0 here: a class that the label rules out does not matter.
    return torch.where(targets > 0, targets * log_probabilities, 0.0).sum(dim=1)


def _batches(count: int, played: int, batch_size: int) -> Iterator[tuple[slice, slice]]:
    """Rectangles of images × coalitions of at most ``batch_size``, whole images where they fit."""
    together = max(1, batch_size // played)
    for first in range(0, count, together):
        images = slice(first, min(first + together, count))
        step = max(1, batch_size // (images.stop - images.start))
        for start in range(0, played, step):
            yield images, slice(start, min(start + step, played))

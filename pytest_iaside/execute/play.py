"""The unit of work: some images of a reference sample through one classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.data.reference import ReferenceSample
from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.game.coalitions import Plan, plan
from pytest_iaside.game.evaluate import play_coalitions
from pytest_iaside.game.rules import Rules
from pytest_iaside.game.shapley import mean_by_size, plan_weights
from pytest_iaside.models.backends import Backend, open_backend
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.spectrum.bands import BandPartition
from pytest_iaside.spectrum.filters import components, gaussian_absence


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How the game is run; changes nothing but speed and the last digits."""

    device: str = "auto"
    backend: str = "auto"
    batch_size: int | str = "auto"

    def __post_init__(self) -> None:
        size = self.batch_size
        if size != "auto" and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise SettingsError(f"batch_size={size!r} must be 'auto' or a whole number above 0")


@dataclass(frozen=True, eq=False)
class Shard:
    """Images to play, and for each the picture that stands in for missing bands, if any."""

    sample: ReferenceSample
    absent: Tensor | None


@dataclass(frozen=True, eq=False)
class Rows:
    """What was found for K images: one row each, all float64."""

    image_psi: NDArray[np.float64]
    """(K, M) Shapley values."""
    by_size: NDArray[np.float64]
    """(K, M+1) mean log-likelihood of the played coalitions of each size."""
    log_likelihood: NDArray[np.float64]
    """(K, S), one column per coalition played."""
    log_probabilities: NDArray[np.float64]
    """(K, classes) of the clean images."""
    forward_passes: int


def shards(sample: ReferenceSample, rules: Rules, whole: ReferenceSample, size: int) -> list[Shard]:
    """``sample`` cut into pieces of ``size`` images; ``whole`` is where replacements come from.

    What a piece holds does not depend on how the sample is cut.
    """
    partner = _partners(whole) if rules.absence == "replacement" else {}
    pieces = []
    for start in range(0, len(sample), size):
        piece = sample.take(range(start, min(start + size, len(sample))))
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
        pieces.append(Shard(piece, absent))
    return pieces


def play(classifier: Classifier, rules: Rules, execution: Execution, shard: Shard) -> Rows:
    """Play ``shard`` in this process; the function that executors are sent."""
    with open_backend(
        classifier, backend=execution.backend, device=execution.device, dtype=rules.dtype
    ) as backend:
        return join(list(play_on(backend, classifier, rules, execution, shard)))


def play_on(
    backend: Backend, classifier: Classifier, rules: Rules, execution: Execution, shard: Shard
) -> Iterator[Rows]:
    """Play ``shard`` on an open backend, a few images at a time."""
    sample = shard.sample
    _, height, width = sample.shape
    partition = BandPartition(height, width, rules.bands, rules.partition)
    batch_size = _batch_size(execution, backend.device, height * width)
    plans = _plans(sample, rules)
    played = len(plans[0].coalitions)
    # Images whose coalitions share a batch are taken apart together, others one by one.
    together = max(1, batch_size // played)
    for some in _pieces(len(sample), together):
        pixels = sample.pixels(some.start, some.stop).to(backend.device)
        inputs = classifier.normalise(pixels)
        logits = backend.forward(inputs)
        sample.check_classes(logits.shape[1])
        if sample.labels is None:
            targets = logits.argmax(dim=1)
        else:
            targets = sample.labels[some].to(backend.device)
        absent = None if shard.absent is None else shard.absent[some].to(backend.device)
        if absent is not None and rules.absence == "replacement" and rules.space == "input":
            absent = classifier.normalise(absent)
        pictures = components(
            pixels,
            partition,
            absent=absent,
            mean=classifier.mean,
            std=classifier.std,
            space=rules.space,
        )
        coalitions = np.stack([each.coalitions for each in plans[some]])
        found = play_coalitions(
            pictures,
            torch.from_numpy(coalitions).to(backend.device, torch.float32),
            targets,
            backend.forward,
            batch_size=batch_size,
            names=sample.names[some],
        )
        log_likelihood = found.cpu().numpy()
        rows = list(zip(log_likelihood, plans[some], strict=True))
        yield Rows(
            # Relative to the empty coalition first: v(∅) is large against what bands add.
            image_psi=np.stack([(row - row[0]) @ plan_weights(each) for row, each in rows]),
            by_size=np.stack([mean_by_size(each, row) for row, each in rows]),
            log_likelihood=log_likelihood,
            log_probabilities=torch.log_softmax(logits.to(torch.float64), dim=1).cpu().numpy(),
            forward_passes=len(pixels) * (played + 1),
        )


def join(rows: list[Rows]) -> Rows:
    """Rows one below the other."""
    return Rows(
        image_psi=np.concatenate([r.image_psi for r in rows]),
        by_size=np.concatenate([r.by_size for r in rows]),
        log_likelihood=np.concatenate([r.log_likelihood for r in rows]),
        log_probabilities=np.concatenate([r.log_probabilities for r in rows]),
        forward_passes=sum(r.forward_passes for r in rows),
    )


def _batch_size(execution: Execution, device: torch.device, pixels: int) -> int:
    if isinstance(execution.batch_size, int):
        return execution.batch_size
    # On CPUs what counts is that activations stay in cache: 8 images of 224×224.
    at_once = 8 if device.type == "cpu" else 256
    return int(np.clip(at_once * 224 * 224 // pixels, 4, 1024))


def _pieces(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _plans(sample: ReferenceSample, rules: Rules) -> list[Plan]:
    if rules.design == "exact":
        return [plan("exact", rules.bands, "")] * len(sample)
    return [plan(rules.design, rules.bands, f"{rules.seed} {d}") for d in sample.digests]


def _seed(seed: int, digest: str) -> int:
    # Of the image alone: the same noise whatever the batch, the order or the worker.
    return int.from_bytes(hashlib.sha256(f"{seed} {digest}".encode()).digest()[:8]) >> 1


def _partners(whole: ReferenceSample) -> dict[str, int]:
    """For each image's digest the index of its replacement: the next image by digest."""
    index = {digest: i for i, digest in enumerate(whole.digests)}
    if len(index) < 2:
        raise ReferenceSampleError(
            f"absence='replacement' puts another image's bands in place of missing ones, but the "
            f"reference sample holds {len(index)} distinct image; give at least 2"
        )
    order = sorted(index)
    return {digest: index[order[(i + 1) % len(order)]] for i, digest in enumerate(order)}

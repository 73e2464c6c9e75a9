"""The unit of work: some images of a reference sample through one classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.filters import Components, components, gaussian_absence
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.game.coalitions import Plan, plan
from pytest_iaside.measure.game.evaluate import Round, play_coalitions
from pytest_iaside.measure.game.rows import Rows, join
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.game.shapley import mean_by_size, plan_weights
from pytest_iaside.models.backends import Backend, Workload, open_backend
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.tuning import return_freed_memory


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


@dataclass(frozen=True, eq=False)
class Shard:
    """Images to play, and for each the picture that stands in for missing bands, if any."""

    sample: ReferenceSample
    absent: Tensor | None
    passes: int
    """Forward passes of the whole game, of which this is a part."""


def shards(
    sample: ReferenceSample,
    rules: Rules,
    whole: ReferenceSample,
    size: int,
    images: Sequence[int] | None = None,
) -> Iterator[Shard]:
    """``images`` of ``sample`` (all by default) in pieces of ``size``, each made when asked for.

    ``whole`` is where replacements come from. What is played of an image does not depend on how
    the sample is cut, nor on which others are played.
    """
    partner = partners(whole) if rules.absence == "replacement" else {}
    passes = len(sample) * (len(plan(rules.design, rules.bands, "").coalitions) + 1)
    wanted = range(len(sample)) if images is None else images
    for start in range(0, len(wanted), size):
        piece = sample.take(wanted[start : start + size])
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
        yield Shard(piece, absent, passes)


@contextmanager
def ready(
    classifier: Classifier, rules: Rules, execution: Execution, shard: Shard
) -> Iterator[Backend]:
    """The backend for the game that ``shard`` is a part of."""
    with open_backend(
        classifier,
        backend=execution.backend,
        device=execution.device,
        dtype=rules.dtype,
        batch_size=execution.batch_size,
        workload=Workload(_first_inputs(classifier, rules, shard), shard.passes),
    ) as backend:
        yield backend


def play(classifier: Classifier, rules: Rules, execution: Execution, shard: Shard) -> Rows:
    """Play ``shard`` in this process; the function that executors are sent."""
    with ready(classifier, rules, execution, shard) as backend:
        return join(list(play_on(backend, classifier, rules, shard)))


def play_on(backend: Backend, classifier: Classifier, rules: Rules, shard: Shard) -> Iterator[Rows]:
    """Play ``shard`` on an open backend; its images as they are done, a few at a time."""
    sample, device = shard.sample, backend.device
    batch_size = backend.chunk
    plans = _plans(sample, rules)
    played = len(plans[0].coalitions)
    pixels = _to(device, sample.pixels())
    clean = [classifier.normalise(pixels[some]) for some in _pieces(len(sample), batch_size)]
    logits = torch.cat(list(backend.forward_many(clean)))
    sample.check_classes(logits.shape[1])
    targets = logits.argmax(dim=1) if sample.labels is None else _to(device, sample.labels)
    log_probabilities = _to_host(torch.log_softmax(logits.to(torch.float64), dim=1))
    # Images whose coalitions share a batch are taken apart together, others one by one.
    pieces = list(_pieces(len(sample), max(1, batch_size // played)))

    def rounds() -> Iterator[Round]:
        for some in pieces:
            coalitions = torch.from_numpy(np.stack([each.coalitions for each in plans[some]]))
            yield Round(
                _take_apart(backend, classifier, rules, shard, some, pixels[some]),
                _to(device, coalitions).to(torch.float32),
                targets[some],
                sample.names[some],
            )

    results = play_coalitions(rounds(), backend.forward_many, batch_size=batch_size)
    for some, found in zip(pieces, results, strict=True):
        log_likelihood = _to_host(found)
        rows = list(zip(log_likelihood, plans[some], strict=True))
        yield Rows(
            # Relative to the empty coalition first: v(∅) is large against what bands add.
            image_psi=np.stack([(row - row[0]) @ plan_weights(each) for row, each in rows]),
            by_size=np.stack([mean_by_size(each, row) for row, each in rows]),
            log_likelihood=log_likelihood,
            log_probabilities=log_probabilities[some],
            forward_passes=len(rows) * (played + 1),
            environment=_environment(backend),
        )
    return_freed_memory()


def _take_apart(
    backend: Backend,
    classifier: Classifier,
    rules: Rules,
    shard: Shard,
    some: slice,
    pixels: Tensor,
) -> Components:
    absent = None if shard.absent is None else _to(backend.device, shard.absent[some])
    if absent is not None and rules.absence == "replacement" and rules.space == "input":
        absent = classifier.normalise(absent)
    return components(
        pixels,
        _partition(shard.sample, rules),
        absent=absent,
        mean=classifier.mean,
        std=classifier.std,
        space=rules.space,
        channels_last=backend.setup.channels_last,
    )


def _first_inputs(classifier: Classifier, rules: Rules, shard: Shard) -> Tensor:
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


def _environment(backend: Backend) -> dict[str, str]:
    setup, note = backend.setup, f" ({backend.note})" if backend.note else ""
    return {
        "device": str(backend.device),
        "backend": f"{setup.backend}{note}",
        "batch_size": str(setup.batch_size),
        "memory_format": "channels_last" if setup.channels_last else "contiguous",
        "threads": str(backend.threads),
    }


def _to(device: torch.device, tensor: Tensor) -> Tensor:
    if device.type == "cuda" and tensor.device.type == "cpu":
        # From pinned memory the copy goes on by itself.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _to_host(tensor: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = tensor.cpu().numpy()
    return found


def _pieces(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _plans(sample: ReferenceSample, rules: Rules) -> list[Plan]:
    if rules.design == "exact":
        return [plan("exact", rules.bands, "")] * len(sample)
    return [plan(rules.design, rules.bands, f"{rules.seed} {d}") for d in sample.digests]


def _seed(seed: int, digest: str) -> int:
    # Of the image alone: the same noise whatever the batch, the order or the worker.
    return int.from_bytes(hashlib.sha256(f"{seed} {digest}".encode()).digest()[:8]) >> 1


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

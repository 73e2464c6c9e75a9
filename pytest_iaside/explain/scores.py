"""Scores of a class by what a classifier answers to many variants of each image."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import Runner, check_finite, open_runner
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import classes_of, sample_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.stats.arrays import Floats

Score = Literal["accuracy", "probability", "log_probability", "logit"]
"""Of a class: 1 where it is the likeliest and else 0, its softmax, the log of that, its logit."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Scorer:
    """A classifier that is ready to run, and the images and classes that it is scored on."""

    runner: Runner
    sample: ReferenceSample
    clean: Tensor  # Logits of the clean images, (K, C) float64 on the CPU.
    classes: Tensor  # (K,) int64, on the CPU.

    def scores(self, variants: Iterable[Tensor], each: int, score: Score) -> Floats:
        """The score of each image's class on its variants, (K, each) float64."""
        answered = self.answers(variants, each)
        found = [scored(logits, self.classes[rows // each], score) for rows, logits in answered]
        return torch.cat(found).view(len(self.sample), each).numpy()

    def answers(
        self, variants: Iterable[Tensor], each: int, *, standardised: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The places (n,) of variants with their logits (n, C) float64 on the CPU, in batches.

        ``variants`` are batches of any size, together ``each`` for every image in their order:
        pixels in [0, 1], or if ``standardised`` what the network is fed. ModelError where logits
        are not finite.
        """
        batches = rebatched(variants, self.runner.batch_size)
        if not standardised:
            batches = (self.runner.classifier.normalise(pixels) for pixels in batches)
        done = 0
        for found in self.runner.forward_many(batches):
            logits = found.to(torch.float64).cpu()
            rows = torch.arange(done, done + len(logits))
            check_finite(logits, [self.sample.names[i] for i in rows // each])
            yield rows, logits
            done += len(logits)


@contextmanager
def open_scorer(
    classifier: Any, images: Any, labels: Any, *, variants: int, execution: Execution
) -> Iterator[Scorer]:
    """``classifier`` ready for ``variants`` passes an image, after the clean ones.

    ``labels`` as in ``classes_of``; raises as ``open_backend``.
    """
    chosen, sample = as_classifier(classifier), sample_of(images)
    inputs, passes = chosen.normalise(sample.pixels(0, 8)), len(sample) * (variants + 1)
    with open_runner(chosen, execution, inputs=inputs, passes=passes) as runner:
        clean = runner.clean_logits(sample)
        classes = classes_of(labels, clean)
        yield Scorer(runner=runner, sample=sample, clean=clean, classes=classes)


def scored(logits: Tensor, classes: Tensor, score: Score) -> Tensor:
    """The score of ``classes`` (n,) by ``logits`` (n, C), (n,)."""
    match score:
        case "accuracy":
            return (logits.argmax(dim=1) == classes).to(logits.dtype)
        case "probability":
            logits = torch.softmax(logits, dim=1)
        case "log_probability":
            logits = torch.log_softmax(logits, dim=1)
    return logits.gather(1, classes[:, None])[:, 0]


def rebatched(pieces: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """``pieces`` (n, …) of any length, put together and cut into batches of ``size``."""
    waiting: list[Tensor] = []
    count = 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        while count >= size:
            together = torch.cat(waiting) if len(waiting) > 1 else waiting[0]
            yield together[:size]
            waiting, count = [together[size:]], count - size
    if count:
        yield torch.cat(waiting)

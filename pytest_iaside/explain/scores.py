"""What a classifier replies to many variants of each image, scored for one class of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.targets import classes_of, sample_of
from pytest_iaside.models.backends import Backend, Workload, open_backend
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.models.tuning import return_freed_memory

Score = Literal["accuracy", "probability", "log_probability", "logit"]
"""Of a class: 1 where it is the likeliest and else 0, its softmax, the log of that, its logit."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Respondent:
    """A classifier that is ready to run, and the images and classes it is asked about."""

    classifier: Classifier
    backend: Backend
    sample: ReferenceSample
    clean: Tensor
    """Logits of the clean images, (K, C) float64 on the CPU."""
    classes: Tensor
    """(K,) int64, on the CPU."""

    def scores(
        self, variants: Iterable[Tensor], each: int, score: Score, *, standardised: bool = False
    ) -> NDArray[np.float64]:
        """The score of each image's class on its variants, (K, each) float64.

        ``variants`` are batches of any size, together ``each`` for every image in their order:
        pixels in [0, 1], or what the network is fed if they are ``standardised``.
        """
        found = [
            scored(logits, self.classes[images], score)
            for images, logits in self.replies(variants, each, standardised=standardised)
        ]
        return torch.cat(found).view(len(self.sample), each).numpy()

    def replies(
        self, variants: Iterable[Tensor], each: int, *, standardised: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (n, C) float64 on the CPU with the indices (n,) of their images, in batches.

        ``variants`` as in ``scores``. Raises ModelError where logits are not finite.
        """
        batches = rebatched(variants, self.backend.chunk)
        if not standardised:
            batches = (self.classifier.normalise(pixels) for pixels in batches)
        done = 0
        for found in self.backend.forward_many(batches):
            logits = found.to(torch.float64).cpu()
            images = torch.arange(done, done + len(logits)) // each
            check_logits_finite(logits, [self.sample.names[i] for i in images])
            yield images, logits
            done += len(logits)


@contextmanager
def asked(
    classifier: Any,
    images: Any,
    labels: Any,
    *,
    variants: int,
    device: str,
    backend: str,
    batch_size: int | str,
) -> Iterator[Respondent]:
    """Make ``classifier`` ready for ``variants`` forward passes an image, and ask the clean ones.

    ``labels`` as in ``classes_of``; the rest as in ``open_backend``.
    """
    chosen, sample = as_classifier(classifier), sample_of(images)
    workload = Workload(chosen.normalise(sample.pixels(0, 8)), len(sample) * (variants + 1))
    with open_backend(
        chosen, backend=backend, device=device, batch_size=batch_size, workload=workload
    ) as ready:
        pixels = (
            sample.pixels(start, start + ready.chunk).to(ready.device)
            for start in range(0, len(sample), ready.chunk)
        )
        inputs = (chosen.normalise(each) for each in pixels)
        clean = torch.cat([each.to(torch.float64).cpu() for each in ready.forward_many(inputs)])
        check_logits_finite(clean, sample.names)
        yield Respondent(
            classifier=chosen,
            backend=ready,
            sample=sample,
            clean=clean,
            classes=classes_of(labels, clean),
        )
        return_freed_memory()


def scored(logits: Tensor, classes: Tensor, score: Score) -> Tensor:
    """The score of ``classes`` (n,) by ``logits`` (n, C), (n,)."""
    if score == "accuracy":
        return (logits.argmax(dim=1) == classes).to(logits.dtype)
    values = logits
    if score == "probability":
        values = torch.softmax(logits, dim=1)
    elif score == "log_probability":
        values = torch.log_softmax(logits, dim=1)
    return values.gather(1, classes[:, None])[:, 0]


def check_score(score: str) -> None:
    """Raise SettingsError unless ``score`` is one."""
    if score not in get_args(Score):
        raise SettingsError(f"score={score!r} is unknown; use one of {', '.join(get_args(Score))}")


def check_logits_finite(logits: Tensor, names: Sequence[str]) -> None:
    """Raise ModelError naming the image of the first row of ``logits`` that is not finite."""
    finite = logits.isfinite().all(dim=1)
    if not finite.all():
        raise ModelError(
            "the model returned NaN or infinite logits for "
            f"{names[int((~finite).nonzero()[0])]}; expected finite numbers: check the weights "
            "and the preprocessing (mean and std)"
        )


def rebatched(pieces: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """``pieces`` (n, …) of any length, put together and cut into batches of ``size``."""
    held: list[Tensor] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        while count >= size:
            together = torch.cat(held) if len(held) > 1 else held[0]
            yield together[:size]
            held = [together[size:]] if count > size else []
            count -= size
    if held:
        yield torch.cat(held) if len(held) > 1 else held[0]

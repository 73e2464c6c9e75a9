"""Gradients of a class's log-likelihood with respect to what the network is fed (SPEC.md 4)."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.checks import check_choice, check_whole
from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import GradientRunner, open_gradient_runner
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import classes_of, sample_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.models.gradients import gradient_of
from pytest_iaside.stats.arrays import Floats

LineStart = Literal["zero", "black"]
Explained = Callable[[Tensor, Tensor], Tensor]
"""f: inputs (B, channels, height, width) and the classes (B,) to explain, to values (B,)."""


def gradients(f: Explained, inputs: Tensor, classes: Tensor) -> Tensor:
    """∇f at each of ``inputs`` (B, C, H, W), in their dtype; raises ModelError if there is none."""
    # Pixel by pixel in memory, convolutions on CPUs are half again as fast.
    leaf = inputs.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    return gradient_of(f(leaf, classes).sum(), leaf, "the model")


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A classifier that is open to gradients, and the images and classes to explain."""

    runner: GradientRunner
    sample: ReferenceSample
    classes: Tensor  # (K,) int64, on the runner's device.

    def check_gradients(self, finite: bool, image: int) -> None:
        """Raise ModelError naming ``image`` unless its gradients are ``finite``."""
        if not finite:
            raise ModelError(
                f"the gradients of the model's log-likelihood are NaN or infinite around "
                f"{self.sample.names[image]}; check that its logits are finite under noise"
            )


@contextmanager
def opened(classifier: Any, images: Any, labels: Any, *, execution: Execution) -> Iterator[Subject]:
    """``classifier`` ready for gradients at ``images``; afterwards it is as it was.

    ``labels`` as in ``classes_of``; the backend is PyTorch's, whatever ``execution`` says.
    """
    chosen, sample = as_classifier(classifier), sample_of(images)
    with open_gradient_runner(chosen, execution, sample, "to explain with") as runner:
        classes = classes_of(labels, runner.clean_logits(sample))
        yield Subject(runner=runner, sample=sample, classes=classes.to(runner.device))


@dataclass(frozen=True, eq=False)
class IntegratedGradients:
    """Means of g = ∇f over the line from the baseline b to the image x; f = log Q(class|x).

    Gradients are per standardised pixel: with respect to what the network is fed.
    """

    ig: Floats = field(repr=False)  # E[g] summed over channels, (K, H, W) float64.
    ig2: Floats = field(repr=False)  # E[g⊙g] summed over channels, (K, H, W) float64.
    xig: Floats = field(repr=False)
    """(x − b)⊙E[g] summed over channels, (K, H, W) float64: shares of f(x) − f(b), in nats."""
    xig2: Floats = field(repr=False)
    """(x − b)²⊙E[g⊙g] summed over channels, (K, H, W) float64: mean squares of such shares."""
    gap: Floats  # What the sum of ``xig`` lacks to f(x) − f(b), (K,): the error of too few steps.
    baseline: LineStart
    steps: int
    classes: NDArray[np.int64]
    names: tuple[str, ...]


def integrated_gradients(
    classifier: Any,
    images: Any,
    labels: Any = None,
    *,
    steps: int = 32,
    baseline: LineStart = "zero",
    execution: Execution = Execution(),
) -> IntegratedGradients:
    """IG and IG2: means of the gradient over x̃ = (1−α)·x + α·b, α uniform in [0, 1] (SPEC.md 4).

    ``baseline="zero"`` is b = 0 in standardised pixels, the paper's (1−α)·x; with a ``mean`` it is
    the mean colour, and black only without. ``"black"`` is the standardised black image. The mean
    over α is taken by the Gauss-Legendre rule of ``steps`` points, exact for polynomials. The rest
    as in ``spectral_lens``. Sundararajan, Taly and Yan, ICML 2017.

    Raises as ``spectral_lens``.
    """
    check_whole("steps", steps, 1)
    check_choice("baseline", baseline, LineStart)
    with opened(classifier, images, labels, execution=execution) as subject:
        runner = subject.runner
        start = torch.zeros(subject.sample.shape).to(runner.device, runner.dtype)
        start = runner.classifier.normalise(start[None])[0] if baseline == "black" else start
        rows = [_explained(subject, image, start, steps) for image in range(len(subject.sample))]
        ig, ig2, xig, xig2, gap = (np.stack(each) for each in zip(*rows, strict=True))
        classes, names = subject.classes.cpu().numpy(), subject.sample.names
        return IntegratedGradients(ig, ig2, xig, xig2, gap, baseline, steps, classes, names)


def _explained(
    subject: Subject, image: int, start: Tensor, steps: int
) -> tuple[Floats, Floats, Floats, Floats, float]:
    """The maps E[g], E[g⊙g], (x − b)⊙E[g] and (x − b)²⊙E[g⊙g] of an image, and the gap."""
    f, size = subject.runner.log_likelihood, subject.runner.batch_size
    point = subject.runner.inputs(subject.sample, slice(image, image + 1))[0]
    label = subject.classes[image : image + 1]
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    along = torch.from_numpy((nodes + 1) / 2).to(point).view(-1, 1, 1, 1)
    parts = torch.from_numpy(weights / 2).to(point.device).view(-1, 1, 1, 1)
    first = torch.zeros_like(point, dtype=torch.float64)
    second = torch.zeros_like(first)
    for some, part in zip(torch.split(along, size), torch.split(parts, size), strict=True):
        points = start + some * (point - start)
        found = gradients(f, points, label.expand(len(points))).to(torch.float64)
        first += (part * found).sum(dim=0)
        second += (part * found.square()).sum(dim=0)
    subject.check_gradients(math.isfinite(float(second.sum())), image)
    shares = (point - start) * first
    with torch.no_grad():
        top, bottom = f(torch.stack([point, start]), label.expand(2))
    gap = (top - bottom).to(torch.float64) - shares.sum()
    squares = (point - start).square() * second
    maps = (each.sum(dim=0).cpu().numpy() for each in (first, second, shares, squares))
    ig, ig2, xig, xig2 = maps
    return ig, ig2, xig, xig2, gap.item()

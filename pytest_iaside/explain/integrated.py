"""Integrated gradients, and squared ones, along the line from a baseline (SPEC.md 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.gradients import Explained, Subject, gradients, opened
from pytest_iaside.explain.scales import Maps
from pytest_iaside.stats.arrays import Floats

LineStart = Literal["zero", "black"]


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegratedGradients:
    """Means of g = ∇f over the line from the baseline b to the image x; f = log Q(class|x).

    Gradients are per standardised pixel: with respect to what the network is fed.
    """

    ig: Maps = field(repr=False)
    """E[g] summed over channels, (K, H, W) float64."""
    ig2: Maps = field(repr=False)
    """E[g⊙g] summed over channels, (K, H, W) float64."""
    xig: Maps = field(repr=False)
    """(x − b)⊙E[g] summed over channels, (K, H, W) float64: shares of f(x) − f(b), in nats."""
    gap: Floats
    """What the sum of ``xig`` lacks to f(x) − f(b), (K,): the error of too few steps."""
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
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise SettingsError(f"steps={steps!r} must be a whole number above 0")
    if baseline not in get_args(LineStart):
        raise SettingsError(
            f"baseline={baseline!r} is unknown; use one of {', '.join(get_args(LineStart))}"
        )
    with opened(classifier, images, labels, execution=execution) as subject:
        runner = subject.runner
        start = torch.zeros(subject.sample.shape).to(runner.device, runner.dtype)
        start = runner.classifier.normalise(start[None])[0] if baseline == "black" else start
        rows = [_explained(subject, image, start, steps) for image in range(len(subject.sample))]
        ig, ig2, xig, gap = (np.stack(each) for each in zip(*rows, strict=True))
        return IntegratedGradients(
            ig=ig,
            ig2=ig2,
            xig=xig,
            gap=gap,
            baseline=baseline,
            steps=steps,
            classes=subject.classes.cpu().numpy(),
            names=subject.sample.names,
        )


def line_moments(
    f: Explained, point: Tensor, start: Tensor, label: Tensor, *, steps: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """E[g] and E[g⊙g] over the line from ``start`` to ``point``, (channels, …) float64 each."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    shares = torch.from_numpy((nodes + 1) / 2).to(point)
    parts = torch.from_numpy(weights / 2).to(point.device).view(-1, 1, 1, 1)
    first = torch.zeros_like(point, dtype=torch.float64)
    second = torch.zeros_like(first)
    for some, part in zip(
        torch.split(shares, batch_size), torch.split(parts, batch_size), strict=True
    ):
        points = start + some.view(-1, 1, 1, 1) * (point - start)
        found = gradients(f, points, label.expand(len(points))).to(torch.float64)
        first += (part * found).sum(dim=0)
        second += (part * found.square()).sum(dim=0)
    return first, second


def _explained(
    subject: Subject, image: int, start: Tensor, steps: int
) -> tuple[Maps, Maps, Maps, np.float64]:
    point = subject.inputs(slice(image, image + 1))[0]
    label = subject.classes[image : image + 1]
    first, second = line_moments(
        subject.runner.log_likelihood,
        point,
        start,
        label,
        steps=steps,
        batch_size=subject.runner.batch_size,
    )
    subject.check_gradients(math.isfinite(float(second.sum())), image)
    shares = (point - start) * first
    with torch.no_grad():
        ends = subject.runner.log_likelihood(torch.stack([point, start]), label.expand(2))
    gap = (ends[0] - ends[1]).to(torch.float64) - shares.sum()
    maps = [each.sum(dim=0).cpu().numpy() for each in (first, second, shares)]
    return maps[0], maps[1], maps[2], np.float64(gap.item())

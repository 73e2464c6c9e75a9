"""WAM: which wavelet coefficients the gradient of a class's log-likelihood points to.

Kasmi, Brunetto, Fel and Parekh, "One Wave to Explain Them All" (ICML 2025, arXiv 2410.01482). The
transform is orthonormal, so that the gradient with respect to the coefficients is the transform of
the gradient with respect to the image: a backward pass tells all of them at once, where WCAM asks
for each cell.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pytest_iaside.checks import check_choice, check_positive, check_whole
from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain import wavelets
from pytest_iaside.explain.gradients import Subject, gradients, opened
from pytest_iaside.explain.wavelet_map import WaveletMap
from pytest_iaside.stats.arrays import Floats, random_by

Path = Literal["smooth", "integrated"]


@dataclass(frozen=True, eq=False, kw_only=True)
class WaveletGradients(WaveletMap):
    """Absolute gradients in the wavelet domain, summed over channels and over each cell."""

    coefficients: Floats = field(repr=False)
    """The same of every packed coefficient, (K, H, W)."""
    path: Path
    gradients: int
    """How many gradients were taken, of one forward and one backward pass each."""


def wam(
    classifier: Any,
    images: Any,
    labels: Any = None,
    *,
    grid: int = 16,
    wavelet_levels: int = 3,
    wavelet: str = "haar",
    path: Path = "smooth",
    samples: int = 32,
    noise: float = 0.25,
    seed: int = 0,
    execution: Execution = Execution(),
) -> WaveletGradients:
    """The wavelet attribution of ``images`` by gradients of f = log Q(class|x): ``samples`` each.

    With ``path="smooth"`` it is |mean of ∂f/∂z| over x + noise·(max x − min x)·ε, z the
    coefficients of what the network is fed, ε standard normal; with ``"integrated"`` |z ⊙ mean of
    ∂f/∂z| over the line from 0, in standardised pixels, to x, by the Gauss-Legendre rule of
    ``samples`` points. Cells, levels and places are those of ``wcam``, whose passes are
    points·(grid² + 2); ``labels`` as there. The paper takes the class's logit; here it is its
    log-likelihood, as everywhere.

    A gradient says what a coefficient would change, and nothing of how much of it an image has: of
    a model that sees 16 px and more alone, ``"smooth"`` gives all levels about the same shares, as
    small waves are slopes of large ones. ``"integrated"`` weighs by the coefficients.

    Raises SettingsError for settings out of range, or that do not fit the images;
    ReferenceSampleError for the images; ModelError where the model fails, has no gradient or one
    that is 0, or a gradient is not finite.
    """
    check_choice("path", path, Path)
    check_whole("samples", samples, 1)
    check_positive("noise", noise)
    with opened(classifier, images, labels, execution=execution) as subject:
        _, height, width = subject.sample.shape
        wavelets.check_grid(height, width, grid, wavelet_levels)
        packing = wavelets.Packing(
            height,
            width,
            wavelet_levels,
            wavelet,
            dtype=torch.float64,
            device=subject.runner.device,
        )
        found = np.empty((len(subject.sample), height, width))
        for image in range(len(subject.sample)):
            inputs = subject.runner.inputs(subject.sample, slice(image, image + 1))
            points = _smooth if path == "smooth" else _along
            mean = torch.zeros_like(inputs[0], dtype=torch.float64)
            for weights, batch in points(subject, image, inputs, samples, noise, seed):
                classes = subject.classes[image : image + 1].expand(len(batch))
                each = gradients(subject.runner.log_likelihood, batch, classes)
                mean += torch.tensordot(weights.to(mean), each.to(torch.float64), dims=1)
            subject.check_gradients(math.isfinite(float(mean.abs().sum())), image)
            packed = packing.forward(mean)
            if path == "integrated":
                packed = packed * packing.forward(inputs[0].to(torch.float64))
            found[image] = packed.abs().sum(dim=0).cpu().numpy()
            if not found[image].any():
                # Shares of nothing would be NaN.
                raise ModelError(
                    f"the log-likelihood of class {int(subject.classes[image])} has no gradient "
                    f"but 0 for {subject.sample.names[image]}: the model does not look at its "
                    "input, or is so sure that float32 has no smaller number; explain another class"
                )
        cells = found.reshape(len(found), grid, height // grid, grid, width // grid)
        return WaveletGradients(
            map=cells.sum(axis=(2, 4)),
            coefficients=found,
            classes=subject.classes.cpu().numpy(),
            names=subject.sample.names,
            shape=(height, width),
            depth=wavelet_levels,
            wavelet=wavelet,
            path=path,
            gradients=samples * len(found),
        )


def _smooth(
    subject: Subject, image: int, inputs: Tensor, samples: int, noise: float, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Weights (n,) and points (n, C, H, W) around an image, in batches."""
    # Of the image alone: the same noise whatever the batch or the others.
    random = random_by(f"wam {seed} {subject.sample.digests[image]}")
    spread = noise * (inputs.max() - inputs.min())
    for start in range(0, samples, subject.runner.batch_size):
        count = min(subject.runner.batch_size, samples - start)
        draws = random.standard_normal((count, *inputs.shape[1:]), dtype=np.float32)
        yield (
            torch.full((count,), 1 / samples),
            inputs + spread * torch.from_numpy(draws).to(inputs),
        )


def _along(
    subject: Subject, image: int, inputs: Tensor, samples: int, *_: Any
) -> Iterator[tuple[Tensor, Tensor]]:
    nodes, weights = (torch.from_numpy(x) / 2 for x in np.polynomial.legendre.leggauss(samples))
    size = subject.runner.batch_size
    for some, part in zip(torch.split(nodes + 0.5, size), torch.split(weights, size), strict=True):
        yield part, some.to(inputs).view(-1, 1, 1, 1) * inputs

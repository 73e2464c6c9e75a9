"""SpectralLens: squared gradients at several scales of noise (SPEC.md 4).

Mehrpanah, Englesson and Azizpour, "On Spectral Properties of Gradient-based Explanation Methods"
(ECCV 2024, arXiv 2508.10595).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional

from pytest_iaside.checks import check_choice, check_positive
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import pieces
from pytest_iaside.explain import moments
from pytest_iaside.explain.entropy import entropy_cutoff
from pytest_iaside.explain.gradients import Subject, opened
from pytest_iaside.stats.arrays import Floats, as_row

Per = Literal["sample", "image", "pixel"]
# Values this close are the same but for rounding, and tie.
ROUNDING = 1e-9
SCALES = tuple(step / 10 for step in range(11))


@dataclass(frozen=True, eq=False, kw_only=True)
class Lens:
    """Gradients of f = log Q(class|x) around K images at S scales of noise.

    Gradients are per standardised pixel: with respect to what the network is fed.
    """

    scales: tuple[float, ...]
    noise: float
    mixing: moments.Mixing
    exponent: float  # γ of the optimal scale.
    tolerance: float
    sg: Floats = field(repr=False)  # E[g] summed over channels, (S, K, H, W) float64.
    sg2: Floats = field(repr=False)  # E[g⊙g] summed over channels, (S, K, H, W) float64.
    samples: NDArray[np.int64] = field(repr=False)  # How many points were drawn, (S, K).
    norms: Floats = field(repr=False)  # ‖SG2‖₁, (S, K).
    relative_errors: Floats = field(repr=False)
    """The standard error of ``norms`` as a share of them, (S, K)."""
    classes: NDArray[np.int64]  # The classes (K,) whose log-likelihood is explained.
    names: tuple[str, ...]
    forward_passes: int
    """Of the clean images and at every point; ``gradients`` of them went backwards too."""

    @property
    def gradients(self) -> int:
        """How many gradients were taken."""
        return int(self.samples.sum())

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Where the tolerance was reached, (S, K); elsewhere sampling ended at ``max_samples``."""
        return np.asarray(self.relative_errors <= self.tolerance)

    @cached_property
    def sl2(self) -> Floats:
        """SpectralLens: the mean of SG2 over the scales, (K, H, W)."""
        return self.over_scales()

    @cached_property
    def sl(self) -> Floats:
        """The same of SG, which is not squared, (K, H, W)."""
        return self.over_scales(squared=False)

    def over_scales(self, weights: ArrayLike | None = None, *, squared: bool = True) -> Floats:
        """The mean of SG2, or of SG, under the distribution p(α) = ``weights`` (S,), (K, H, W).

        Without weights p is uniform; they need not sum to 1. Raises SettingsError unless there is
        one for each scale, none negative, not all 0.
        """
        values = self.sg2 if squared else self.sg
        given = np.ones(len(self.scales)) if weights is None else as_row(weights)
        if (
            given.shape != (len(self.scales),)
            or not (given >= 0).all()
            or not 0 < given.sum() < np.inf
        ):
            raise SettingsError(
                f"weights={weights!r}; expected {len(self.scales)} finite numbers, one for each "
                "scale, none negative and not all 0"
            )
        return np.asarray(np.tensordot(given / given.sum(), values, axes=1))

    @cached_property
    def arglens(self) -> Floats:
        """ArgLens: the scale in [0, 1] of each pixel's largest SG2, least of ties, (K, H, W)."""
        return argmax_scale(self.scales, self.sg2)

    @cached_property
    def optimal_scale(self) -> Floats:
        """argmax over scales s of s^γ · ‖SG2(s)‖₁ for each image, (K,); see ``optimum_at_end``.

        For the whole sample or for each pixel see the function ``optimal_scale``.
        """
        return argmax_scale(self.scales, weighted(self.scales, self.norms, self.exponent))

    @property
    def optimum_at_end(self) -> NDArray[np.bool_]:
        """Whether the optimal scale is the first or the last, (K,): the true one may lie beyond."""
        return np.isin(self.optimal_scale, (self.scales[0], self.scales[-1]))

    @property
    def sg2_at_optimum(self) -> Floats:
        """SG2 of each image at its optimal scale, (K, H, W)."""
        at = np.searchsorted(self.scales, self.optimal_scale)
        return np.asarray(self.sg2[at, np.arange(len(at))])

    @cached_property
    def inconsistency(self) -> Floats:
        """1 − mean over scales t of cos(SG2 at the first scale, SG2 at t), (K,)."""
        return inconsistency(self.sg2)


def spectral_lens(
    classifier: Any,
    images: Any,
    labels: Any = None,
    *,
    scales: Sequence[float] = SCALES,
    noise: float | Literal["auto"] = 0.3,
    mixing: moments.Mixing = "convex",
    exponent: float = 2.5,
    tolerance: float = 0.1,
    max_samples: int = 64,
    seed: int = 0,
    execution: Execution = Execution(),
) -> Lens:
    """Moments of the gradient of log Q(class|x̃) at points x̃ around ``images`` (SPEC.md 4).

    ``classifier`` is whatever ``Classifier`` accepts, if it has gradients; ``images`` a
    ReferenceSample or (K, channels, height, width) uint8 or in [0, 1]; ``labels`` (K,) classes,
    one for all, or None for the predictions on the clean images. x is what the network is fed:
    standardised pixels. With ``mixing="convex"`` x̃ = (1−s)·x + s·noise·ε at scale s, with
    ``"additive"`` x̃ = x + s·noise·(max x − min x)·ε, ε ~ N(0, I), nothing clipped. SmoothGrad's
    usual noise of a tenth is ``scales=[1], noise=0.1, mixing="additive"``. ``noise="auto"`` is the
    one at which the model's answers get no vaguer on these images (``entropy_cutoff``); 0.3 is that
    of a ResNet-50.

    Sampling ends, at each scale of each image, when the relative standard error of ‖SG2‖₁ is at
    most ``tolerance``, or at ``max_samples``. Noise depends on the image, its scale and ``seed``:
    what is found for an image does not depend on the others or on ``batch_size``, but for
    rounding. The result takes 16 bytes for each pixel and scale; memory beside it is a batch's.

    Raises SettingsError for scales that are not in [0, 1] or not ascending, for other settings out
    of range and for classes the model does not have; ReferenceSampleError for the images;
    ModelError where the model fails, has no gradient, or a gradient is not finite.
    """
    if noise == "auto":
        noise = entropy_cutoff(
            classifier, images, mixing=mixing, seed=seed, execution=execution
        ).cutoff
    sampling = moments.Sampling(
        scales=moments.check_scales(scales),
        noise=noise,
        mixing=mixing,
        tolerance=tolerance,
        max_samples=max_samples,
        seed=seed,
    )
    check_positive("exponent", exponent)
    with opened(classifier, images, labels, execution=execution) as subject:
        count = len(subject.sample)
        shape = (len(sampling.scales), count)
        sg, sg2 = (np.empty((*shape, *subject.sample.shape[1:])) for _ in range(2))
        samples = np.empty(shape, dtype=np.int64)
        norms, errors = np.empty(shape), np.empty(shape)
        for image, row in enumerate(_rows(subject, sampling)):
            for scale, found in enumerate(row):
                at = scale, image
                sg[at], sg2[at] = found.first.sum(dim=0).cpu(), found.second.sum(dim=0).cpu()
                samples[at], norms[at], errors[at] = found.samples, found.norm, found.relative_error
        return Lens(
            scales=sampling.scales,
            noise=noise,
            mixing=mixing,
            exponent=exponent,
            tolerance=tolerance,
            sg=sg,
            sg2=sg2,
            samples=samples,
            norms=norms,
            relative_errors=errors,
            classes=subject.classes.cpu().numpy(),
            names=subject.sample.names,
            forward_passes=count + int(samples.sum()),
        )


def _rows(subject: Subject, sampling: moments.Sampling) -> Iterator[list[moments.Moments]]:
    """The moments of each image in turn; as many images at once as it takes to fill a batch."""
    runner, sample = subject.runner, subject.sample
    together = math.ceil(runner.batch_size / (len(sampling.scales) * moments.ROUND))
    for some in pieces(len(sample), together):
        found = moments.sample_moments(
            runner.log_likelihood,
            runner.inputs(sample, some),
            subject.classes[some],
            sample.digests[some],
            sampling,
            batch_size=runner.batch_size,
        )
        for image, row in enumerate(found, some.start):
            subject.check_gradients(all(math.isfinite(each.norm) for each in row), image)
            yield row


def argmax_scale(scales: ArrayLike, values: ArrayLike) -> Floats:
    """The scale at which ``values`` (S, …) are largest, (…); of ties the smallest."""
    found = np.asarray(values, dtype=np.float64)
    largest = found.max(axis=0)
    first = (found >= largest - ROUNDING * np.abs(largest)).argmax(axis=0)
    return np.asarray(np.asarray(scales, dtype=np.float64)[first])


def optimal_scale(
    scales: ArrayLike, sg2: ArrayLike, *, exponent: float = 2.5, per: Per = "image"
) -> Floats:
    """argmax over scales s of s^γ · ‖SG2(s)‖₁, γ = ``exponent``, for ``sg2`` (S, K, H, W).

    ``per="sample"`` () sums over all images, ``"image"`` (K,) over each, ``"pixel"`` (K, H, W)
    takes every pixel by itself. Ties go to the smallest scale.
    """
    check_choice("per", per, Per)
    maps = np.asarray(sg2, dtype=np.float64)
    axes = {"sample": (1, 2, 3), "image": (2, 3), "pixel": ()}[per]
    return argmax_scale(scales, weighted(scales, maps.sum(axis=axes), exponent))


def weighted(scales: ArrayLike, norms: ArrayLike, exponent: float) -> Floats:
    """s^γ · norms(s), for ``norms`` (S, …)."""
    values = np.asarray(norms, dtype=np.float64)
    weights: Any = np.asarray(scales, dtype=np.float64) ** exponent
    return np.asarray(weights.reshape(-1, *[1] * (values.ndim - 1)) * values)


def inconsistency(maps: ArrayLike, *, downsampling: int = 5) -> Floats:
    """1 − mean over t ≥ 1 of cos(E₀, E_t), (K,), of the maps (S, K, H, W) of S scales.

    Maps are averaged over blocks of ``downsampling`` pixels, at the border over what is left of
    one. 0 where no scale changes the map but in strength, 1 where all have nothing in common with
    the first. NaN where a map is 0 everywhere, and where there is one scale only.
    """
    stack = torch.from_numpy(np.array(maps, dtype=np.float64))
    scales, count, *sides = stack.shape
    block = [min(downsampling, side) for side in sides]
    coarse = functional.avg_pool2d(stack, block, ceil_mode=True).flatten(2).numpy()
    if scales == 1:
        return np.full(count, np.nan)
    # Squares of what is tiny vanish: the largest of a map is 1 first.
    largest = np.abs(coarse).max(axis=2, keepdims=True)
    coarse = np.divide(coarse, largest, out=coarse, where=largest > 0)
    lengths = np.linalg.norm(coarse, axis=2, keepdims=True)
    unit = np.divide(coarse, lengths, out=np.full_like(coarse, np.nan), where=lengths > 0)
    cosines = (unit[:1] * unit[1:]).sum(axis=2)
    # Rounding must not make what never changed less than consistent.
    return np.asarray(np.maximum(1 - cosines.mean(axis=0), 0.0))

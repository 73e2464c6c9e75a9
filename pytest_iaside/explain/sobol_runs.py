"""A classifier's answers to images whose parts are masked, at the points of a Sobol sequence.

What is masked (wavelet coefficients, bands of the spectrum) is linear in its mask. C^k differs
from A in one part, so its image is A's and a multiple of that part's own picture: one fused
multiplication and addition for each image, whatever the transform.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.checks import check_choice, check_whole
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.jobs import CutByImages
from pytest_iaside.execute.runner import BackendRunner, not_finite, open_runner, pieces
from pytest_iaside.execute.running import run_jobs
from pytest_iaside.explain import sobol
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import classes_of
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats

# Answers that differ relatively by no more are equal: other batches move float32 by a tenth of it.
ROUNDING = 1e-6
HEXADECIMAL = re.compile("[0-9a-fA-F]+")
Output = Literal["probability", "logit"]
Space = Literal["pixel", "input"]
Rescale = Literal["authors"]


class ImageParts(Protocol):
    """One image in parts: under a mask it is Σ_k mask_k · (the picture of part k alone)."""

    def masked(self, masks: Tensor) -> Tensor:
        """The image under ``masks`` (n, parts), (n, C, H, W)."""

    def alone(self, parts: Tensor) -> Tensor:
        """The pictures of ``parts`` (n,), int64 on the CPU, alone, (n, C, H, W)."""


@dataclass(frozen=True, kw_only=True)
class MaskRules:
    """What is explained, and at how many points it is asked.

    ``mask_space="pixel"``: masks act on the pixels, which are normalised afterwards; an absent mean
    is black. ``"input"``: they act on what the network is fed; an absent mean is the data set's
    mean colour. ``rescale="authors"`` stretches each masked image to 0…1 and rounds it down to one
    of 256 steps before it is normalised, as the authors' code does, which masks the input.
    """

    points: int
    seed: int = 0
    output: Output = "probability"
    variance: sobol.Variance = "both"
    mask_space: Space = "pixel"
    rescale: Rescale | None = None
    sequence: sobol.Sequence = "sobol"

    def __post_init__(self) -> None:
        check_choice("sequence", self.sequence, sobol.Sequence)
        sobol.check_points(self.points, self.sequence)
        check_whole("seed", self.seed, 0)
        check_choice("variance", self.variance, sobol.Variance)
        check_choice("output", self.output, Output)
        check_choice("mask_space", self.mask_space, Space)
        if self.rescale not in (None, "authors"):
            raise SettingsError(f"rescale={self.rescale!r} is unknown; use one of None, authors")


class MaskKeywords(TypedDict, total=False):
    """The keywords of ``MaskRules`` that WCAM and FAM take alike."""

    output: Output
    seed: int
    variance: sobol.Variance
    mask_space: Space
    rescale: Rescale | None
    sequence: sobol.Sequence


class Masking:
    """The way from pixels in [0, 1] through masks to what the network is fed."""

    def __init__(self, classifier: Classifier, rules: MaskRules) -> None:
        self.classifier, self.rules = classifier, rules

    def to_masked(self, pixels: Tensor) -> Tensor:
        """What is masked of ``pixels`` (n, C, H, W)."""
        # Pixels by default: coefficients are then those of the picture one sees, whatever mean
        # and std a model brings, and a mask dims it. Only the approximation tells the two apart.
        return pixels if self.rules.mask_space == "pixel" else self.classifier.normalise(pixels)

    def to_network(self, masked: Tensor) -> Tensor:
        """What the network is fed for masked images (n, C, H, W)."""
        if self.rules.rescale == "authors":
            return self.classifier.normalise(rescaled(masked))
        return masked if self.rules.mask_space == "input" else self.classifier.normalise(masked)

    def to_pixels(self, masked: Tensor) -> Tensor:
        """The pixels that masked images (n, C, H, W) are; they may leave [0, 1]."""
        if self.rules.rescale == "authors":
            return rescaled(masked)
        mean, std = self.classifier.mean, self.classifier.std
        if self.rules.mask_space == "pixel" or mean is None or std is None:
            return masked
        return masked * std.to(masked).view(-1, 1, 1) + mean.to(masked).view(-1, 1, 1)


def rescaled(images: Tensor) -> Tensor:
    """``images`` (n, C, H, W) stretched to 0…1, channels alike, and rounded down to 256 steps."""
    low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    return torch.floor((images - low) / span * 255) / 255


@dataclass(frozen=True, eq=False, kw_only=True)
class SobolRun:
    """What is asked: of which classifier, on which images, and what of them is masked."""

    classifier: Classifier
    sample: ReferenceSample
    labels: Any  # Classes to explain, as ``classes_of`` takes them.
    take_apart: Callable[[Tensor], ImageParts]  # Of an image (C, H, W).
    parts: int
    rules: MaskRules
    keys: Sequence[str] | None = None
    """What masks are drawn by, hexadecimal, one an image; by default the images' digests."""

    def __post_init__(self) -> None:
        if self.keys is None:
            return
        number = all(isinstance(key, str) and HEXADECIMAL.fullmatch(key) for key in self.keys)
        if len(self.keys) != len(self.sample) or not number:
            raise SettingsError(
                f"keys={self.keys!r} must be {len(self.sample)} hexadecimal numbers, one for each "
                "image, such as the digests of a ReferenceSample"
            )

    @cached_property
    def masking(self) -> Masking:
        return Masking(self.classifier, self.rules)

    @property
    def passes(self) -> int:
        """Forward passes: points·(parts + 2) for each image."""
        return len(self.sample) * self.rules.points * (self.parts + 2)

    def drawn(self, image: int) -> sobol.Points:
        """The points of ``image``, drawn by its digest: what is found of it depends on no other."""
        keys = self.sample.digests if self.keys is None else self.keys
        seed = [self.rules.seed, int(keys[image], 16)]
        return sobol.points_by(self.rules.sequence, self.parts, self.rules.points, seed)

    def take(self, some: slice) -> SobolRun:
        """The same of some images."""
        keys = self.sample.digests if self.keys is None else self.keys
        labels = None if self.labels is None else torch.as_tensor(self.labels)[some]
        sample = self.sample.take(range(some.start, some.stop))
        return replace(self, sample=sample, labels=labels, keys=keys[some])

    def pictures(self, image: int, device: torch.device) -> ImageParts:
        pixels = self.sample.pixels(image, image + 1).to(device)
        return self.take_apart(self.masking.to_masked(pixels)[0])


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluated:
    """Of K images: the ``classes`` (K,) that were explained, and f at each one's points."""

    classes: NDArray[np.int64]
    evaluations: list[sobol.Evaluations]
    rules: MaskRules

    @property
    def indices(self) -> Floats:
        """Total Sobol indices of the parts, (K, parts)."""
        return np.stack([sobol.total_indices(x, self.rules.variance) for x in self.evaluations])

    @property
    def first_order(self) -> Floats:
        """First-order Sobol indices of the parts, (K, parts)."""
        variance = self.rules.variance
        return np.stack([sobol.first_order_indices(x, variance) for x in self.evaluations])

    def share_errors(self, groups: NDArray[np.int64]) -> Floats:
        """Standard errors of the shares of ``groups`` of parts, (K, number of groups)."""
        count = int(groups.max()) + 1
        return np.stack([sobol.group_shares(each, groups, count)[1] for each in self.evaluations])


def evaluate(run: SobolRun, execution: Execution) -> Evaluated:
    """Ask, on the backend that ``execution`` names.

    Raises SettingsError for labels that do not fit; ModelError naming the image where logits are
    not finite, or where no mask changes the answer (SPEC.md 3.1, 6).
    """
    # To workers the classifier goes by itself, once.
    bare = replace(run, classifier=cast(Classifier, None))
    found = list(run_jobs(run.classifier, execution, [_Explained(bare, run.passes)], steady=True))
    return Evaluated(
        classes=np.concatenate([each.classes for each in found]),
        evaluations=[one for each in found for one in each.evaluations],
        rules=run.rules,
    )


@dataclass(frozen=True, eq=False)
class _Explained(CutByImages):
    """What is asked of some images, of whichever classifier runs it: a job (execute/jobs.py)."""

    run: SobolRun
    passes: int

    @property
    def sample(self) -> ReferenceSample:  # type: ignore[override]  # It is read only.
        return self.run.sample

    def first_inputs(self, classifier: Classifier) -> Tensor:
        return first_inputs(replace(self.run, classifier=classifier))

    def rows(self, runner: BackendRunner) -> Iterator[Evaluated]:
        yield evaluate_on(runner, replace(self.run, classifier=runner.classifier))

    @property
    def own_passes(self) -> int:
        return self.run.passes

    def images_at_once(self, batch_size: int, passes: int) -> int:
        return passes * len(self.sample) // self.run.passes

    def take(self, some: slice) -> _Explained:
        return _Explained(self.run.take(some), self.passes)


def ready(run: SobolRun, execution: Execution) -> AbstractContextManager[BackendRunner]:
    """The runner for ``run``."""
    return open_runner(run.classifier, execution, inputs=first_inputs(run), passes=run.passes)


def first_inputs(run: SobolRun) -> Tensor:
    """Some of what the network will see."""
    some = run.pictures(0, torch.device("cpu")).masked(_float32(run.drawn(0).a[:4]))
    return run.masking.to_network(some)


def evaluate_on(runner: BackendRunner, run: SobolRun) -> Evaluated:
    """``evaluate``, on a runner that is open."""
    if run.classifier.task.scored:
        raise ModelError(
            f"{run.classifier.name} is measured by a score of your own, so there is no class to "
            "explain; give a classifier of logits"
        )
    classes = classes_of(run.labels, runner.clean_logits(run.sample))
    evaluations = []
    for logits, (image, found, into, last) in runner.run(_batches(run, runner)):
        target = int(classes[image])
        into.copy_(_answers(logits, target, run.rules).view(into.shape))
        if last:
            name = run.sample.names[image]
            evaluations.append(_evaluations(found.cpu().numpy(), name, target, run.rules))
    return Evaluated(classes=classes.numpy(), evaluations=evaluations, rules=run.rules)


def _batches(
    run: SobolRun, runner: BackendRunner
) -> Iterator[tuple[Tensor, tuple[int, Tensor, Tensor, bool]]]:
    """Batches of at most ``batch_size`` images; each is made when the runner asks for it.

    With each: its image, all that is found of it, the part that the answers go into, and whether
    it is the last.
    """
    size, device, layout = runner.batch_size, runner.device, runner.memory_format
    to_network = run.masking.to_network
    for image in range(len(run.sample)):
        pictures, drawn = run.pictures(image, device), run.drawn(image)
        a, b, steps = (_float32(x).to(device) for x in (drawn.a, drawn.b, drawn.b - drawn.a))
        points, parts = a.shape
        found = torch.empty(parts + 2, points, dtype=torch.float64, device=device)
        for block in pieces(points, size):
            base = pictures.masked(a[block]).contiguous(memory_format=layout)
            fed = to_network(base)
            # A copy: networks may write to their input, and what follows is built on it.
            yield fed.clone(), (image, found, found[0, block], False)
            yield to_network(pictures.masked(b[block])), (image, found, found[1, block], False)
            for some in pieces(parts, max(1, size // len(base))):
                change = pictures.alone(torch.arange(some.start, some.stop))
                if run.rules.rescale is None:
                    # to_network is affine: the sum may as well be taken after it.
                    change = to_network(change) - to_network(torch.zeros_like(change[:1]))
                    mixed = _moved(fed, steps[block, some], change, layout)
                else:
                    mixed = to_network(_moved(base, steps[block, some], change, layout))
                last = block.stop == points and some.stop == parts
                yield mixed, (image, found, found[2:][some, block], last)


def _moved(base: Tensor, steps: Tensor, change: Tensor, layout: torch.memory_format) -> Tensor:
    """base_j (j, C, H, W) + steps_jk (j, k) · change_k (k, C, H, W), (k·j, C, H, W)."""
    channels_last = layout is torch.channels_last
    if channels_last:
        base, change = (x.permute(0, 2, 3, 1).contiguous() for x in (base, change))
    mixed = torch.addcmul(base, steps.T[:, :, None, None, None], change[:, None]).flatten(0, 1)
    return mixed.permute(0, 3, 1, 2) if channels_last else mixed


def _answers(logits: Tensor, target: int, rules: MaskRules) -> Tensor:
    """The explained scalar of each row, (n,) float64; NaN where a row is not finite."""
    values = logits.to(torch.float64)
    if rules.output == "probability":
        values = torch.softmax(values, dim=1)
    return torch.where(logits.isfinite().all(dim=1), values[:, target], torch.nan)


def _evaluations(values: Floats, name: str, target: int, rules: MaskRules) -> sobol.Evaluations:
    if np.isnan(values).any():
        raise not_finite(name, "under a mask")
    evaluations = sobol.Evaluations(a=values[0], b=values[1], c=values[2:])
    nothing = float(np.ptp(values[:2])) <= ROUNDING * float(np.abs(values[:2]).max())
    if nothing or sobol.output_variance(evaluations, rules.variance) == 0:
        raise ModelError(
            f"the {rules.output} of class {target} is {values[0, 0]:.6g} for {name} "
            "under every mask: there is no variance to attribute; check that the model looks at "
            "its input, or explain another class or output='logit'"
        )
    return evaluations


def _float32(values: Floats) -> Tensor:
    return torch.from_numpy(values).to(torch.float32)

"""WCAM: which wavelet coefficients a classifier's answer comes from (SPEC.md 3.1, 3.2).

Also of images that are zoomed, and how few of the coefficients suffice for the prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import Unpack

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.jobs import CutByImages
from pytest_iaside.execute.runner import BackendRunner, Runner, check_finite
from pytest_iaside.execute.running import run_jobs
from pytest_iaside.explain import sobol_runs, wavelets
from pytest_iaside.explain.wavelet_map import WaveletMap
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import sample_of
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.models.tuning import return_freed_memory
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import Groups
from pytest_iaside.stats.intervals import jackknife_error


@dataclass(frozen=True, eq=False, kw_only=True)
class WaveletAttribution(WaveletMap):
    """Total Sobol indices of cells of wavelet coefficients, image by image.

    Those of single cells, in ``map``, are about 40 % uncertain at 8 points: for looking. What is
    compared is ``levels``.
    """

    first_order: Floats = field(repr=False)
    """First-order indices, (K, g, g): the variance that each cell alone explains."""
    level_errors: Floats = field(repr=False)  # Standard errors of ``levels``, (K, depth + 1).
    forward_passes: int  # points·(g² + 2) for each image.
    rules: sobol_runs.MaskRules


def wcam(
    classifier: Any,
    images: Any,
    labels: Any = None,
    *,
    grid: int = 16,
    wavelet_levels: int = 3,
    points: int = 8,
    wavelet: str = "haar",
    keys: Sequence[str] | None = None,
    execution: Execution = Execution(),
    **rules: Unpack[sobol_runs.MaskKeywords],
) -> WaveletAttribution:
    """The wavelet scale attribution of ``images`` (SPEC.md 3.1): points·(grid² + 2) passes each.

    ``images`` is a ReferenceSample, (K, C, H, W) or (C, H, W), uint8 or float in [0, 1];
    ``labels`` as for ``classes_of``: None explains the class predicted for each clean image. A
    mask weights the coefficients of ``wavelet_levels`` levels of ``wavelet``, cell by cell of a
    ``grid`` × ``grid``, alike in all channels; the image is transformed back, normalised, and
    given to the network. The keywords ``rules`` are ``output``, what is explained of the class:
    its "probability" or "logit"; ``seed``, by which masks are drawn, and ``sequence``: "sobol",
    "halton", "latin-hypercube" or "monte-carlo"; and ``variance``, ``mask_space`` and ``rescale``
    as in ``output_variance`` and ``MaskRules``. Masks are drawn by ``keys`` besides, the images'
    digests unless two versions of an image are to get the same.

    Raises SettingsError where grid, levels and images do not fit each other, for an unknown
    wavelet, and for labels out of range; ModelError where logits are not finite, or no mask
    changes the output.
    """
    sample = sample_of(images)
    _, height, width = sample.shape
    wavelets.check_grid(height, width, grid, wavelet_levels)
    run = sobol_runs.SobolRun(
        classifier=as_classifier(classifier),
        sample=sample,
        labels=labels,
        take_apart=lambda image: wavelets.CellParts(image, grid, wavelet_levels, wavelet),
        parts=grid**2,
        rules=sobol_runs.MaskRules(points=points, **rules),
        keys=keys,
    )
    found = sobol_runs.evaluate(run, execution)
    return WaveletAttribution(
        map=found.indices.reshape(-1, grid, grid),
        first_order=found.first_order.reshape(-1, grid, grid),
        level_errors=found.share_errors(wavelets.cell_levels(grid, wavelet_levels).ravel()),
        classes=found.classes,
        names=sample.names,
        forward_passes=run.passes,
        shape=(height, width),
        depth=wavelet_levels,
        wavelet=wavelet,
        rules=run.rules,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ZoomConsistency:
    """Level shares of images and of the same images twice as large (SPEC.md 3.2).

    Levels 0 to L of the two show the same structures. Level L + 1 of the zoomed one holds what the
    regular image was too small to show.
    """

    regular: WaveletAttribution = field(repr=False)
    zoomed: WaveletAttribution = field(repr=False)
    groups: Groups = field(default=None, repr=False)  # Of the images, as the regular sample says.

    @cached_property
    def changes(self) -> Floats:
        """Zoomed minus regular share of each level, image by image, (K, L + 2)."""
        return self.zoomed.levels - np.pad(self.regular.levels, ((0, 0), (0, 1)))

    @cached_property
    def change(self) -> Floats:
        """The mean of ``changes`` over images, (L + 2,)."""
        return np.asarray(self.changes.mean(axis=0))

    @cached_property
    def change_error(self) -> Floats:
        """Standard error of ``change`` over images, paired, (L + 2,); NaN for one image."""
        return jackknife_error(self.changes, np.asarray, self.groups)

    @property
    def consistency(self) -> float:
        """1 − ½·Σ|change|, of the mean shares: 1 where they agree, 0 where they share nothing."""
        return float(1 - np.abs(self.change).sum() / 2)


def zoom_consistency(
    classifier: Any,
    regular: Any,
    zoomed: Any,
    labels: Any = None,
    *,
    wavelet_levels: int = 3,
    **settings: Any,
) -> ZoomConsistency:
    """WCAMs of ``regular`` with ``wavelet_levels`` levels and of ``zoomed`` with one more.

    Images as for ``wcam``, in the same order and of the same size: the paper's are
    ``ReferenceSample.from_folder(path, resize=256, crop=224)`` and ``(resize=512, crop=224)``.
    ``labels=None`` explains in both the class predicted for the regular image. ``settings`` are
    ``wcam``'s; ``grid`` must be a multiple of 2^(levels + 1).

    Raises as ``wcam``, and SettingsError where the samples differ in number.
    """
    regular, zoomed = sample_of(regular), sample_of(zoomed)
    if len(regular) != len(zoomed):
        raise SettingsError(
            f"{len(regular)} regular and {len(zoomed)} zoomed images were given; give every "
            "image both ways, in the same order"
        )
    first = wcam(classifier, regular, labels, wavelet_levels=wavelet_levels, **settings)
    second = wcam(classifier, zoomed, first.classes, wavelet_levels=wavelet_levels + 1, **settings)
    return ZoomConsistency(regular=first, zoomed=second, groups=regular.group_numbers)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reconstruction:
    """The least that is predicted as the class that the map explains, for each of K images."""

    depth: NDArray[np.int64]  # How many cells, the most important first, (K,): 1 to g².
    reached: NDArray[np.bool_]
    """Whether so many are predicted as that class, (K,); if not even all cells are, depth is g²."""
    images: Tensor = field(repr=False)
    """The sufficient images: those cells alone, (K, C, H, W) float32; may leave [0, 1]."""


def reconstruction_depth(
    classifier: Any, images: Any, attribution: WaveletAttribution, **execution: Any
) -> NDArray[np.int64]:
    """The depth of ``reconstruct``, (K,) int64; takes and raises what that does."""
    return reconstruct(classifier, images, attribution, **execution).depth


def reconstruct(
    classifier: Any,
    images: Any,
    attribution: WaveletAttribution,
    *,
    execution: Execution = Execution(),
) -> Reconstruction:
    """Put cells back in descending order of their index, until the class explained is predicted.

    ``images`` are those that ``attribution`` is of; they are masked and fed as they were for it.
    Map and search are of the same class (SPEC.md 3.2); an image that is not predicted as that class
    takes all cells, and ``reached`` says so.

    Raises SettingsError where images and attribution do not fit each other; ModelError where
    logits are not finite.
    """
    sample, chosen = sample_of(images), as_classifier(classifier)
    given = (len(sample), *sample.shape[1:])
    explained = (len(attribution.map), *attribution.shape)
    if given != explained:
        raise SettingsError(
            "{} images of {}×{} pixels were given, but the attribution is of {} of {}×{}; give the "
            "images that it was made of".format(*given, *explained)
        )
    cells = attribution.grid, attribution.depth, attribution.wavelet
    orders = np.argsort(-attribution.map.reshape(len(sample), -1), axis=1, kind="stable")
    # At most so many passes: how many cells suffice is not known before.
    job = _Reconstructed(sample, orders, attribution.classes, attribution.rules, cells, orders.size)
    depth, reached, images = zip(*run_jobs(chosen, execution, [job], steady=True), strict=True)
    return Reconstruction(
        depth=np.array(depth), reached=np.array(reached), images=torch.stack(images)
    )


@dataclass(frozen=True, eq=False)
class _Reconstructed(CutByImages):
    """Images that are put together from their cells in ``orders`` (K, cells): a job.

    A row is how many cells an image takes, whether they suffice, and what it is then.
    """

    sample: ReferenceSample
    orders: NDArray[np.int64]
    classes: NDArray[np.int64]
    rules: sobol_runs.MaskRules
    cells: tuple[int, int, str]
    passes: int

    def first_inputs(self, classifier: Classifier) -> Tensor:
        return classifier.normalise(self.sample.pixels(0, 4))

    def rows(self, runner: BackendRunner) -> Iterator[tuple[int, bool, Tensor]]:
        masking = sobol_runs.Masking(runner.classifier, self.rules)
        for i, order in enumerate(map(torch.from_numpy, self.orders)):
            pixels = runner.pixels(self.sample, slice(i, i + 1))
            pictures = wavelets.CellParts(masking.to_masked(pixels)[0], *self.cells)
            growing = map(masking.to_network, _growing(pictures, order, runner.batch_size))
            wanted, name = int(self.classes[i]), self.sample.names[i]
            depth, reached = _first_hit(runner, growing, wanted, name)
            mask = torch.zeros(1, len(order), device=runner.device)
            mask[0, order[:depth]] = 1
            yield depth, reached, masking.to_pixels(pictures.masked(mask))[0].cpu()

    @property
    def own_passes(self) -> int:
        return int(self.orders.size)

    def images_at_once(self, batch_size: int, passes: int) -> int:
        return passes // int(self.orders.shape[1])

    def take(self, some: slice) -> _Reconstructed:
        sample = self.sample.take(range(some.start, some.stop))
        return replace(self, sample=sample, orders=self.orders[some], classes=self.classes[some])


def _first_hit(
    runner: Runner, growing: Iterator[Tensor], wanted: int, name: str
) -> tuple[int, bool]:
    """The number of the first input that is predicted as ``wanted``, or of the last, and which."""
    done, reached = 0, False
    # Every number of cells in turn: more of them may well lose a prediction again.
    for logits in runner.forward_many(growing):
        check_finite(logits, [name] * len(logits), "reconstructed from some of its cells")
        hits = (logits.argmax(dim=1) == wanted).nonzero()
        if reached := bool(len(hits)):
            done += int(hits[0]) + 1
            break
        done += len(logits)
    return_freed_memory()
    return done, reached


def _growing(pictures: sobol_runs.ImageParts, order: Tensor, size: int) -> Iterator[Tensor]:
    """The image of the first 1, 2, 3, … parts of ``order``, in batches of ``size``."""
    before: Tensor | float = 0.0
    for parts in torch.split(order, size):
        images = pictures.alone(parts).cumsum(dim=0) + before
        # A copy: networks may write to their input.
        before = images[-1].clone()
        yield images

"""WCAM: which wavelet coefficients a classifier's answer comes from (SPEC.md 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.cells import Cells, check_grid, level_sums, spatial_map
from pytest_iaside.explain.masks import MaskRules, Output, Rescale, Space
from pytest_iaside.explain.sobol import Variance, group_shares, shares, total_indices
from pytest_iaside.explain.sobol_runs import SobolRun, evaluate
from pytest_iaside.images.targets import sample_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.stats.arrays import Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class WaveletAttribution:
    """Total Sobol indices of cells of wavelet coefficients, image by image.

    ``map`` (K, g, g) float64 lies as the packed coefficients do, the approximation top left; the
    indices are of single cells, about 40 % uncertain at 8 points: for looking. What is compared
    is ``wavelet_levels``.
    """

    map: Floats = field(repr=False)
    level_errors: Floats = field(repr=False)
    """Standard errors of ``wavelet_levels``, (K, depth + 1)."""
    classes: NDArray[np.int64]
    """The class of each image whose output is explained, (K,)."""
    names: tuple[str, ...]
    forward_passes: int
    """points·(g² + 2) for each image."""
    shape: tuple[int, int]
    """Height and width of the images."""
    depth: int
    """How often the images were halved: ``wavelet_levels`` has one entry more."""
    wavelet: str
    rules: MaskRules

    @property
    def grid(self) -> int:
        return int(self.map.shape[-1])

    @cached_property
    def levels(self) -> Floats:
        """Share of each level, (K, depth + 1): 0 the approximation, then details, coarsest first.

        The sum of the indices over the cells of a level, normalised to 1 (SPEC.md 3.2).
        """
        return shares(level_sums(self.map, self.depth))

    @cached_property
    def spatial(self) -> Floats:
        """Where in the image, (K, H, W): the sub-bands of ``map`` resized to it and added."""
        return spatial_map(self.map, self.depth, *self.shape)


def wcam(
    classifier: Any,
    images: Any,
    labels: Any = None,
    *,
    grid: int = 16,
    wavelet_levels: int = 3,
    points: int = 8,
    wavelet: str = "haar",
    output: Output = "probability",
    seed: int = 0,
    variance: Variance = "both",
    mask_space: Space = "pixel",
    rescale: Rescale | None = None,
    execution: Execution = Execution(),
) -> WaveletAttribution:
    """The wavelet scale attribution of ``images`` (SPEC.md 3.1): points·(grid² + 2) passes each.

    ``images`` is a ReferenceSample, (K, C, H, W) or (C, H, W), uint8 or float in [0, 1];
    ``labels`` as for ``classes_of``: None explains the class predicted for each clean image. A
    mask weights the coefficients of ``wavelet_levels`` levels of ``wavelet``, cell by cell of a
    ``grid`` × ``grid``, alike in all channels; the image is transformed back, normalised, and
    given to the network, whose ``output`` for the class is explained. ``seed`` draws the masks; ``variance``,
    ``mask_space`` and ``rescale`` are told in ``MaskRules`` and ``output_variance``.

    Raises SettingsError where grid, levels and images do not fit each other, for an unknown
    wavelet, and for labels out of range; ModelError where logits are not finite, or no mask
    changes the output.
    """
    sample = sample_of(images)
    _, height, width = sample.shape
    check_grid(height, width, grid, wavelet_levels)
    rules = MaskRules(
        points=points,
        seed=seed,
        output=output,
        variance=variance,
        mask_space=mask_space,
        rescale=rescale,
    )
    cells = Cells(height, width, grid, wavelet_levels, wavelet)
    run = SobolRun(
        classifier=as_classifier(classifier),
        sample=sample,
        labels=labels,
        take_apart=cells.of,
        parts=grid**2,
        rules=rules,
    )
    answers = evaluate(run, execution)
    groups, found = cells.levels.ravel(), answers.evaluations
    return WaveletAttribution(
        map=np.stack([total_indices(each, variance).reshape(grid, grid) for each in found]),
        level_errors=np.stack(
            [group_shares(each, groups, wavelet_levels + 1)[1] for each in found]
        ),
        classes=answers.classes,
        names=sample.names,
        forward_passes=run.passes,
        shape=(height, width),
        depth=wavelet_levels,
        wavelet=wavelet,
        rules=rules,
    )

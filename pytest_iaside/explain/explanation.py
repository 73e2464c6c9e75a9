"""All diagnoses of the same images side by side: scales, places and smoothness."""

from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pytest_iaside.checks import check_whole
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import open_runner
from pytest_iaside.explain.lens import SCALES, Lens, spectral_lens
from pytest_iaside.explain.moments import LEAST
from pytest_iaside.explain.wavelets import cell_levels, spatial_map
from pytest_iaside.explain.wcam import WaveletAttribution, wcam
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import sample_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.stats.arrays import Floats

POINTS = 8
# For looking, not for measuring: a fifth of error in the strength of gradients is not seen.
FOR_LOOKING: Any = {"tolerance": 0.2, "max_samples": LEAST}
# The highest tenth of a map lies this many times above its mean where it tells a place.
UNEVEN = 1.5


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanation:
    """What one model's answers to K images come from."""

    model: str
    names: tuple[str, ...]
    classes: NDArray[np.int64]
    probabilities: Floats  # Of the classes, on the clean images, (K,).
    wavelet: WaveletAttribution
    lens: Lens | None
    no_lens_because: str = ""

    @property
    def forward_passes(self) -> int:
        return self.wavelet.forward_passes + (self.lens.forward_passes if self.lens else 0)

    def place(self, image: int, level: int) -> tuple[float, float] | None:
        """The centre, as shares (row, column), of where the spatial map of ``level`` is highest.

        None where it is about as high everywhere.
        """
        chosen = cell_levels(self.wavelet.grid, self.wavelet.depth) == level
        spread = np.where(chosen, self.wavelet.map[image], 0.0)[None]
        found = spatial_map(spread, self.wavelet.depth, *self.wavelet.shape)[0]
        highest = found >= np.quantile(found, 0.9)
        if found[highest].mean() < UNEVEN * found.mean() or not found.any():
            return None
        rows, columns = np.nonzero(highest)
        height, width = found.shape
        return float((rows.mean() + 0.5) / height), float((columns.mean() + 0.5) / width)


def explain(
    model: Any,
    images: Any,
    labels: Any = None,
    *,
    grid: int | None = None,
    wavelet_levels: int | None = None,
    points: int = POINTS,
    wavelet: str = "haar",
    seed: int = 0,
    execution: Execution = Execution(),
) -> Explanation:
    """The WCAM and the SpectralLens of ``images``; raises as ``wcam``.

    ``grid`` and ``wavelet_levels`` default to what fits. Without gradients there is no lens.
    """
    classifier, sample = as_classifier(model), sample_of(images)
    wavelet_levels, grid = fitting(sample, wavelet_levels, grid)
    how: Any = {"grid": grid, "wavelet_levels": wavelet_levels, "points": points}
    common: Any = {"seed": seed, "execution": execution}
    attribution = wcam(classifier, sample, labels, **how, wavelet=wavelet, **common)
    classes, lens, why_not = attribution.classes, None, ""
    try:
        lens = spectral_lens(classifier, sample, classes, **FOR_LOOKING, **common)
    except ModelError as error:
        why_not = str(error)
    inputs = classifier.normalise(sample.pixels(0, 8))
    with open_runner(classifier, execution, inputs=inputs, passes=len(sample)) as runner:
        softmax = special.softmax(runner.clean_logits(sample).numpy(), axis=1)
    return Explanation(
        model=classifier.name,
        names=sample.names,
        classes=classes,
        probabilities=softmax[np.arange(len(sample)), classes],
        wavelet=attribution,
        lens=lens,
        no_lens_because=why_not,
    )


def cost(sample: ReferenceSample, images: int) -> int:
    """About how many forward passes ``explain`` takes for so many of the images of ``sample``."""
    _, grid = fitting(sample, None, None)
    # A gradient costs a pass forwards and about two backwards.
    return images * (POINTS * (grid**2 + 2) + 3 * len(SCALES) * LEAST + 1)


def fitting(
    sample: ReferenceSample, levels: int | None, grid: int | None, *, most: int = 16
) -> tuple[int, int]:
    """Levels and grid for ``sample`` where none are given; raises SettingsError without any.

    At most so many cells a side, where that is possible.
    """
    _, height, width = sample.shape
    if levels is None:
        fit = [n for n in (1, 2, 3) if gcd(height, width) % 2**n == 0]
        if not fit:
            raise SettingsError(
                f"images of {height}×{width} pixels cannot be halved, so there is no wavelet "
                "attribution; crop or resize them to even sides"
            )
        levels = fit[-1]
    if grid is None:
        check_whole("wavelet_levels", levels, 1)
        unit, common = 2**levels, gcd(height, width)
        if common % unit:
            most = (common & -common).bit_length() - 1
            raise SettingsError(
                f"images of {height}×{width} pixels cannot be halved {levels} times; use at most "
                f"{most} wavelet level{'s' * (most != 1)}, or crop or resize them"
            )
        sizes = [n for n in range(unit, common + 1, unit) if common % n == 0]
        # Where none lies below, the coarsest there is.
        grid = max((size for size in sizes if size <= most), default=sizes[0])
    return levels, grid

"""FAM: which bands of the Fourier plane a classifier's answer comes from (SPEC.md 3.3)."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import Unpack

from pytest_iaside.checks import check_choice, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.sobol import shares
from pytest_iaside.explain.sobol_runs import MaskKeywords, MaskRules, SobolRun, evaluate
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.selection import sample_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.stats.arrays import Floats

Mask = Literal["circle", "square", "grid"]


@dataclass(frozen=True, eq=False, kw_only=True)
class FourierAttribution:
    """Total Sobol indices of bands of the Fourier plane, image by image.

    ``indices`` (K, B) float64; with circles and squares the lowest frequencies come first.
    """

    indices: Floats = field(repr=False)
    first_order: Floats = field(repr=False)
    """First-order indices, (K, B): the variance that each band alone explains."""
    share_errors: Floats = field(repr=False)  # Standard errors of ``shares``, (K, B).
    band: NDArray[np.int64] = field(repr=False)
    """Which band each frequency belongs to, (H, W) in the order of ``numpy.fft.fft2``."""
    classes: NDArray[np.int64]  # The class of each image whose output is explained, (K,).
    names: tuple[str, ...]
    forward_passes: int  # points·(B + 2) for each image.
    mask: Mask
    rules: MaskRules

    @cached_property
    def shares(self) -> Floats:
        """``indices`` normalised to a sum of 1, (K, B)."""
        return shares(self.indices)

    @cached_property
    def map(self) -> Floats:
        """The index of every frequency's band, (K, H, W), the mean in the middle."""
        return np.asarray(self.indices[:, np.fft.fftshift(self.band)])


def fam(
    classifier: Any,
    images: Any,
    labels: Any = None,
    *,
    mask: Mask = "circle",
    bands: int = 8,
    points: int = 64,
    execution: Execution = Execution(),
    **rules: Unpack[MaskKeywords],
) -> FourierAttribution:
    """The Fourier attribution of ``images`` (SPEC.md 3.3): points·(B + 2) passes each.

    A mask weights the bands of the spectrum and leaves phases as they are: "circle" and "square"
    are ``bands`` rings of equal width, up to the corner and to the Nyquist frequency (the l2 and
    linf of ``BandPartition``); "grid" cuts the plane into ``bands`` × ``bands`` cells, of which a
    cell and its mirror image are one band, so that masked images are real. All else, with the
    keywords ``rules``, is as for ``wcam``.

    Raises as ``wcam``, and SettingsError where a band would hold no frequency.
    """
    sample = sample_of(images)
    index = band_index(*sample.shape[1:], mask, bands)
    run = SobolRun(
        classifier=as_classifier(classifier),
        sample=sample,
        labels=labels,
        take_apart=lambda image: BandParts(image, torch.from_numpy(index)),
        parts=int(index.max()) + 1,
        rules=MaskRules(points=points, **rules),
    )
    found = evaluate(run, execution)
    return FourierAttribution(
        indices=found.indices,
        first_order=found.first_order,
        share_errors=found.share_errors(np.arange(run.parts)),
        band=index,
        classes=found.classes,
        names=sample.names,
        forward_passes=run.passes,
        mask=mask,
        rules=run.rules,
    )


class BandParts:
    """An image in the bands of its spectrum, as ImageParts."""

    def __init__(self, image: Tensor, index: Tensor) -> None:
        self._size = image.shape[-2:]
        # Bands are symmetric under (u, v) → (−u, −v): half of the plane says it all.
        self._index = index[:, : self._size[1] // 2 + 1].to(image.device)
        self._spectrum = torch.fft.rfft2(image)

    def masked(self, masks: Tensor) -> Tensor:
        return self._inverse(masks[:, self._index])

    def alone(self, parts: Tensor) -> Tensor:
        return self._inverse(self._index == parts.to(self._index.device)[:, None, None])

    def _inverse(self, weights: Tensor) -> Tensor:
        images: Tensor = torch.fft.irfft2(self._spectrum * weights[:, None], s=self._size)
        return images


def band_index(height: int, width: int, mask: str, bands: int) -> NDArray[np.int64]:
    """The band of every frequency, (height, width) in the order of ``numpy.fft.fft2``."""
    check_choice("mask", mask, Mask)
    check_whole("bands", bands)
    if mask == "grid":
        return _grid_index(height, width, bands)
    return BandPartition(height, width, bands, "l2" if mask == "circle" else "linf").index


def _grid_index(height: int, width: int, cells: int) -> NDArray[np.int64]:
    # Narrower cells would leave some between the axes without a frequency.
    most = min(height, width) // 4 * 2
    if cells < 2 or cells % 2 or cells > most:
        raise SettingsError(
            f"bands={cells} cells a side do not fit the spectrum of {height}×{width} images; "
            f"mask='grid' takes an even number, at most half of the shorter side: {most}"
        )
    half, sides = cells // 2, (height, width)
    along = [np.rint(np.fft.fftfreq(n) * n).astype(np.int64) for n in sides]
    rows, columns = (
        np.minimum(cells * np.abs(x) // n, half - 1) for x, n in zip(along, sides, strict=True)
    )
    # Mirror images, (u, v) and (−u, −v), have the same sign of u·v; the Nyquist frequencies of
    # even sides are their own mirror image and count as positive, as do the axes.
    signs = [np.sign(x) * (2 * np.abs(x) != n) for x, n in zip(along, sides, strict=True)]
    falling = np.outer(*signs) < 0
    return np.asarray((falling * half + rows[:, None]) * half + columns)

"""Whether a classifier relies on the same scales of a scene when the image is zoomed.

Twice as large and halved once more, a level holds the same structures as before: levels 0 to L of
the two attributions correspond. Level L + 1 of the zoomed one holds what the regular image was too
small to show. SPEC.md 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.wcam import WaveletAttribution, wcam
from pytest_iaside.images.targets import sample_of
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.intervals import jackknife_error


@dataclass(frozen=True, eq=False, kw_only=True)
class ZoomConsistency:
    """Level shares of images and of the same images twice as large."""

    regular: WaveletAttribution = field(repr=False)
    zoomed: WaveletAttribution = field(repr=False)

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
        return jackknife_error(self.changes, np.asarray)

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
    samples = sample_of(regular), sample_of(zoomed)
    if len(samples[0]) != len(samples[1]):
        raise SettingsError(
            f"{len(samples[0])} regular and {len(samples[1])} zoomed images were given; give every "
            "image both ways, in the same order"
        )
    first = wcam(classifier, samples[0], labels, wavelet_levels=wavelet_levels, **settings)
    second = wcam(
        classifier, samples[1], first.classes, wavelet_levels=wavelet_levels + 1, **settings
    )
    return ZoomConsistency(regular=first, zoomed=second)

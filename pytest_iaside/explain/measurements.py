"""What attributions say of every image, as measurements that a gate compares."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict

from typing_extensions import Unpack

from pytest_iaside.checks import is_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.explanation import fitting
from pytest_iaside.explain.lens import SCALES, spectral_lens
from pytest_iaside.explain.wcam import reconstruction_depth, wcam
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import Labelled, classes_in, first_images, notes_on, sample_of
from pytest_iaside.measure.measurement import Measurement, columns
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo, environment
from pytest_iaside.measure.quantities import Quantity
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.stats.arrays import Floats

# Sums over levels need no finer cells, and passes grow with the square of the grid.
COARSE = 8


class ImageKeywords(TypedDict, total=False):
    """What every measurement takes: how many images, the seed, and whose labels are explained."""

    samples: int | Literal["auto"] | None
    seed: int
    execution: Execution
    labels_from: Labelled | None


def measure_scale_reliance(
    model: Any,
    reference: ReferenceSample,
    *,
    fine: int = 1,
    grid: int | None = None,
    wavelet_levels: int | None = None,
    points: int = 8,
    wavelet: str = "haar",
    **images: Unpack[ImageKeywords],
) -> Measurement:
    """The share of each wavelet level in what each image's answer comes from (SPEC.md 3.2).

    The quantities are ``share of level …`` for 0, the coarsest, to ``wavelet_levels``, whose
    details are 1–2 pixels wide; and ``fine share``, that of the ``fine`` finest together. The
    class explained is the one predicted for the clean image, or that of ``labels_from``; other
    keywords are ``samples``, ``seed`` and ``execution``. Costs points·(grid² + 2) forward passes
    an image. ``grid`` and ``wavelet_levels`` are what fits the images where none are given, 8 and 3
    at most, or those of ``labels_from``.

    Raises as ``wcam``.
    """
    wavelet_levels, grid = _fitting(reference, wavelet_levels, grid, images.get("labels_from"))
    if not is_whole(fine) or not 1 <= fine <= wavelet_levels:
        raise SettingsError(
            f"fine={fine!r} must be a whole number from 1 to wavelet_levels={wavelet_levels}: how "
            "many of the finest levels count as fine"
        )
    explained = _Explained(model, reference, **images)
    found = explained.by(
        wcam, grid=grid, wavelet_levels=wavelet_levels, points=points, wavelet=wavelet
    )
    quantities = [
        Quantity(
            name=f"share of level {level} ({level_title(level, wavelet_levels)})",
            family="levels",
            better="higher" if level == 0 else "lower",
        )
        for level in range(wavelet_levels + 1)
    ]
    name = f"fine share (details up to {1 << fine} px)"
    quantities.append(Quantity(name=name, family="fine", better="lower"))
    shares = found.levels
    values = columns(*shares.T, shares[:, wavelet_levels + 1 - fine :].sum(axis=1))
    return explained.measurement("scale reliance", quantities, values, fine=fine)


def measure_reconstruction_depth(
    model: Any,
    reference: ReferenceSample,
    *,
    grid: int | None = None,
    wavelet_levels: int | None = None,
    points: int = 8,
    wavelet: str = "haar",
    **images: Unpack[ImageKeywords],
) -> Measurement:
    """How many cells of wavelet coefficients suffice for each image's prediction (SPEC.md 3.2).

    Cells of ``grid`` × ``grid``, the most important first; the quantity is ``reconstruction
    depth``. Costs as ``measure_scale_reliance`` and at most grid² + 1 passes more; what fits the
    images is found as there.

    Raises as ``wcam``.
    """
    wavelet_levels, grid = _fitting(reference, wavelet_levels, grid, images.get("labels_from"))
    explained = _Explained(model, reference, **images)
    found = explained.by(
        wcam, grid=grid, wavelet_levels=wavelet_levels, points=points, wavelet=wavelet
    )
    depth = reconstruction_depth(
        explained.model, explained.sample, found, execution=explained.execution
    )
    explained.passes += int(depth.sum())
    quantity = Quantity(name="reconstruction depth", family="depth", better="lower", unit="count")
    return explained.measurement("reconstruction depth", [quantity], columns(depth))


def measure_lens_smoothness(
    model: Any,
    reference: ReferenceSample,
    *,
    scales: Sequence[float] = SCALES,
    noise: float = 0.3,
    max_samples: int = 16,
    **images: Unpack[ImageKeywords],
) -> Measurement:
    """The mean ArgLens of each image: at which scale of noise gradients are strongest (SPEC.md 4).

    The quantity is ``mean ArgLens``, between the least and the largest of ``scales``: the larger,
    the smoother the model around the image. Gradients are PyTorch's, whatever the backend.

    Raises as ``spectral_lens``.
    """
    explained = _Explained(model, reference, **images)
    found = explained.by(spectral_lens, scales=scales, noise=noise, max_samples=max_samples)
    quantity = Quantity(name="mean ArgLens", family="arglens", better="higher")
    values = columns(found.arglens.mean(axis=(1, 2)))
    numbers = [float(scale) for scale in scales]
    return explained.measurement("lens smoothness", [quantity], values, scales=numbers)


def level_title(level: int, levels: int) -> str:
    """What ``level`` of a transform of ``levels`` levels shows: ``details of 2–4 px``."""
    if level == 0:
        return f"structures of {1 << levels} px and more"
    size = 1 << (levels - level)
    return f"details of {size}–{2 * size} px"


def _fitting(
    reference: ReferenceSample, levels: int | None, grid: int | None, before: Any
) -> tuple[int, int]:
    """Levels and grid where none are given: those of the measurement ``before``, or what fits."""
    known = before.settings if isinstance(before, Measurement) else {}
    levels = known.get("wavelet_levels") if levels is None else levels
    grid = known.get("grid") if grid is None else grid
    return fitting(sample_of(reference), levels, grid, most=COARSE)


class _Explained:
    """The images that are explained, what explains them, and the measurement that comes of it."""

    def __init__(
        self,
        model: Any,
        reference: Any,
        samples: int | Literal["auto"] | None = None,
        seed: int = 0,
        execution: Execution = Execution(),
        labels_from: Labelled | None = None,
    ) -> None:
        self._began = time.perf_counter()
        self.model, self._reference = as_classifier(model), sample_of(reference)
        self.sample = first_images(self._reference, samples)
        self.execution, self._seed = execution, seed
        self._labels: Any = None if labels_from is None else classes_in(labels_from, self.sample)
        self.passes = 0

    def by(self, attribution: Callable[..., Any], **options: Any) -> Any:
        """The attribution of the predicted classes, or of those of a baseline."""
        given = {**options, "seed": self._seed, "execution": self.execution}
        found = attribution(self.model, self.sample, self._labels, **given)
        self._options, self._labels, self.passes = options, found.classes, found.forward_passes
        return found

    def measurement(
        self, kind: str, quantities: Sequence[Quantity], values: Floats, **settings: Any
    ) -> Measurement:
        """``values`` (K, Q) read off the attribution, whose options are settings beside others."""
        return Measurement(
            kind=kind,
            quantities=tuple(quantities),
            values=values,
            digests=self.sample.digests,
            names=self.sample.names,
            groups=self.sample.groups,
            notes=notes_on(self.sample),
            labels=self._labels,
            settings={**self._options, **settings, "seed": self._seed, **self.execution.settings},
            reference=ReferenceInfo.of(self._reference),
            # What is explained is one class; how many there are is not looked at.
            model=ModelInfo.of(self.model, classes=0),
            forward_passes=self.passes,
            environment=environment(),
            seconds=time.perf_counter() - self._began,
        )

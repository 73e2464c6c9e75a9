"""What attributions say of every image, as measurements that a gate compares."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.lens import SCALES, spectral_lens
from pytest_iaside.explain.reconstruction import reconstruct
from pytest_iaside.explain.wcam import wcam
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import Labelled, classes_in, first_images
from pytest_iaside.images.targets import sample_of
from pytest_iaside.measure.measurement import Measurement, Quantity, columns
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo, environment
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.stats.arrays import Floats

T = TypeVar("T")
# Sums over levels need no finer cells, and passes grow with the square of the grid.
COARSE = 8


def measure_scale_reliance(
    model: Any,
    reference: ReferenceSample,
    *,
    fine: int = 1,
    grid: int = COARSE,
    wavelet_levels: int = 3,
    points: int = 8,
    wavelet: str = "haar",
    samples: int | Literal["auto"] | None = None,
    seed: int = 0,
    execution: Execution = Execution(),
    labels_from: Labelled | None = None,
) -> Measurement:
    """The share of each wavelet level in what each image's answer comes from (SPEC.md 3.2).

    The quantities are ``share of level …`` for 0, the coarsest, to ``wavelet_levels``, whose
    details are 1–2 pixels wide; and ``fine share``, that of the ``fine`` finest together. The
    class explained is the one predicted for the clean image, or that of ``labels_from``. Costs
    points·(grid² + 2) forward passes an image.

    Raises as ``wcam``.
    """
    check_fine(fine, wavelet_levels)
    explained = _Explained(model, reference, samples, labels_from)
    options = {
        "grid": grid, "wavelet_levels": wavelet_levels, "points": points, "wavelet": wavelet
    }  # fmt: skip
    found = explained.by(wcam, **options, seed=seed, execution=execution)
    quantities = [
        Quantity(
            name=f"share of level {level} ({level_title(level, wavelet_levels)})",
            family="levels",
            better="higher" if level == 0 else "lower",
        )
        for level in range(wavelet_levels + 1)
    ]
    quantities.append(Quantity(name=fine_name(fine), family="fine", better="lower"))
    shares = found.levels
    return explained.measurement(
        "scale reliance",
        quantities,
        columns(*shares.T, shares[:, wavelet_levels + 1 - fine :].sum(axis=1)),
        {**options, "fine": fine, "seed": seed},
        found,
    )


def measure_reconstruction_depth(
    model: Any,
    reference: ReferenceSample,
    *,
    grid: int = COARSE,
    wavelet_levels: int = 3,
    points: int = 8,
    wavelet: str = "haar",
    samples: int | Literal["auto"] | None = None,
    seed: int = 0,
    execution: Execution = Execution(),
    labels_from: Labelled | None = None,
) -> Measurement:
    """How many cells of wavelet coefficients suffice for each image's prediction (SPEC.md 3.2).

    Cells of ``grid`` × ``grid``, the most important first; the quantity is ``reconstruction
    depth``. Costs as ``measure_scale_reliance`` and at most grid² + 1 passes more.

    Raises as ``wcam``.
    """
    explained = _Explained(model, reference, samples, labels_from)
    options = {
        "grid": grid, "wavelet_levels": wavelet_levels, "points": points, "wavelet": wavelet
    }  # fmt: skip
    found = explained.by(wcam, **options, seed=seed, execution=execution)
    depth = reconstruct(explained.model, explained.sample, found, execution=execution).depth
    return explained.measurement(
        "reconstruction depth",
        [Quantity(name="reconstruction depth", family="depth", better="lower", unit="count")],
        columns(depth),
        {**options, "seed": seed},
        found,
        passes=int(depth.sum()),
    )


def measure_lens_smoothness(
    model: Any,
    reference: ReferenceSample,
    *,
    scales: Sequence[float] = SCALES,
    noise: float = 0.3,
    max_samples: int = 16,
    samples: int | Literal["auto"] | None = None,
    seed: int = 0,
    execution: Execution = Execution(),
    labels_from: Labelled | None = None,
) -> Measurement:
    """The mean ArgLens of each image: at which scale of noise gradients are strongest (SPEC.md 4).

    The quantity is ``mean ArgLens``, between the least and the largest of ``scales``: the larger,
    the smoother the model around the image. Gradients are PyTorch's, whatever the backend.

    Raises as ``spectral_lens``.
    """
    explained = _Explained(model, reference, samples, labels_from)
    options = {"scales": scales, "noise": noise, "max_samples": max_samples}
    found = explained.by(spectral_lens, **options, seed=seed, execution=execution)
    return explained.measurement(
        "lens smoothness",
        [Quantity(name="mean ArgLens", family="arglens", better="higher")],
        columns(found.arglens.mean(axis=(1, 2))),
        {**options, "scales": [float(scale) for scale in scales], "seed": seed},
        found,
    )


def check_fine(fine: int, levels: int) -> None:
    """Raise SettingsError unless ``fine`` of ``levels`` levels of detail can be the fine ones."""
    if not isinstance(fine, int) or isinstance(fine, bool) or not 1 <= fine <= levels:
        raise SettingsError(
            f"fine={fine!r} must be a whole number from 1 to wavelet_levels={levels}: how many of "
            "the finest levels count as fine"
        )


def fine_name(fine: int) -> str:
    """``fine share (details up to 2 px)``."""
    return f"fine share (details up to {1 << fine} px)"


def level_title(level: int, levels: int) -> str:
    """What ``level`` of a transform of ``levels`` levels shows: ``details of 2–4 px``."""
    if level == 0:
        return f"structures of {1 << levels} px and more"
    size = 1 << (levels - level)
    return f"details of {size}–{2 * size} px"


class _Explained:
    """The images that are explained, and the measurement that comes of it."""

    def __init__(
        self,
        model: Any,
        reference: Any,
        samples: int | Literal["auto"] | None,
        labels_from: Labelled | None,
    ) -> None:
        self._began = time.perf_counter()
        self.model, self._reference = as_classifier(model), sample_of(reference)
        self.sample = first_images(self._reference, samples)
        self._classes = None if labels_from is None else classes_in(labels_from, self.sample)

    def by(self, attribution: Callable[..., T], **options: Any) -> T:
        """The attribution of the predicted classes, or of those of a baseline."""
        return attribution(self.model, self.sample, self._classes, **options)

    def measurement(
        self,
        kind: str,
        quantities: Sequence[Quantity],
        values: Floats,
        settings: dict[str, Any],
        found: Any,
        passes: int = 0,
    ) -> Measurement:
        """``values`` (K, Q) read off what an attribution ``found``, and ``passes`` more."""
        model = self.model
        return Measurement(
            kind=kind,
            quantities=tuple(quantities),
            values=values,
            digests=self.sample.digests,
            names=self.sample.names,
            labels=found.classes,
            settings=settings,
            reference=ReferenceInfo.of(self._reference),
            # What is explained is one class; how many there are is not looked at.
            model=ModelInfo(name=model.name, classes=0, fingerprint=model.fingerprint()),
            forward_passes=found.forward_passes + passes,
            environment=environment(),
            seconds=time.perf_counter() - self._began,
        )

"""What attributions say of every image, as measurements that a gate compares."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

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
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.stats.arrays import Floats

# Sums over levels need no finer cells, and passes grow with the square of the grid.
COARSE = 8


def measure_scale_reliance(
    model: Any,
    reference: ReferenceSample,
    *,
    grid: int = COARSE,
    levels: int = 3,
    designs: int = 8,
    wavelet: str = "haar",
    fine: int = 1,
    samples: int | Literal["auto"] | None = None,
    seed: int = 0,
    execution: Execution = Execution(),
    labels_from: Labelled | None = None,
) -> Measurement:
    """The share of each wavelet level in what each image's answer comes from (SPEC.md 3.2).

    The quantities are ``share of level …`` for 0, the coarsest, to ``levels``, whose details are
    1–2 pixels wide; and ``fine share``, that of the ``fine`` finest together. The class explained
    is the one predicted for the clean image, or that of ``labels_from``. Costs
    designs·(grid² + 2) forward passes an image.

    Raises as ``wcam``.
    """
    began = time.perf_counter()
    check_fine(fine, levels)
    classifier, reference = as_classifier(model), sample_of(reference)
    sample = first_images(reference, samples)
    options: dict[str, Any] = {
        "grid": grid,
        "levels": levels,
        "designs": designs,
        "wavelet": wavelet,
    }
    classes = _classes(labels_from, sample)
    found = wcam(classifier, sample, classes, **options, seed=seed, execution=execution)
    quantities = [
        Quantity(
            name=f"share of level {level} ({level_title(level, levels)})",
            family="levels",
            better="higher" if level == 0 else "lower",
        )
        for level in range(levels + 1)
    ]
    quantities.append(Quantity(name=fine_name(fine), family="fine", better="lower"))
    shares = found.levels
    return _measurement(
        "scale reliance",
        quantities,
        columns(*shares.T, shares[:, levels + 1 - fine :].sum(axis=1)),
        found.classes,
        {**options, "fine": fine, "seed": seed},
        passes=found.forward_passes,
        **_provenance(classifier, reference, sample, began),
    )


def measure_reconstruction_depth(
    model: Any,
    reference: ReferenceSample,
    *,
    grid: int = COARSE,
    levels: int = 3,
    designs: int = 8,
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
    began = time.perf_counter()
    classifier, reference = as_classifier(model), sample_of(reference)
    sample = first_images(reference, samples)
    options: dict[str, Any] = {
        "grid": grid,
        "levels": levels,
        "designs": designs,
        "wavelet": wavelet,
    }
    classes = _classes(labels_from, sample)
    found = wcam(classifier, sample, classes, **options, seed=seed, execution=execution)
    depth = reconstruct(classifier, sample, found, execution=execution).depth
    return _measurement(
        "reconstruction depth",
        [Quantity(name="reconstruction depth", family="depth", better="lower", unit="count")],
        columns(depth),
        found.classes,
        {**options, "seed": seed},
        passes=found.forward_passes + int(depth.sum()),
        **_provenance(classifier, reference, sample, began),
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
    began = time.perf_counter()
    classifier, reference = as_classifier(model), sample_of(reference)
    sample = first_images(reference, samples)
    found = spectral_lens(
        classifier,
        sample,
        _classes(labels_from, sample),
        scales=scales,
        noise=noise,
        max_samples=max_samples,
        seed=seed,
        execution=execution,
    )
    return _measurement(
        "lens smoothness",
        [Quantity(name="mean ArgLens", family="arglens", better="higher")],
        columns(found.arglens.mean(axis=(1, 2))),
        found.classes,
        {
            "scales": [float(scale) for scale in scales],
            "noise": float(noise),
            "max_samples": max_samples,
            "seed": seed,
        },
        passes=found.forward_passes,
        **_provenance(classifier, reference, sample, began),
    )


def check_fine(fine: int, levels: int) -> None:
    """Raise SettingsError unless ``fine`` of ``levels`` levels of detail can be the fine ones."""
    if not isinstance(fine, int) or isinstance(fine, bool) or not 1 <= fine <= levels:
        raise SettingsError(
            f"fine={fine!r} must be a whole number from 1 to levels={levels}: how many of the "
            "finest levels count as fine"
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


def _classes(labels_from: Labelled | None, sample: ReferenceSample) -> list[int] | None:
    return None if labels_from is None else classes_in(labels_from, sample)


def _provenance(
    classifier: Classifier, reference: ReferenceSample, sample: ReferenceSample, began: float
) -> dict[str, Any]:
    return {
        "digests": sample.digests,
        "names": sample.names,
        "reference": ReferenceInfo.of(reference),
        # What is explained is one class; how many there are is not looked at.
        "model": ModelInfo(name=classifier.name, classes=0, fingerprint=classifier.fingerprint()),
        "environment": environment(),
        "seconds": time.perf_counter() - began,
    }


def _measurement(
    kind: str,
    quantities: Sequence[Quantity],
    values: Floats,
    classes: NDArray[np.int64],
    settings: dict[str, Any],
    *,
    passes: int,
    **provenance: Any,
) -> Measurement:
    return partial(Measurement, **provenance)(
        kind=kind,
        quantities=tuple(quantities),
        values=values,
        labels=classes,
        settings=settings,
        forward_passes=passes,
    )

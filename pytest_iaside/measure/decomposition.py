"""The losses of a perturbation gate, divided among the bands that they came through (SPEC.md 7)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.bands import BandPartition, Norm
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.perturbation import Perturbations, PerturbedAnswers, named_perturbations
from pytest_iaside.measure.perturbation_game import perturbation_spectrum

IMAGES = 50
"""So many are divided: a mean loss is known to a seventh of its spread then."""
MOST_BANDS = 8
PARTITION: Norm = "linf"


def divided(
    measured: PerturbedAnswers,
    model: Any,
    sample: ReferenceSample,
    perturbations: Perturbations,
    *,
    names: Sequence[str] | None = None,
    images: int = IMAGES,
    seed: int = 0,
    execution: Execution = Execution(),
) -> PerturbedAnswers:
    """``measured`` with the losses of its first ``images`` divided among bands.

    ``model``, ``sample`` and ``perturbations`` are those that it was measured with; ``names`` are
    the perturbations that are divided, by default all. Every image is played along one order of
    bands and its reverse, 2·M + 1 passes for each perturbation, the same order for every model.

    Raises as ``perturbation_spectrum``.
    """
    named = named_perturbations(perturbations)
    count, bands = min(images, len(measured)), bands_that_fit(sample.shape)
    some = sample.take(range(count))
    phi, change = (np.full((len(measured), len(named), bands), np.nan) for _ in range(2))
    passes = 0
    for place, (name, perturbation) in enumerate(named.items()):
        if names is not None and name not in names:
            continue
        stored = isinstance(perturbation, ReferenceSample)
        found = perturbation_spectrum(
            model,
            some,
            perturbation.take(range(count)) if stored else perturbation,  # type: ignore[union-attr]
            bands=bands,
            partition=PARTITION,
            design="antithetic",
            seed=seed,
            execution=execution,
            labels_from=measured,
        )
        phi[:count, place], change[:count, place] = found.image_phi(), found.energy
        passes += found.forward_passes
    return replace(
        measured,
        phi=phi.reshape(len(measured), -1),
        change=change.reshape(len(measured), -1),
        forward_passes=measured.forward_passes + passes,
    )


def bands_that_fit(shape: Sequence[int]) -> int:
    """How many bands images of ``shape`` (C, H, W) are divided into: eight, or as many as fit."""
    _, height, width = shape
    for bands in range(MOST_BANDS, 1, -1):
        try:
            BandPartition(height, width, bands, PARTITION)
        except SettingsError:
            continue
        return bands
    return 1


def partition_of(measured: PerturbedAnswers) -> BandPartition:
    """The bands of ``measured``, which has been divided."""
    assert measured.phi is not None
    bands = measured.phi.shape[1] // len(measured.perturbations)
    return BandPartition(measured.reference.height, measured.reference.width, bands, PARTITION)

"""What the trainings of a baseline say of each other: every one held against all others."""

from __future__ import annotations

import numpy as np

from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import OF_BANDS, Comparison
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.trainings import mean_of, trainings_of
from pytest_iaside.thresholds import Thresholds

FEWEST = 3
"""Trainings of which all but one still tell what trainings differ by."""


def left_out(baseline: Measurement, thresholds: Thresholds, level: float) -> tuple[Comparison, ...]:
    """Each training of ``baseline`` as the candidate of all others; none of fewer than three."""
    trainings = trainings_of(baseline)
    if len(trainings) < FEWEST:
        return ()
    return tuple(
        compare(
            each,
            mean_of([other for other in trainings if other is not each]),
            thresholds,
            level=level,
        )
        for each in trainings
    )


def seen(comparisons: tuple[Comparison, ...], name: str) -> float:
    """What the check ``name`` of such gates would find, the median; infinite where nothing."""
    found = [
        check.detectable
        for each in comparisons
        for check in each.checks
        if check.name == name and np.isfinite(check.detectable)
    ]
    return float(np.median(found)) if found else np.inf


def odd_one(comparisons: tuple[Comparison, ...]) -> str:
    """Which training answers worse than the others, in words; empty where none does."""
    for number, each in enumerate(comparisons, start=1):
        for check in each.checks:
            if check.verdict == "drift" and check.name not in OF_BANDS:
                return (
                    f"training {number} of {len(comparisons)} ({each.candidate.model.name}) "
                    f"answers worse than the others ({check.sentence}): what trainings differ by "
                    "is what a gate lets pass; leave it out if something went wrong there"
                )
    return ""

"""Simulated gates: what they say of a measured change, on images drawn from its pool."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from common.measured import Measured
from pytest_iaside import Thresholds, compare
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.sequential import compare_sequentially, drawing_order, stopping_rule
from pytest_iaside.measure.profile import SpectralProfile

VERDICTS = ("drift", "inconclusive", "nothing found", "pass")
GREEN = VERDICTS[2:]
LIMITS = Thresholds()
Told = tuple[str, tuple[str, ...]]
"""The verdict of a gate, and the names of the checks that it comes from."""


def gate(
    candidate: SpectralProfile, baseline: SpectralProfile, limits: Thresholds = LIMITS
) -> Told:
    """The verdict of a gate on all of these images, red as drift."""
    return _told(compare(candidate, baseline, limits))


def gates(
    candidate: Measured, baseline: Measured, count: int, draws: int, limits: Thresholds = LIMITS
) -> list[Told]:
    """Gates on ``count`` images of the pool, drawn without replacement; one if that is all."""
    generator, pool, found = np.random.default_rng(count), len(baseline.profile), []
    for _ in range(draws if count < pool else 1):
        rows = generator.choice(pool, count, replace=False)
        found.append(gate(candidate.profile.take(rows), baseline.profile.take(rows), limits))
    return found


def auto_gate(candidate: SpectralProfile, baseline: SpectralProfile, seed: int) -> tuple[Told, int]:
    """What a gate with samples="auto" says, and the images that it plays the game on.

    The answers are compared on all images, as in a test.
    """
    order = drawing_order(baseline.digests, seed, baseline.labels.tolist())
    drawn = candidate.take(order)
    stopped = stopping_rule(baseline, LIMITS)(drawn)
    used = stopped or len(drawn)
    played = replace(drawn.first(used), answers=candidate.answers)
    compared = compare_sequentially(played, baseline, LIMITS, exhausted=stopped is None)
    return _told(compared), used


def _told(comparison: Comparison) -> Told:
    verdict = "drift" if comparison.fails() else comparison.verdict
    decided = [check.name for check in comparison.checks if check.verdict == comparison.verdict]
    return verdict, tuple(decided)


def shares(told: list[Told]) -> np.ndarray:
    """The percentage of each of VERDICTS."""
    return np.array([100 * np.mean([verdict == each for verdict, _ in told]) for each in VERDICTS])


def usual_check(told: list[Told], *verdicts: str) -> str:
    """The check that decided most of the gates with one of ``verdicts``."""
    names = Counter(name for verdict, names in told if verdict in verdicts for name in names)
    return names.most_common(1)[0][0] if names else ""

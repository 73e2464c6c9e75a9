"""The change of every quantity of two measurements, and the checks of it, without notes."""

import numpy as np

from pytest_iaside.compare.comparison import Comparison, QuantityChange
from pytest_iaside.compare.effective import NAME, as_estimates, columns_of, effective_change
from pytest_iaside.compare.evidence import Evidence, by_family
from pytest_iaside.compare.families import families_of, run_checks
from pytest_iaside.compare.fit import Pairs, by_digest, groups_of, pair, require_same_measurement
from pytest_iaside.compare.recipes import level_left, limits_left, of_recipes
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.quantities import ANSWERS, AS_ANSWERED, INFORMATION, TEMPERATURE
from pytest_iaside.measure.trainings import trainings_of
from pytest_iaside.stats.arrays import Floats, averaged
from pytest_iaside.stats.intervals import STUDENT, Law, holm
from pytest_iaside.stats.structured import RESOLUTION as PSI_RESOLUTION
from pytest_iaside.thresholds import Direction, Limits

# Answers that differ by less than this, on every image and in every quantity, are the same: other
# batch sizes and backends move them by so much.
RESOLUTION = 1e-4
# The same of answers at each model's own temperature, whose fit carries the rounding of all images.
SAME_ANSWERS = 2e-3
AT_ANY_TEMPERATURE = (TEMPERATURE, AS_ANSWERED, INFORMATION)
"""Quantities of answers that another confidence moves."""


def compare_quantities(
    candidate: Measurement,
    baseline: Measurement,
    limits: Limits,
    *,
    level: float,
    direction: Direction,
    paired: bool,
    law: Law = STUDENT,
) -> tuple[Comparison, Evidence, tuple[Pairs, Pairs]]:
    """The quantities of two measurements alone, without answers and notes; raises as compare().

    With the evidence, and the rows of both that it is made of.
    """
    require_same_measurement(candidate, baseline, paired=paired)
    families = families_of(candidate)
    if candidate.trainings or baseline.trainings:
        count = len(trainings_of(candidate))
        limits, level = limits_left(limits, count), level_left(level, count)
        families = of_recipes(families, count, len(trainings_of(baseline)))
    rows = pair(candidate, baseline) if paired else (by_digest(candidate), by_digest(baseline))
    evidence = evidence_of(candidate, baseline, rows, level, paired=paired, law=law)
    found = Comparison(
        candidate=candidate,
        baseline=baseline,
        limits=limits,
        direction=direction,
        level=level,
        images=len(evidence.candidate),
        groups=_told_groups(evidence, candidate, baseline),
        checks=tuple(run_checks(evidence, families, limits, direction)),
        quantities=quantity_changes(evidence),
        effective=effective_changes(evidence),
    )
    return found, evidence, rows


def _told_groups(evidence: Evidence, candidate: Measurement, baseline: Measurement) -> int | None:
    """How many groups decided; None where nobody gave any."""
    given = candidate.groups is not None or baseline.groups is not None
    return evidence.drawn if given else None


def evidence_of(
    candidate: Measurement,
    baseline: Measurement,
    rows: tuple[Pairs, Pairs],
    level: float,
    *,
    paired: bool = True,
    law: Law = STUDENT,
) -> Evidence:
    """Those rows of both as evidence, in pairs where ``paired``; copies of an image are one row."""
    resolution: float = RESOLUTION
    compared: tuple[int, ...] | None = None
    if candidate.kind == "spectral":
        resolution = 0.0  # ψ are compared with a resolution of their own, one by one.
    elif candidate.kind == ANSWERS:
        resolution, compared = SAME_ANSWERS, at_own_temperature(candidate)
    first, second = (
        averaged(one.values[some], [one.digests[row] for row in some])
        for one, some in zip((candidate, baseline), rows, strict=True)
    )
    groups, baseline_groups = groups_of(candidate, baseline, rows, paired=paired)
    return Evidence(
        first,
        second,
        candidate.quantities,
        level,
        paired=paired,
        law=law,
        resolution=resolution,
        compared=compared,
        trainings=_by_training(candidate, baseline, rows) if paired else None,
        groups=groups,
        baseline_groups=baseline_groups,
    )


def _by_training(
    candidate: Measurement, baseline: Measurement, rows: tuple[Pairs, Pairs]
) -> tuple[Floats, Floats] | None:
    """The rows of each training of both, where either has several; copies are one row."""
    if not candidate.trainings and not baseline.trainings:
        return None
    ours, theirs = (
        np.stack(
            [
                averaged(each.values[some], [each.digests[row] for row in some])
                for each in trainings_of(one)
            ]
        )
        for one, some in zip((candidate, baseline), rows, strict=True)
    )
    return ours, theirs


def quantity_changes(evidence: Evidence) -> tuple[QuantityChange, ...]:
    """The change of every quantity, with intervals together by family and Holm's p-values."""
    quantities = evidence.quantities
    p_values = holm(evidence.p_values(0.0 if evidence.resolution else PSI_RESOLUTION))
    found = []
    for columns in by_family(quantities).values():
        estimates = evidence.change_of_means(columns)
        for place, column in enumerate(columns):
            change = QuantityChange(
                index=column,
                name=quantities[column].name,
                family=quantities[column].family,
                better=quantities[column].better,
                **estimates.at(place),
                p_value=float(p_values[column]),
                moved=bool(p_values[column] < 1 - evidence.level),
            )
            found.append(change)
    return tuple(sorted(found, key=lambda change: change.index))


def effective_changes(evidence: Evidence) -> tuple[QuantityChange, ...]:
    """The change of effective robustness under each perturbation; none without clean accuracy."""
    columns = columns_of(evidence.quantities)
    if columns is None:
        return ()
    found = effective_change(evidence, columns)
    estimates, p_values = as_estimates(evidence, columns, found), holm(found.p_value)
    return tuple(
        QuantityChange(
            index=at,
            name=name,
            family=NAME,
            better="higher",
            **estimates.at(at),
            p_value=float(p_values[at]),
            moved=bool(p_values[at] < 1 - evidence.level),
        )
        for at, name in enumerate(columns.places)
    )


def at_own_temperature(answers: Measurement) -> tuple[int, ...]:
    """The quantities that another confidence does not move."""
    families = [quantity.family for quantity in answers.quantities]
    return tuple(at for at, name in enumerate(families) if name not in AT_ANY_TEMPERATURE)

"""What a gate can see at a baseline's images, and what it takes to see more (SPEC.md 11).

How much paired differences vary is read off pairs of measurements where there are any, else off the
baseline alone, of which it is assumed that they vary no more than its values do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from pytest_iaside.compare.answers import in_common
from pytest_iaside.compare.changes import compare_quantities, evidence_of
from pytest_iaside.compare.check import WIDEST, Check
from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.compare.families import families_of
from pytest_iaside.compare.fit import pair
from pytest_iaside.compare.left_out import left_out, odd_one, seen
from pytest_iaside.compare.planned import Planned, Wanted, planned
from pytest_iaside.errors import SettingsError
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.trainings import mean_of, trainings_of
from pytest_iaside.stats.power import POWER, detectable_share
from pytest_iaside.thresholds import LEVEL, Limits, Thresholds

FEWEST = 3
"""Trainings of which each can be held against several others."""
TIMES = 2.0
"""Of what is allowed: the fall that images are counted for, unless another is asked for."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a gate of ``images`` images, in ``groups`` groups if any, sees with ``power``.

    ``pairs`` is how many pairs of measurements told how much differences vary; 0 where the baseline
    alone did.
    """

    images: int
    groups: int | None
    level: float
    power: float
    pairs: int
    checks: tuple[Planned, ...]
    trainings: int = 0
    """How many trainings were each held against the others; then images are counted for none."""

    def check(self, name: str) -> Planned | None:
        """The check ``name``, where there is one."""
        return next((each for each in self.checks if each.name == name), None)


def plan(
    baseline: Measurement,
    thresholds: Thresholds = Thresholds(),
    *,
    candidate: Measurement | None = None,
    level: float = LEVEL,
    fall: float | None = None,
    power: float = POWER,
    images: int | None = None,
    only: Sequence[str] | None = None,
) -> Plan:
    """What each check of a gate against ``baseline`` sees; ``fall`` is by default twice the limit.

    How much differences vary comes from ``candidate`` and the baseline, else from the baseline's
    trainings, where it has three or more as gates on each of them against the others, of two from
    the pair; else from the baseline's own values. Bounds (``min_src``) are left out:
    they are no changes. ``images`` is how many a gate has, by default the baseline's, in groups as
    large as there. ``only`` names the checks that are asked for. Raises as compare().
    """
    trainings = trainings_of(baseline)
    if candidate is None and len(trainings) >= FEWEST:
        if images is not None:
            raise SettingsError(
                f"images={images}: how far trainings lie apart is not mended by images; leave it "
                "out for a baseline of several trainings, or give a candidate"
            )
        return _between_trainings(baseline, thresholds, level, fall, power, only)
    if candidate is not None:
        pairs = list(product(trainings_of(candidate), trainings))
    else:
        pairs = list(combinations(trainings, 2))
    checks, count, groups = [], len(baseline), None
    for limits, some in (
        (thresholds.answer_limits, [in_common(*each) for each in pairs or [(baseline, baseline)]]),
        (thresholds.limits, pairs or [(baseline, baseline)]),
    ):
        known = [each for each in some if each is not None]
        if not known:
            continue
        evidence = [_evidence(*each, level, paired=bool(pairs)) for each in known]
        families = families_of(known[0][1])
        first = evidence[0]
        count = images or len(first.baseline)
        if first.groups is not None:
            groups = round(count * first.drawn / len(first.baseline))
        for name, limit in limits.items():
            if name in families and limit.change is not None and (only is None or name in only):
                family, places = families[name], len(families[name].places)
                wanted = Wanted(
                    allowed=limit.change,
                    fall=TIMES * limit.change if fall is None else fall,
                    power=power,
                    level=first.level_of_each(places),
                    images=count,
                    paired=bool(pairs),
                )
                checks.append(planned(family, evidence, wanted))
    return Plan(
        images=count,
        groups=groups,
        level=level,
        power=power,
        pairs=len(pairs),
        checks=tuple(checks),
    )


def _between_trainings(
    baseline: Measurement,
    thresholds: Thresholds,
    level: float,
    fall: float | None,
    power: float,
    only: Sequence[str] | None,
) -> Plan:
    """What gates on one more training see: the median over each training against the others."""
    if power != POWER:
        raise SettingsError(
            f"what gates on trainings see is known with {POWER:.0%} probability, not {power:.0%}; "
            "leave out the power, or give a candidate"
        )
    trainings = trainings_of(baseline)
    gates = [
        compare(
            one, mean_of([each for each in trainings if each is not one]), thresholds, level=level
        )
        for one in trainings
    ]
    families = families_of(baseline)
    if baseline.answers is not None:
        families |= families_of(baseline.answers)
    checks: dict[str, list[Check]] = {}
    for check in (each for gate in gates for each in gate.checks):
        if check.name in families and (only is None or check.name in only):
            checks.setdefault(check.name, []).append(check)
    planned = []
    for name, some in checks.items():
        allowed = abs(some[0].limit)
        median = sorted(some, key=lambda check: check.detectable)[len(some) // 2]
        planned.append(
            Planned(
                name=name,
                where=median.where,
                allowed=allowed,
                found=median.detectable,
                fall=TIMES * allowed if fall is None else fall,
                images=np.nan,
                deviation=np.nan,
                won=np.nan,
                show=families[name].show,
            )
        )
    return Plan(
        images=gates[0].images,
        groups=gates[0].groups,
        level=level,
        power=power,
        pairs=len(trainings),
        trainings=len(trainings),
        checks=tuple(planned),
    )


def _evidence(
    candidate: Measurement, baseline: Measurement, level: float, *, paired: bool
) -> Evidence:
    """The two in pairs; of a baseline alone, its values against their own mean."""
    if paired:
        limits: Limits = {}
        return compare_quantities(
            candidate, baseline, limits, level=level, direction="worse", paired=True
        )[1]
    found = evidence_of(baseline, baseline, pair(baseline, baseline), level)
    mean = np.broadcast_to(found.candidate.mean(axis=0), found.candidate.shape)
    return replace(found, baseline=mean, resolution=0.0)


def in_words(baseline: Measurement, thresholds: Thresholds, level: float) -> str:
    """What a gate against ``baseline`` alone sees, in a sentence; empty where there is nothing.

    Of accuracy and of the bands; louder where that is so much that the gate says little. Against
    several trainings a gate is of one more, which what they differ by makes see less.
    """
    others = left_out(baseline, thresholds, level)
    found = plan(baseline, thresholds, level=level, only=("clean accuracy", "band"))
    accuracy, band = found.check("clean accuracy"), found.check("band")
    told, loud = [], []
    if accuracy is not None:
        fall = seen(others, accuracy.name) if others else accuracy.found
        told.append(_lost(fall if fall < 1 else np.inf, "points of accuracy"))
        # None won is the most that a gate can see; how many are, no baseline knows.
        least = fall if others else detectable_share(found.images, accuracy.allowed, level)
        if least > WIDEST * accuracy.allowed:
            loud.append(f"cannot see its own allowed change of accuracy ({accuracy.allowed:.0%})")
    if band is not None:
        fall = seen(others, band.name) if others else band.found
        told.append(_lost(fall, "% of v(all), what all bands add together, in any band"))
        if not fall <= WIDEST * band.allowed:
            loud.append(f"may not see its own allowed change of bands ({band.allowed:.0%})")
    if not told:
        return ""
    power = f"{100 * found.power:g} % probability"
    groups = "" if found.groups is None else f" in {found.groups} groups"
    gate, more = "a gate", "images"
    count = len(trainings_of(baseline))
    if count > 1:
        gate, more = "a gate of another training", "trainings"
        power += "" if others else f", if it did not matter how far its {count} trainings lie apart"
    sentence = f"with {found.images} images{groups} {gate} finds {', or '.join(told)}, with {power}"
    if loud:
        sentence += f": it {' and '.join(loud)}, take more {more} (iaside plan says how many)"
    return "; ".join(filter(None, [sentence, odd_one(others)]))


def _lost(fall: float, unit: str) -> str:
    return f"a fall of {np.ceil(100 * fall):.0f} {unit}" if np.isfinite(fall) else f"no {unit}"

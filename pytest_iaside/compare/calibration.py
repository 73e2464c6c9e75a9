"""What a team's own retrainings differ by, and the limits that they would keep (SPEC.md 9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import permutations
from typing import Any

import numpy as np
from scipy import special

from pytest_iaside.compare.check import Check
from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.left_out import left_out, odd_one
from pytest_iaside.errors import BaselineError
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.trainings import trainings_of
from pytest_iaside.stats.power import POWER
from pytest_iaside.thresholds import LEVEL, Thresholds

FALSE_ALARMS = 0.01
"""How often a gate may be red for another seed, all limits together."""
FEWEST = 3
"""Trainings that show how far others would lie."""
ANSWERS = {
    "accuracy": "max_accuracy_drop",
    "log-likelihood": "max_log_likelihood_drop",
    "probability": "max_probability_drop",
    "effective": "max_effective_drop",
    "score": "max_score_drop",
}
BANDS = {
    "src": "max_src_drop",
    "sid": "max_sid_shift",
    "value": "max_value_drop",
    "band": "max_band_drop",
    "upper": "max_upper_band_change",
}
PERTURBED = "perturbed "
"""Of answers under a single perturbation twice as much is allowed."""
# Shares and the score: a limit of 1 allows everything.
MOST = 1.0


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """One limit, and what retrainings make of it.

    ``spread`` is the standard deviation between two trainings of what the limit bounds, ``red`` the
    share of pairs of trainings that it makes red as it is, ``proposed`` the limit that keeps all
    of them together to 1 % (None where only no limit at all does), ``found`` the
    smallest fall that is red with 99 % probability then.
    """

    setting: str
    now: float
    spread: float
    red: float
    proposed: float | None
    found: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What ``trainings`` retrainings make of a gate's limits.

    Shares of gates that are red: of ``pairs``, one training with one, as limits are and as
    proposed; and of each training with all others, as a baseline with trainings compares.
    """

    trainings: int
    pairs: int
    red: float
    red_proposed: float
    red_with_trainings: float
    odd_one: str
    """Which training answers worse than the others, in words; empty where none does."""
    limits: tuple[Calibrated, ...]


def calibrate(
    baseline: SpectralProfile, thresholds: Thresholds = Thresholds(), *, level: float = LEVEL
) -> Calibration:
    """What the trainings of ``baseline`` differ by, and the limits that they would keep.

    Every training is the candidate of every other. A proposed limit is a prediction t: what one
    more pair would need, with 99 % probability for all limits together.

    Raises BaselineError where the baseline holds fewer than three trainings, or one that tells
    nothing.
    """
    trainings = trainings_of(baseline)
    if len(trainings) < FEWEST:
        raise BaselineError(
            f"the baseline holds {len(trainings)} training{'s' * (len(trainings) > 1)}, but it "
            f"takes {FEWEST} to see what others would differ by, better 5; add some: iaside "
            "baseline add, or pytest TEST --iaside-update=add"
        )
    if not baseline.structured:
        raise BaselineError(
            f"no limits can be read off the baseline: {baseline.unstructured_because}; make it "
            "anew without that training"
        )
    pairs = [compare(*pair, thresholds, level=level) for pair in permutations(trainings, 2)]
    found = tuple(_limits(pairs, thresholds, len(trainings)))
    proposed: dict[str, Any] = {each.setting: each.proposed for each in found}
    wider = replace(thresholds, **proposed)
    others = left_out(baseline, thresholds, level)
    return Calibration(
        trainings=len(trainings),
        pairs=len(pairs),
        red=_red(pairs),
        red_proposed=_red([compare(*p, wider, level=level) for p in permutations(trainings, 2)]),
        red_with_trainings=_red(others),
        odd_one=odd_one(others),
        limits=found,
    )


def _red(comparisons: Sequence[Comparison]) -> float:
    return float(np.mean([each.fails() for each in comparisons]))


def _limits(
    pairs: Sequence[Comparison], thresholds: Thresholds, trainings: int
) -> list[Calibrated]:
    checks: Mapping[str, list[Check]] = defaultdict(list)
    for pair in pairs:
        for check in pair.checks:
            if check.name in (*thresholds.answer_limits, *thresholds.limits):
                checks[check.name].append(check)
    settings: Mapping[str, list[tuple[float, list[Check]]]] = defaultdict(list)
    for name, some in checks.items():
        kind = ANSWERS.get(name.split(" ")[-1]) or BANDS[name]
        settings[kind].append((2.0 if name.startswith(PERTURBED) else 1.0, some))
    known = [each.name for each in fields(Thresholds) if each.name in settings]
    return [_limit(name, settings[name], thresholds, trainings, len(known)) for name in known]


def _limit(
    setting: str,
    families: list[tuple[float, list[Check]]],
    thresholds: Thresholds,
    trainings: int,
    count: int,
) -> Calibrated:
    """The limit ``setting``, which bounds so many times as much in each of ``families``."""
    reach = special.stdtrit(trainings - 1, 1 - FALSE_ALARMS / count)
    most, spread, found = 0.0, 0.0, 0.0
    red = np.zeros(len(families[0][1]), dtype=bool)
    for times, checks in families:
        # What the limit would have to be, not to be red: the near end of the interval.
        needed = np.array([_needed(each) for each in checks])
        deviation = float(needed.std(ddof=1))
        most = max(most, (float(needed.mean()) + reach * deviation) / times)
        spread = max(spread, deviation / times)
        width = float(np.mean([(each.high - each.low) / 2 for each in checks]))
        found = max(found, width + special.ndtri(POWER) * deviation)
        red |= np.array([each.verdict == "drift" for each in checks])
    proposed = _rounded_up(max(most, 0.0))
    bounded = setting != "max_log_likelihood_drop"
    now = getattr(thresholds, setting)
    return Calibrated(
        setting=setting,
        now=now,
        spread=spread,
        red=float(red.mean()),
        proposed=None if bounded and proposed >= MOST else proposed,
        found=found + proposed,
    )


def _needed(check: Check) -> float:
    """The least limit under which ``check`` would not be drift."""
    if check.name == "upper":  # Either way.
        return float(max(-check.high, check.low))
    return float(-check.high if check.better == "higher" else check.low)


def _rounded_up(value: float) -> float:
    """Two digits that count, not less than ``value``."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / step - 1e-9) * step:.6g}")

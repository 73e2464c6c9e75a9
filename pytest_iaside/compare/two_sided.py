"""Checks with a margin on either side of no change, made by two one-sided tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np

from pytest_iaside.compare.changes import evidence_of
from pytest_iaside.compare.check import WORST_FIRST, Check, Estimates, Verdict
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.compare.families import Family, families_of
from pytest_iaside.compare.fit import pair
from pytest_iaside.compare.words import about, confidence, number, signed
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.quantities import AS_ANSWERED, TEMPERATURE
from pytest_iaside.stats.equivalence import beyond_margin, images_to_show, within_margin
from pytest_iaside.stats.intervals import anything
from pytest_iaside.thresholds import Limits

LAST_DIGITS = 1e-3
"""Answers to all images that differ by no more, in any quantity, are the same: back ends differ by
less (models/backends/probe.py). Then no hit is uncertain."""
OF_SHARES = ("value", "band")
"""Families of a spectral profile, whose changes are shares of v(all)."""
MEAN_ACCURACY = "mean accuracy"


@dataclass(frozen=True, eq=False)
class _Shared(Evidence):
    """Evidence whose intervals hold together with those of all others, ``among`` so many."""

    among: int = 1

    def level_of_each(self, places: int) -> float:
        return 1 - (1 - self.level) / self.among


class Subject:
    """Two measurements of the same, and the margins of their families."""

    def __init__(
        self, deployed: Measurement, original: Measurement, limits: Limits, level: float
    ) -> None:
        self.families: Mapping[str, Family] = families_of(deployed)
        # Of a panel that was not asked for there is nothing to check.
        self.limits = {name: each for name, each in limits.items() if name in self.families}
        self.rows = pair(deployed, original)
        self.deployed, self.original, self.level = deployed, original, level
        # No shortcut where values are alike: an interval of almost equal ones is short enough.
        self.evidence = replace(
            evidence_of(deployed, original, self.rows, level), resolution=0.0, compared=None
        )
        compared = [at for at, each in enumerate(deployed.quantities) if each.name != TEMPERATURE]
        moved = abs(self.evidence.candidate - self.evidence.baseline)[:, compared]
        self.same = bool((moved <= LAST_DIGITS).all())

    @property
    def places(self) -> int:
        """How many quantities have a margin."""
        return sum(len(self.families[name].places) for name in self.limits)

    def _among(self, count: int) -> Evidence:
        known = {each.name: getattr(self.evidence, each.name) for each in fields(Evidence)}
        return _Shared(**known, among=count)

    def checks(self, places: int) -> list[Check]:
        """A check of each family that has a margin; ``places`` are those of all subjects."""
        alone, together = self._among(1), self._among(places)
        return [
            self._check(self.families[name], limit.change, alone, together)
            for name, limit in self.limits.items()
            if limit.change is not None
        ]

    def _check(self, family: Family, margin: float, alone: Evidence, together: Evidence) -> Check:
        each, joint = (self._estimates(family, one) for one in (alone, together))
        shown = within_margin(each.low, each.high, margin)
        beyond = beyond_margin(joint.low, joint.high, margin)
        verdicts: list[Verdict] = [
            "drift" if b else "pass" if s else "inconclusive"
            for s, b in zip(shown, beyond, strict=True)
        ]
        verdict = min(verdicts, key=WORST_FIRST.index)
        some = [place for place, one in enumerate(verdicts) if one == verdict]
        farthest = np.maximum(abs(each.low), abs(each.high))
        at = max(some, key=lambda place: _farther(float(farthest[place])))
        # The interval that decides is told.
        told = joint if verdict == "drift" else each
        images = images_to_show(
            len(alone.candidate), each.change[at], (each.high[at] - each.low[at]) / 2, margin
        )
        grouped = alone.groups is not None
        check = Check(
            name=family.name,
            where=family.places[at],
            better=family.better[at],
            **told.at(at),
            limit=margin if told.change[at] > 0 else -margin,
            verdict=verdict,
            changed=not self.same and bool(((joint.low > 0) | (joint.high < 0)).any()),
            images_to_pass=images if verdict == "inconclusive" else math.nan,
            groups_to_pass=images * alone.drawn / len(alone.candidate)
            if verdict == "inconclusive" and grouped
            else math.nan,
        )
        return replace(check, sentence=_sentence(check, self.level, spectral=self.spectral))

    @property
    def spectral(self) -> bool:
        return self.deployed.kind == "spectral"

    def _estimates(self, family: Family, evidence: Evidence) -> Estimates:
        found = family.estimate(evidence)
        hits = family.hits or family.name == MEAN_ACCURACY
        if len(evidence.candidate) < 2 or evidence.drawn < 2:
            low, high = anything(found.change)
            return replace(found, low=low, high=high)
        if not hits:
            return found
        if self.same:
            return replace(found, low=found.change, high=found.change)
        if family.name == MEAN_ACCURACY:
            # A mean of hits that all stayed has no spread; half an image has, as of single hits.
            level = evidence.level_of_each(1)
            least = evidence.law.reach(level, np.array(np.inf)) / (evidence.drawn + 2)
            low, high = found.change - least, found.change + least
            return replace(found, low=np.minimum(found.low, low), high=np.maximum(found.high, high))
        return found


def _farther(value: float) -> float:
    return math.inf if math.isnan(value) else float(value)


def _sentence(check: Check, level: float, *, spectral: bool) -> str:
    """The check in words, with digits enough for its margin."""
    of_shares = spectral and check.name in OF_SHARES
    margin = abs(check.limit) * (100 if of_shares else 1)
    digits = 1 if of_shares else 3
    if margin > 0:
        digits = max(digits, math.ceil(-math.log10(margin)) + 1)
    show = partial(_percent if of_shares else signed, digits=digits)
    allowed = show(abs(check.limit)).removeprefix("+")
    interval = f"{confidence(level)} {show(check.low)}…{show(check.high)}, allowed ±{allowed}"
    if check.where == AS_ANSWERED:
        where = "log-likelihood as it answers"
    elif check.name == "value":
        where = "v(all)"
    else:
        where = check.where
    if check.name == "band":
        told = f"{where} {show(check.change)} of v(all) ({interval})"
    elif check.baseline == 0:
        told = f"{where} {show(check.change)} ({interval})"
    else:
        both = f"{number(check.baseline)} → {number(check.candidate)}"
        told = f"{where} {both} ({show(check.change)}, {interval})"
    if check.verdict != "inconclusive":
        return told
    if min(abs(check.low), abs(check.high)) > abs(check.limit) and check.low * check.high > 0:
        return f"{told}; beyond by itself, but not when all checks are taken together"
    if not math.isfinite(check.images_to_pass):
        return f"{told}; neither within nor beyond is shown"
    groups = math.isfinite(check.groups_to_pass)
    count = check.groups_to_pass if groups else check.images_to_pass
    return f"{told}; to show it takes about {about(count)} {'groups' if groups else 'images'}"


def _percent(value: float, digits: int) -> str:
    return f"{signed(100 * value, digits)}%"

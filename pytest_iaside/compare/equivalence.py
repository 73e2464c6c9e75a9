"""Whether two models that are both at hand do the same: two one-sided tests in every check."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np

from pytest_iaside.checks import checked_limit
from pytest_iaside.compare.answers import explained_by_temperature, in_common
from pytest_iaside.compare.changes import evidence_of
from pytest_iaside.compare.check import WORST_FIRST, Check, Estimates, Verdict
from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import FEW, Comparison
from pytest_iaside.compare.drivers import ImageChange, ImageChanges
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.compare.families import Family, families_of
from pytest_iaside.compare.fit import pair, without_copies
from pytest_iaside.compare.words import about, confidence, number, signed
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.quantities import AS_ANSWERED
from pytest_iaside.stats.arrays import averaged
from pytest_iaside.stats.equivalence import beyond_margin, images_to_show, within_margin
from pytest_iaside.stats.intervals import anything
from pytest_iaside.thresholds import LEVEL, Limit, Limits, Thresholds, check_limits

FEWEST_IMAGES = 20
"""Images, or groups of them, below which nothing is called equivalent: what a tenth of all images
would show, 20 miss with a probability of 12 %, and 10 with 35 %."""
LAST_DIGITS = 1e-3
"""Answers to all images that differ by no more, in any quantity, are the same: back ends differ by
less (models/backends/probe.py). Then no hit is uncertain."""
OF_SHARES = ("value", "band")
"""Families of a spectral profile, whose changes are shares of v(all)."""
MEAN_ACCURACY = "mean accuracy"


@dataclass(frozen=True, kw_only=True)
class Margins:
    """How far a deployed model may be from its original, either way; None leaves a check out.

    ``max_accuracy_difference`` is a share of the images, ``max_log_likelihood_difference`` in nats
    and ``max_probability_difference`` a part of the label's probability: of the images as they are
    and of the mean over clean and panel, each at its model's own temperature; under a single
    perturbation twice as much. ``max_confidence_difference`` (nats) is of the log-likelihood as
    the model answers it. ``max_value_difference`` and ``max_band_difference`` are of v(all) and of
    any band's ψ, as shares of the original's v(all).
    """

    max_accuracy_difference: float | None = 0.05
    max_log_likelihood_difference: float | None = 0.1
    max_probability_difference: float | None = 0.02
    max_confidence_difference: float | None = 0.1
    max_value_difference: float | None = 0.1
    max_band_difference: float | None = 0.1

    def __post_init__(self) -> None:
        for each in fields(self):
            share = "" if each.name in IN_NATS else "a share, which is 1 at most"
            checked_limit(each.name, getattr(self, each.name), share)

    @property
    def answers(self) -> Limits:
        """The margin of each family of what is measured of the answers (measure/panel.py)."""
        allowed = {
            "accuracy": self.max_accuracy_difference,
            "log-likelihood": self.max_log_likelihood_difference,
            "probability": self.max_probability_difference,
        }
        found = {
            f"{place} {title}": Limit(change=times * margin)
            for title, margin in allowed.items()
            for place, times in (("clean", 1), ("mean", 1), ("perturbed", 2))
            if margin is not None
        }
        if self.max_confidence_difference is not None:
            found[AS_ANSWERED] = Limit(change=self.max_confidence_difference)
        return found

    @property
    def bands(self) -> Limits:
        """The margin of v(all), and that of every band."""
        every = {"value": self.max_value_difference, "band": self.max_band_difference}
        return {name: Limit(change=each) for name, each in every.items() if each is not None}


IN_NATS = ("max_log_likelihood_difference", "max_confidence_difference")


@dataclass(frozen=True, eq=False, kw_only=True)
class Equivalence(Comparison):
    """A deployed model, the candidate, against its original, the baseline.

    Its checks pass where they are shown to be within their margins, and drift where they are shown
    to be beyond; all else is inconclusive.
    """

    original: str
    """What the candidate is compared with, in words."""
    temperature: float | None = None
    """The ratio of the two temperatures, where these alone tell the answers apart."""

    def summary(self) -> str:
        """The verdict in one line, and first what decides it."""
        verdict = self.verdict
        deciding = [check.sentence for check in self.checks if check.verdict == verdict]
        if verdict == "pass":
            return self._equivalent()
        told, more = deciding[:FEW], len(deciding) - FEW
        if more > 0:
            told.append(f"{more} more check{'s' * (more > 1)}")
        word = "different from" if verdict == "drift" else "not shown to be equivalent to"
        alone = "" if self.temperature is None else " in confidence alone"
        return f"{word} {self.original}{alone}: {'; '.join(told)}"

    def _equivalent(self) -> str:
        checks = [check for check in self.checks if check.name != "structured"]
        nearest = max(checks, key=_share_of_margin)
        return (
            f"equivalent to {self.original} in all {len(checks)} checks; nearest to its margin is "
            f"{nearest.sentence}"
        )


def compare_equivalence(
    deployed: Measurement,
    original: Measurement,
    limits: Limits,
    answers: Limits,
    *,
    level: float = LEVEL,
    roles: tuple[str, str] | None = None,
    others: Sequence[Check] = (),
) -> Equivalence:
    """Whether ``deployed`` does what ``original`` does, within margins, on the same images.

    ``limits`` are the margins of the families of both measurements, ``answers`` those of their
    answers. A check passes where the interval at ``level`` = 1 − 2α of each of its quantities lies
    within ±margin: two one-sided tests at α, of which all must reject, so that no correction is
    needed. It drifts where that of some quantity lies wholly beyond; those intervals hold together
    for all quantities of all checks. Else it is inconclusive; so is everything on fewer than
    ``FEWEST_IMAGES`` images, or groups of them. ``roles`` are the two in words, deployed first;
    ``others`` are checks that were made besides.

    Raises BaselineError where the two were not measured alike; SettingsError without any limit.
    """
    if not others:
        check_limits({**limits, **answers}, "equivalence", (each.name for each in fields(Margins)))
    spectral = original.kind == "spectral"
    told = roles or (f"the deployed {deployed.model.name}", f"the original {original.model.name}")
    usual = Thresholds(direction="any")
    found = compare(
        deployed,
        original,
        usual if spectral else dict(limits),
        answers=usual.answer_limits if spectral else {},
        level=level,
        direction="any",
    )
    subjects = [(deployed, original, limits)]
    both = in_common(deployed, original)
    if both is not None:
        subjects.insert(0, (*both, answers))
    checked = [_Subject(*each, level) for each in subjects]
    places = sum(each.places for each in checked)
    checks = [check for each in checked for check in each.checks(places)]
    alone = None if both is None else explained_by_temperature(*both)
    known = {field.name: getattr(found, field.name) for field in fields(Comparison)}
    return Equivalence(
        **{
            **known,
            "limits": {name: each for one in checked for name, each in one.limits.items()},
            "direction": "any",
            "checks": (*_structured(found), *_enough(checked), *checks, *others),
            "notes": (*found.notes, *_notes(told, checked)),
            "image_changes": _image_changes(checked, checks),
            "lead": (),
            "led": (),
            "tail": (),
        },
        original=told[1],
        temperature=alone,
    )


@dataclass(frozen=True, eq=False)
class _Shared(Evidence):
    """Evidence whose intervals hold together with those of all others, ``among`` so many."""

    among: int = 1

    def level_of_each(self, places: int) -> float:
        return 1 - (1 - self.level) / self.among


class _Subject:
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
        compared = [at for at, each in enumerate(deployed.quantities) if each.name != "temperature"]
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


def _share_of_margin(check: Check) -> float:
    farthest = max(abs(check.low), abs(check.high))
    return farthest / abs(check.limit) if check.limit else farthest


def _structured(found: Comparison) -> list[Check]:
    return [check for check in found.checks if check.name == "structured"]


def _enough(checked: list[_Subject]) -> list[Check]:
    """Where there are too few images to call anything equivalent, a check that says so."""
    count = min(each.evidence.drawn for each in checked)
    if count >= FEWEST_IMAGES:
        return []
    grouped = any(each.evidence.groups is not None for each in checked)
    noun = "groups of images" if grouped else "images"
    told = f"{count} {noun}: nothing is called equivalent on fewer than {FEWEST_IMAGES}; give more"
    return [
        Check(
            name="images",
            where=noun,
            baseline=math.nan,
            candidate=count,
            change=math.nan,
            low=math.nan,
            high=math.nan,
            limit=FEWEST_IMAGES,
            verdict="inconclusive",
            images_to_pass=FEWEST_IMAGES,
            sentence=told,
        )
    ]


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
    if not math.isfinite(check.images_to_pass):
        return f"{told}; neither within nor beyond is shown"
    groups = math.isfinite(check.groups_to_pass)
    count = check.groups_to_pass if groups else check.images_to_pass
    return f"{told}; to show it takes about {about(count)} {'groups' if groups else 'images'}"


def _percent(value: float, digits: int) -> str:
    return f"{signed(100 * value, digits)}%"


def _notes(roles: tuple[str, str], checked: list[_Subject]) -> list[str]:
    notes = [f"the candidate is {roles[0]}, the baseline {roles[1]}, both measured now"]
    if all(each.same for each in checked):
        count = checked[0].evidence.drawn
        notes.append(
            f"both answer all {count} images alike to within {LAST_DIGITS:g}; a difference that "
            f"none of them shows may still be in {min(3 / count, 1):.1%} of others"
        )
    return notes


def _image_changes(checked: list[_Subject], checks: list[Check]) -> ImageChanges | None:
    """The images whose answers differ most in the quantity that decides, either way."""
    deciding = min(checks, key=lambda check: WORST_FIRST.index(check.verdict), default=None)
    if deciding is None:
        return None
    names = ("log-likelihood, clean", deciding.where)
    for where in names[::-1]:
        for one in checked:
            known = [quantity.name for quantity in one.deployed.quantities]
            if where in known:
                return _of_column(one, known.index(where), checked[-1])
    return None


def _of_column(one: _Subject, column: int, played: _Subject) -> ImageChanges:
    evidence, quantity = one.evidence, one.deployed.quantities[column]
    rows = without_copies(one.deployed, one.rows[0])
    moved = evidence.candidate[:, column] - evidence.baseline[:, column]
    parts = moved / len(moved)
    psi = [_psi(each, played.spectral) for each in (played.deployed, played.original)]
    hard = one.deployed.labels.ndim == 1
    images = []
    for at in np.argsort(-abs(parts), kind="stable"):
        row = rows[at]
        digest = one.deployed.digests[row]
        unknown = np.full(len(played.deployed.quantities) if played.spectral else 0, np.nan)
        images.append(
            ImageChange(
                name=one.deployed.names[row],
                digest=digest,
                label=int(one.deployed.labels[row]) if hard else None,
                contribution=float(parts[at]),
                baseline_psi=psi[1].get(digest, unknown),
                candidate_psi=psi[0].get(digest, unknown),
            )
        )
    unit = "nats" if quantity.unit == "nats" else ""
    return ImageChanges(
        quantity=quantity.name, unit=unit, change=float(moved.mean()), images=tuple(images)
    )


def _psi(one: Measurement, spectral: bool) -> dict[str, np.ndarray]:
    if not spectral:
        return {}
    rows = averaged(one.values, one.digests)
    return dict(zip(dict.fromkeys(one.digests), rows, strict=True))

"""Whether two models that are both at hand do the same: two one-sided tests in every check."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from pytest_iaside.compare.answers import explained_by_temperature, in_common
from pytest_iaside.compare.check import WORST_FIRST, Check
from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import FEW, Comparison
from pytest_iaside.compare.drivers import ImageChange, ImageChanges
from pytest_iaside.compare.fit import without_copies
from pytest_iaside.compare.margins import Margins
from pytest_iaside.compare.two_sided import LAST_DIGITS, Subject
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.quantities import AS_ANSWERED
from pytest_iaside.stats.arrays import Floats, averaged
from pytest_iaside.thresholds import LEVEL, Limits, Thresholds, check_limits

FEWEST_IMAGES = 20
"""Images, or groups of them, below which nothing is called equivalent: what a tenth of all images
would show, 20 miss with a probability of 12 %, and 10 with 35 %."""


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

    @property
    def headline(self) -> str:
        """That the two differ, or are not shown not to; empty where they are equivalent."""
        return "" if self.verdict == "pass" else f"the candidate is {self._told}"

    @property
    def _told(self) -> str:
        differs = self.verdict == "drift"
        word = "different from" if differs else "not shown to be equivalent to"
        alone = "" if self.temperature is None else " in confidence alone"
        return f"{word} {self.original}{alone}"

    def summary(self) -> str:
        """The verdict in one line, and first what decides it."""
        verdict = self.verdict
        deciding = [check.sentence for check in self.checks if check.verdict == verdict]
        if verdict == "pass":
            return self._equivalent()
        told, more = deciding[:FEW], len(deciding) - FEW
        if more > 0:
            told.append(f"{more} more check{'s' * (more > 1)}")
        return f"{self._told}: {'; '.join(told)}"

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
    if original.model.task == "score":
        # The score as it is answered is the clean one, whose margin is in its unit, not in nats.
        answers = {name: limit for name, limit in answers.items() if name != AS_ANSWERED}
    spectral = original.kind == "spectral"
    told = roles or (f"the deployed {deployed.model.name}", f"the original {original.model.name}")
    # What else a comparison tells: its own checks are not what decides here.
    usual = Thresholds(
        direction="any", max_src_drop=None, max_sid_shift=None, max_upper_band_change=None
    )
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
    checked = [Subject(*each, level) for each in subjects]
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


def _share_of_margin(check: Check) -> float:
    farthest = max(abs(check.low), abs(check.high))
    return farthest / abs(check.limit) if check.limit else farthest


def _structured(found: Comparison) -> list[Check]:
    return [check for check in found.checks if check.name == "structured"]


def _enough(checked: list[Subject]) -> list[Check]:
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


def _notes(roles: tuple[str, str], checked: list[Subject]) -> list[str]:
    notes = [f"the candidate is {roles[0]}, the baseline {roles[1]}, both measured now"]
    if all(each.same for each in checked):
        count = checked[0].evidence.drawn
        notes.append(
            f"both answer all {count} images alike to within {LAST_DIGITS:g}; a difference that "
            f"none of them shows may still be in {min(3 / count, 1):.1%} of others"
        )
    return notes


def _image_changes(checked: list[Subject], checks: list[Check]) -> ImageChanges | None:
    """The images whose answers differ most in the quantity that decides, either way."""
    deciding = min(checks, key=lambda check: WORST_FIRST.index(check.verdict), default=None)
    if deciding is None:
        return None
    names = ("log-likelihood, clean", deciding.where)
    for where in names[::-1]:
        for one in checked:
            known = [quantity.name for quantity in one.deployed.quantities]
            if where not in known:
                continue
            column = known.index(where)
            # Where no image moved none adds to anything.
            if (one.evidence.candidate != one.evidence.baseline)[:, column].any():
                return _of_column(one, column, checked[-1])
    return None


def _of_column(one: Subject, column: int, played: Subject) -> ImageChanges:
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


def _psi(one: Measurement, spectral: bool) -> dict[str, Floats]:
    if not spectral:
        return {}
    rows = averaged(one.values, one.digests)
    return dict(zip(dict.fromkeys(one.digests), rows, strict=True))

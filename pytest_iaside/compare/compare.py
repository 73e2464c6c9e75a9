"""compare(): what changed between two measurements, image by image, and whether it is real."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from pytest_iaside.checks import check_level
from pytest_iaside.compare.answers import compare_answers, rose
from pytest_iaside.compare.changes import compare_quantities
from pytest_iaside.compare.check import Check, Verdict
from pytest_iaside.compare.comparison import Comparison, QuantityChange
from pytest_iaside.compare.drivers import image_changes
from pytest_iaside.compare.families import families_of
from pytest_iaside.compare.fit import Pairs, grouped_as, without_copies
from pytest_iaside.compare.notes import (
    baseline_notes,
    better_notes,
    cache_note,
    effective_note,
    empty_note,
    image_notes,
    score_note,
    trainings_note,
)
from pytest_iaside.compare.trades import trades
from pytest_iaside.compare.words import percent, signed, within
from pytest_iaside.errors import SettingsError
from pytest_iaside.measure.interactions import interactions_of
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.quantities import AS_ANSWERED
from pytest_iaside.stats.intervals import STUDENT, Law
from pytest_iaside.thresholds import LEVEL, Direction, Limits, Thresholds

# Where both rose, v(all) fell from L(∅) alone: the latter is at the model's own temperature, where
# another confidence raises nothing.
BETTER_ANSWERS = (AS_ANSWERED, "log-likelihood, clean", "score, clean")


def compare(
    candidate: Measurement,
    baseline: Measurement,
    thresholds: Thresholds | Limits = Thresholds(),
    *,
    answers: Limits | None = None,
    level: float = LEVEL,
    direction: Direction = "worse",
    paired: bool = True,
    law: Law = STUDENT,
    answers_level: float | None = None,
) -> Comparison:
    """Compare ``candidate`` with ``baseline`` on the images that both were measured on.

    Images are matched by digest and label, and exact copies of an image count as one. Every
    interval is of paired differences, so what images have in common cancels, and holds for all
    quantities of a family together. ``paired=False`` compares means over different images instead,
    with the wider intervals that takes. ``thresholds`` are Thresholds for spectral profiles, a
    Limit by family for others; ``direction`` (Thresholds have their own) says whether changes for
    the better count. ``answers`` are limits on how right the images are answered (SPEC.md 12), by
    default those of ``thresholds``. ``law`` is for intervals at a number of images that was not
    fixed beforehand (sequential.py), ``answers_level`` the level for answers where they were not
    looked at early, as the rest was (coarse.py).

    Raises BaselineError, naming the difference, when the two were measured by other settings,
    against other kinds of label or, unless ``paired`` is False, on another reference sample;
    SettingsError for a limit on what was not measured, or a level outside (0, 1).
    """
    check_level(level)
    if not paired and (candidate.trainings or baseline.trainings):
        raise SettingsError(
            "several trainings are compared on the same images only; leave out unpaired, or "
            "compare one training with one"
        )
    own = thresholds if isinstance(thresholds, Thresholds) else None
    limits: Limits = own.limits if own else cast(Limits, thresholds)
    direction = own.direction if own else direction
    answers = (own or Thresholds()).answer_limits if answers is None else answers
    found, evidence, rows = compare_quantities(
        candidate, baseline, limits, level=level, direction=direction, paired=paired, law=law
    )
    checks, changes, limits = list(found.checks), found.quantities, found.limits
    shown = found.level
    answered = compare_answers(
        candidate,
        baseline,
        answers,
        level=answers_level or level,
        direction=direction,
        paired=paired,
    )
    if answered is not None and _rose_all(answered):
        checks = [_of_the_empty(check) if check.name == "value" else check for check in checks]
    lead: tuple[str, ...] = ()
    if isinstance(candidate, SpectralProfile) and isinstance(baseline, SpectralProfile):
        both = candidate.take(rows[0]), baseline.take(rows[1])
        lead = _lead(*both, checks, changes, shown)
        without_bands = empty_note(*both)
        interactions = _interactions(candidate, baseline, level) if paired else ()
    else:
        without_bands, interactions = [], ()
    notes = trainings_note(candidate, baseline)
    notes += image_notes(candidate, baseline, rows, paired)
    notes += [*score_note(candidate, baseline), *baseline_notes(candidate, baseline)]
    notes += without_bands
    if candidate is not baseline:
        notes += better_notes(evidence, checks, changes, limits, direction, answered)
    told: Sequence[Check] = checks
    traded = trades(changes, answered.quantities if answered else ())
    effective = found.effective or (answered.effective if answered else ())
    if not evidence.same and candidate is not baseline:
        every = (*checks, *(answered.checks if answered else ()))
        checked = [check.where for check in every if check.name == "effective"]
        always = bool(found.effective) and not checked
        at = answered.level if answered and not found.effective else level
        notes += effective_note(effective, at, always=always, told=checked)
    notes += [f"a trade-off in {each.sentence}" for each in traded]
    if answered is not None:
        # What a gate is about comes first, but harm before the bands that it comes from.
        told = (*answered.checks, *checks) if lead else (*checks, *answered.checks)
        limits = {**answered.limits, **limits}
        notes += answered.notes
    return replace(
        found,
        limits=limits,
        checks=(*_structured(candidate, baseline), *told),
        answers=answered.quantities if answered else (),
        interactions=interactions,
        effective=effective,
        notes=(*notes, *cache_note(candidate), *candidate.notes),
        image_changes=image_changes(
            evidence, checks, families_of(candidate), candidate, without_copies(candidate, rows[0])
        ),
        lead=lead,
        led=("src", "band") if lead else (),
        answered_at=None if answered is None else answered.level,
        on_the_same_images=(_only(candidate, rows[0]), _only(baseline, rows[1])),
    )


def _interactions(
    candidate: SpectralProfile, baseline: SpectralProfile, level: float
) -> tuple[QuantityChange, ...]:
    """The change of the interaction of every pair of bands; none where either has no table."""
    ours, theirs = interactions_of(candidate), interactions_of(baseline)
    if ours is None or theirs is None:
        return ()
    unlimited: Limits = {}
    found, _, _ = compare_quantities(
        ours, theirs, unlimited, level=level, direction="any", paired=True
    )
    return found.quantities


def _only(one: Measurement, rows: Pairs) -> Measurement:
    """``one`` with the images ``rows`` alone; what it took to run stays."""
    if len(rows) == len(one):
        return one
    passes = ("forward_passes", "passes_from_cache")
    return replace(one.take(rows), **{name: getattr(one, name) for name in passes})


def _rose_all(answers: Comparison) -> bool:
    known = {each.name for each in answers.quantities}
    return all(rose(answers, name) for name in BETTER_ANSWERS if name in known)


def _of_the_empty(check: Check) -> Check:
    """The check of v(all) where L(all) rose: it fell because L(∅) rose more, which is no loss."""
    if check.verdict not in ("drift", "inconclusive"):
        return check
    told = f"{check.sentence}; L(all) rose, and L(∅) more, which is no loss"
    return replace(check, verdict="nothing found", sentence=told)


def _structured(candidate: Measurement, baseline: Measurement) -> list[Check]:
    """Whether anything can be read off the two: no gate passes where not.

    Always there for spectral profiles, which may have no structure; else where something is wrong.
    """
    reasons = [
        f"{whose} is unstructured: {one.unstructured_because}"
        for whose, one in (("the candidate", candidate), ("the baseline", baseline))
        if not one.structured
    ]
    if not reasons and candidate.kind != "spectral":
        return []
    verdict: Verdict = "inconclusive" if reasons else "pass"
    # A model that lost its structure has changed; one that never had it decides nothing, nor does
    # a sample that is said to have fewer groups than before.
    before = grouped_as(baseline, candidate)
    if reasons and baseline.structured and before.structured and len(candidate) > 1:
        verdict = "drift"
    check = Check(
        name="structured",
        baseline=float(baseline.structured),
        candidate=float(candidate.structured),
        change=0.0,
        low=0.0,
        high=0.0,
        limit=0.0,
        verdict=verdict,
        where="; ".join(reasons),
        sentence="; ".join(reasons),
    )
    return [check]


def _lead(
    candidate: SpectralProfile,
    baseline: SpectralProfile,
    checks: list[Check],
    changes: tuple[QuantityChange, ...],
    level: float,
) -> tuple[str, ...]:
    """The score, and the band that decides, or else the one that moved the most."""
    unit = candidate.model.unit
    negative = candidate.signed_src < 0 or baseline.signed_src < 0
    line = (
        f"signed SRC {signed(baseline.signed_src)} → {signed(candidate.signed_src)}"
        if negative
        else f"SRC {baseline.src:.3f} → {candidate.src:.3f}"
    )
    told = {check.name: check for check in checks}
    if src := told.get("src"):
        line += f" ({signed(src.change)}, {within(src, level, signed)})"
    band = told.get("band")
    if band and band.verdict != "pass":
        fall = next(each.change for each in changes if each.name == band.where)
        change = f"{percent(band.change)} of v(all), {within(band, level, percent)}"
        return line, f"{band.where} {signed(fall, 2)} {unit} ({change})"
    return (line, *moved_most(changes, unit))


def moved_most(changes: tuple[QuantityChange, ...], unit: str) -> tuple[str, ...]:
    """The band whose ψ, in ``unit``, fell the most, or else moved the most, of those that moved."""
    moved = [each for each in changes if each.moved]
    fallen = [each for each in moved if each.change < 0]
    worst = min(fallen or moved, key=lambda each: -abs(each.change), default=None)
    return (f"{worst.name} {signed(worst.change, 2)} {unit}",) if worst else ()

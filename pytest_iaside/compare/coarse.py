"""Coarse to fine: which look at a candidate decides, and what is looked at next (SPEC.md 13, 14).

What a pass is worth comes first: answers, of which a drift is red whatever the game would add; then
some of the game, held against the same coalitions of the baseline's table; then all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pytest_iaside.compare.answers import alike, compare_alike, compare_answers
from pytest_iaside.compare.changes import SAME_ANSWERS, at_own_temperature
from pytest_iaside.compare.check import Check
from pytest_iaside.compare.compare import compare, moved_most
from pytest_iaside.compare.comparison import OF_BANDS, Comparison
from pytest_iaside.compare.fit import pair
from pytest_iaside.execute.steady import agree
from pytest_iaside.measure.game.coalitions import plan
from pytest_iaside.measure.game.growing import GrowingGame, Turn, read_by, read_off
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.structured import NO_BAND
from pytest_iaside.thresholds import Thresholds

EARLY = 50
"""An early look has a fiftieth of the error that the last one may make: so small a part leaves the
last look its own, nearly (Haybittle 1971, Peto 1976)."""
DRIVING = 32
"""Images that a gate is looked into where the answers alone are red, or half of all."""


def early_level(level: float) -> float:
    """The confidence of a look before the last."""
    return 1 - (1 - level) / EARLY


def red_by_answers(
    answers: Measurement, baseline: Measurement, thresholds: Thresholds, level: float
) -> Comparison | None:
    """The comparison of the answers where it is drift: then the gate is red, whatever follows.

    It is the very check that a gate makes at its end, of all images: nothing is looked at twice.
    ``baseline`` is one that has answers.
    """
    assert baseline.answers is not None
    found = compare_alike(
        *alike(answers, baseline.answers),
        thresholds.answer_limits,
        level=level,
        direction=thresholds.direction,
    )
    return found if found.verdict == "drift" else None


def same_answers(answers: Measurement, baseline: Measurement) -> bool:
    """Whether every image is answered as before, to the last digits."""
    assert baseline.answers is not None
    answers, theirs = alike(answers, baseline.answers)
    rows = pair(answers, theirs)
    if len(rows[0]) < len(answers):
        return False
    some = at_own_temperature(answers)
    ours, before = (
        one.values[at][:, some] for one, at in zip((answers, theirs), rows, strict=True)
    )
    return bool((np.abs(ours - before) <= SAME_ANSWERS).all())


def looked_into(images: int) -> int:
    """How many of so many images say which bands lost where the answers alone are red."""
    return min(images, max(DRIVING, images // 2))


def driving(red: Comparison) -> list[str]:
    """The digests of all images, those first that moved most the way in which answers are red.

    Where better ones are red as well (``direction="any"``), that may be up.
    """
    check = next(check for check in red.checks if check.verdict == "drift")
    names = [quantity.name for quantity in red.candidate.quantities]
    rows = pair(red.candidate, red.baseline)
    both = zip((red.candidate, red.baseline), rows, strict=True)
    ours, theirs = (one.values[some] for one, some in both)
    moved = (ours - theirs) * (-1 if check.change > 0 else 1)
    # Hits move or do not: of images that moved as much, those whose label got least likely.
    clean = ("log-likelihood, clean", "score, clean")
    likely = next(at for at, name in enumerate(names) if name in clean)
    # What is read off several quantities is none of them.
    where = names.index(check.where) if check.where in names else likely
    first, then = moved[:, where], moved[:, likely]
    found = dict.fromkeys(red.candidate.digests[rows[0][at]] for at in np.lexsort((then, first)))
    return list(found)


def along(design: Turn, profile: SpectralProfile) -> SpectralProfile:
    """The profile as what ``design`` plays alone shows it, of one that has its whole table."""
    assert profile.log_likelihood is not None
    rules = read_by(design, profile.rules)
    psi, by_size = read_off(profile.log_likelihood, rules, profile.digests)
    return replace(profile, values=psi, by_size=by_size, log_likelihood=None, rules=rules)


def tables_agree(game: GrowingGame, baseline: SpectralProfile) -> bool:
    """Whether all that was played is what the baseline's table says, to the last digits.

    Those of float32 whatever the precision: two backends may differ by a tenth of a nat in
    bfloat16, and so may two models.
    """
    if baseline.log_likelihood is None:
        return False
    place = {digest: row for row, digest in enumerate(baseline.digests)}
    known: Floats = baseline.log_likelihood[[place[each] for each in game.game.sample.digests]]
    played = ~np.isnan(game.table)
    return agree(game.table[played], known[played])


def compare_red(
    candidate: SpectralProfile, baseline: Measurement, thresholds: Thresholds, level: float
) -> Comparison:
    """The comparison where the answers alone are red; ``candidate`` is of some images.

    What bands lost is told of these, and decides nothing.
    """
    found = compare(
        candidate,
        baseline,
        {},
        answers=thresholds.answer_limits,
        level=level,
        direction=thresholds.direction,
    )
    answered = compare_answers(
        candidate, baseline, thresholds.answer_limits, level=level, direction=thresholds.direction
    )
    assert answered is not None
    told = (
        "; ".join(moved_most(found.quantities, found.candidate.model.unit))
        or "which band lost cannot be told"
    )
    tail = (f"of the {found.images} images that moved most: {told}",)
    note = (
        f"the answers to all {answered.images} images decide; what bands lost is of the "
        f"{found.images} images that moved most, and decides nothing: its intervals hold for no "
        "others"
    )
    return replace(
        found,
        checks=tuple(check for check in found.checks if check.name != "structured"),
        images=answered.images,
        groups=answered.groups,
        lead=(),
        led=(),
        tail=tail,
        notes=(note, *found.notes),
    )


def compare_early(
    candidate: SpectralProfile, baseline: SpectralProfile, thresholds: Thresholds, level: float
) -> Comparison:
    """The comparison of a design, with the confidence of an early look; answers have their own."""
    found = compare(candidate, baseline, thresholds, level=early_level(level), answers_level=level)
    return replace(found, notes=(_played(candidate), *found.notes))


def _played(candidate: SpectralProfile) -> str:
    rules = candidate.rules
    return (
        f"decided by {len(plan(rules.design, rules.bands, '').coalitions)} of {2**rules.bands} "
        f"coalitions of each image (design {rules.design}), and the same of the baseline: its own "
        "numbers, too, differ a little from those of all coalitions"
    )


def decided(early: Comparison, usual: Callable[[], Comparison]) -> bool:
    """Whether more of the game would change nothing: drift, or no check of it is undecided.

    ``usual`` compares the same at the gate's own level. An interval that is wide finds nothing
    where there is something: what found nothing early is decided only where it finds no change at
    that level either. Nor is it certain by a design, which has noise of its own, that bands
    cannot be told apart. What the answers leave undecided the game does not decide either.
    """
    noisy = NO_BAND in early.candidate.unstructured_because
    lost = [check.name for check in early.checks if check.verdict == "drift"]
    if set(lost) - ({"structured"} if noisy else set()):
        return True
    checks = of_the_game(early)
    if lost or any(check.verdict == "inconclusive" for check in checks):
        return False
    unseen = {check.name for check in checks if check.verdict == "nothing found"}
    return not unseen or not any(
        check.changed or check.verdict == "inconclusive"
        for check in of_the_game(usual())
        if check.name in unseen
    )


def of_the_game(comparison: Comparison) -> list[Check]:
    """The checks of the game."""
    return [check for check in comparison.checks if check.name in ("structured", *OF_BANDS)]


def cut_short(comparison: Comparison, told: str, *, some: bool) -> Comparison:
    """``comparison`` where a budget did not allow all; of ``some`` images, or of all.

    What was not looked at is not green: of some images nothing of the game passes. Nor is it red:
    where the baseline's own game tells nothing of so few images, the candidate's need not.
    """
    checks, notes = [], [told]
    for check in comparison.checks:
        if some and check.name == "structured" and not comparison.baseline.structured:
            notes.append(f"too few images for the game: {comparison.baseline.unstructured_because}")
        elif some and check.name in OF_BANDS and check.verdict in ("pass", "nothing found"):
            checks.append(replace(check, verdict="inconclusive"))
        else:
            checks.append(check)
    return replace(comparison, checks=tuple(checks), notes=(*notes, *comparison.notes))

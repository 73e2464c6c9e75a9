"""What a reader should know of a comparison besides its checks."""

from collections.abc import Iterable, Sequence

import numpy as np

from pytest_iaside.compare.answers import rose, worse
from pytest_iaside.compare.check import Check
from pytest_iaside.compare.comparison import Comparison, QuantityChange
from pytest_iaside.compare.effective import BEYOND, PLACE
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.compare.fit import DEFINITIONS, Pairs, groups_at, groups_of, without_copies
from pytest_iaside.compare.words import confidence, in_unit, nats, points
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.quantities import AS_ANSWERED
from pytest_iaside.stats.groups import joined, typical_size
from pytest_iaside.thresholds import Direction, Limit, Limits

MANY_TRAININGS = 8
"""On both sides together, from which on more of them help little (docs/calibration.md)."""
MOST_TOLD = 3
"""Perturbations of which a note tells what clean accuracy does not explain."""
# Of v(all): changes of L(∅) that are told.
EMPTY_SHARE = 0.05


def image_notes(
    candidate: Measurement, baseline: Measurement, rows: tuple[Pairs, Pairs], paired: bool
) -> list[str]:
    """Which images were compared, where that does not go without saying."""
    notes = _copies_notes(candidate, baseline, rows, paired)
    notes += _group_notes(candidate, baseline, rows, paired)
    fewer = min(len(candidate), len(baseline))
    if paired and len(rows[0]) < fewer:
        notes.append(f"only {len(rows[0])} of {fewer} images could be paired")
    if not paired:
        notes.append(
            f"unpaired: {len(rows[0])} images of the candidate, {len(rows[1])} of the baseline: "
            "what images have in common does not cancel, and intervals are wider"
        )
        return notes
    differ = candidate.labels[rows[0]] != baseline.labels[rows[1]]
    other = int(differ.reshape(len(differ), -1).any(axis=1).sum())
    note = (
        f"the predicted labels of {other} of {len(differ)} images differ: each model is "
        "scored on its own predictions"
    )
    return [*notes, note] if other else notes


def trainings_note(candidate: Measurement, baseline: Measurement) -> list[str]:
    """How many trainings are compared, and what their intervals say; nothing of single ones."""
    ours, theirs = (len(one.trainings) or 1 for one in (candidate, baseline))
    if ours + theirs == 2 or candidate is baseline:
        return []
    few = "; more trainings see more" if ours + theirs < MANY_TRAININGS else ""
    return [
        f"{ours} training{'s' * (ours > 1)} against {theirs} of the baseline: intervals say how "
        f"far another training of the same recipe would lie ({ours + theirs - 2} degrees of "
        f"freedom{few})"
    ]


def baseline_notes(candidate: Measurement, baseline: Measurement) -> list[str]:
    """What the baseline does not hold, so that it could not be compared."""
    notes = []
    if candidate.answers and not baseline.answers:
        notes.append(
            "the baseline was made by version 0.1, which kept no accuracy and no log-likelihood: "
            "make it anew, so that these are compared, too"
        )
    elif candidate.answers and baseline.answers:
        panels = [one.settings["panel"] for one in (candidate.answers, baseline.answers)]
        if panels[0] and not panels[1]:
            notes.append(
                "the baseline was measured without a panel of perturbations, so only answers to "
                "the images as they are were compared: make it anew"
            )
        elif not panels[0] and candidate.kind == "spectral":
            whose = "the candidate was" if panels[1] else "both were"
            notes.append(
                f"{whose} measured without a panel of perturbations, so that a loss under them "
                'is not seen: measure with panel="auto"'
            )
    defined = candidate.settings.get(DEFINITIONS, {})
    if DEFINITIONS not in baseline.settings and any(k != v for k, v in defined.items()):
        notes.append(
            "the baseline was made by version 0.1, which kept only the names of perturbations: "
            "make it anew, so that a change of what a name stands for is found"
        )
    return notes


def score_note(candidate: Measurement, baseline: Measurement) -> list[str]:
    """That a score of the user's own has other code than before: it may count something else."""
    ours, theirs = candidate.model, baseline.model
    if not ours.score_code or not theirs.score_code or ours.score_code == theirs.score_code:
        return []
    return [
        f"the score's code changed since the baseline: {ours.score} is not what it was, and may "
        "count something else, so that the two numbers cannot be compared; if it does, give it "
        "another name, or make a new baseline with the old model"
    ]


BETTER = "better than the baseline"


def empty_note(candidate: SpectralProfile, baseline: SpectralProfile) -> list[str]:
    """L(∅) before and after where it moved: v(all) counts from there, and rises where it falls."""
    before, after = (float(one.by_size[:, 0].mean()) for one in (baseline, candidate))
    if abs(after - before) <= EMPTY_SHARE * abs(baseline.value):
        return []
    told = (
        f"L(∅), the log-likelihood of the label without any band, went from {nats(before)} to "
        f"{nats(after)} nats: v(all) and every ψ count from there"
    )
    return [in_unit(told, candidate.model.unit)]


def cache_note(candidate: Measurement) -> list[str]:
    """How much of what was kept was looked at again."""
    known, again = candidate.passes_from_cache, candidate.passes_replayed
    return [f"cached, {again:,} of {known:,} passes replayed"] if known and again else []


def better_notes(
    evidence: Evidence,
    checks: list[Check],
    changes: tuple[QuantityChange, ...],
    limits: Limits,
    direction: Direction,
    answered: Comparison | None,
) -> list[str]:
    """What improved by more than may be lost; nothing where answers got worse, or that is drift."""
    if evidence.same and (answered is None or not answered.changed):
        return ["both models give the same answers to every image"]
    if direction == "any" or (answered and worse(answered)):
        return []
    if any(check.verdict == "drift" for check in checks):
        gains = [] if answered is None else _gains(answered.quantities, answered.limits)
        note = (
            f"the answers are better by more than may be lost ({', '.join(gains)}), but what the "
            "model makes of the bands drifted: look at them before the change is accepted"
        )
        return [note] if gains else []
    titles = {"src": "signed SRC", "sid": "SID", "value": "v(all)"}
    if answered and not rose(answered, AS_ANSWERED):
        del titles["value"]  # It counts from L(∅), which may have fallen instead.
    better = [titles[c.name] for c in checks if c.name in titles and c.low > -c.limit]
    if answered is not None:
        better += _gains(answered.quantities, answered.limits)
    better += _gains(changes, limits)
    note = (
        f"{BETTER} by more than may be lost ({', '.join(better)}): refresh the test's baseline, so "
        "that the gain is kept"
    )
    return [note] if better else []


def _gains(changes: Iterable[QuantityChange], limits: Limits) -> list[str]:
    """The quantities that improved by more than may be lost.

    A band's limit is a share of v(all): what improves there is told by v(all) itself. mPE falls
    where a model collapses (SPEC.md 14).
    """
    found = []
    for each in changes:
        allowed = limits.get(each.family, Limit()).change
        gain = each.low if each.better == "higher" else -each.high
        if allowed is not None and each.family not in ("band", "mpe") and gain > allowed:
            found.append(each.name)
    return found


def _copies_notes(
    candidate: Measurement, baseline: Measurement, rows: tuple[Pairs, Pairs], paired: bool
) -> list[str]:
    """How many images are copies; of pairs both have as many."""
    notes = []
    whose = ("images",) if paired else ("images of the candidate", "images of the baseline")
    for what, one, some in zip(whose, (candidate, baseline), rows, strict=False):
        copies = len(some) - len(without_copies(one, some))
        told = "are exact copies of others: each counts once"
        if copies == 1:
            told = "is an exact copy of another: the two count once"
        if copies:
            notes.append(f"{copies} of {len(some)} {what} {told}")
    return notes


def _group_notes(
    candidate: Measurement, baseline: Measurement, rows: tuple[Pairs, Pairs], paired: bool
) -> list[str]:
    """Which images belong together, where that does not go without saying."""
    ours, theirs = (
        groups_at(one, some) for one, some in zip((candidate, baseline), rows, strict=True)
    )
    digests = [candidate.digests[row] for row in rows[0].tolist()]
    notes, what = [], "every interval is over groups"
    if paired and ours is None and theirs is not None:
        notes.append(
            f"the reference sample gives no groups, and those of the baseline count: {what}; give "
            "them to the sample as well"
        )
    elif paired and ours is not None and theirs is None:
        notes.append(
            "the baseline was made without groups, and those of the reference sample count: "
            f"{what}; make it anew, so that it holds them"
        )
    elif paired and ours is not None and theirs is not None:
        numbers = (joined(digests, each) for each in (ours, theirs))
        first, second = (None if each is None else each.tolist() for each in numbers)
        if first != second:
            notes.append(
                "the groups are others than the baseline's: images count as together that are so "
                "in either; make a new baseline if those of the reference sample are right"
            )
    elif (ours is None) != (theirs is None):
        whose = ("baseline", "candidate") if ours is None else ("candidate", "baseline")
        notes.append(
            f"only the {whose[0]}'s images come in groups; those of the {whose[1]} count as "
            "independent"
        )
    owners: dict[str, set[str]] = {}
    for digest, group in zip(digests, ours or (), strict=False):
        owners.setdefault(digest, set()).add(group)
    if split := sum(len(some) > 1 for some in owners.values()):
        notes.append(
            f"exact copies of {split} image{'s' * (split != 1)} are in different groups, which "
            "count as one"
        )
    for groups in groups_of(candidate, baseline, rows, paired=paired)[: 1 if paired else 2]:
        if groups is not None:
            sizes = np.bincount(groups)
            count, images = len(sizes), len(groups)
            if images / typical_size(groups, images) < count / 2:
                notes.append(
                    f"the largest of {count} groups holds {sizes.max()} of {images} images: they "
                    "decide little more than it does; take fewer of them"
                )
    return notes


def effective_note(
    changes: Sequence[QuantityChange], level: float, *, always: bool, told: Sequence[str]
) -> list[str]:
    """What was lost under which perturbations, the most first, in one sentence.

    Those are told that noise does not explain; with ``always`` otherwise the one that lost the
    most. What a check in ``told`` says already is left out, and so are gains: a model that is wrong
    everywhere is above the line.
    """
    some = sorted((each for each in changes if each.name not in told), key=lambda each: each.change)
    lost = [each for each in some if each.moved and each.change < 0][:MOST_TOLD]
    unmoved = [each for each in some if not each.moved][: int(always)]
    parts = [
        f"{each.name.removeprefix(PLACE)} {points(each.change)} points "
        f"({confidence(level)} {points(each.low)}…{points(each.high)})"
        for each in lost or unmoved
    ]
    nothing = "" if lost else ", which noise explains"
    return [f"{BEYOND}: {', '.join(parts)}{nothing}"] if parts else []

"""compare(): what changed between two measurements, image by image, and whether it is real."""

from pytest_iaside.checks import check_level
from pytest_iaside.compare.check import Check, Verdict
from pytest_iaside.compare.comparison import Comparison, QuantityChange
from pytest_iaside.compare.drivers import image_changes
from pytest_iaside.compare.evidence import Evidence, by_family
from pytest_iaside.compare.families import families_of, run_checks
from pytest_iaside.compare.fit import (
    DEFINITIONS,
    Pairs,
    by_digest,
    pair,
    require_same_measurement,
    without_copies,
)
from pytest_iaside.compare.words import percent, signed, within
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.arrays import averaged
from pytest_iaside.stats.intervals import STUDENT, Law, holm
from pytest_iaside.stats.structured import RESOLUTION as PSI_RESOLUTION
from pytest_iaside.thresholds import LEVEL, Direction, Limit, Limits, Thresholds

# Answers that differ by less than this, on every image and in every quantity, are the same: other
# batch sizes and backends move them by so much.
RESOLUTION = 1e-4


def compare(
    candidate: Measurement,
    baseline: Measurement,
    thresholds: Thresholds | Limits = Thresholds(),
    *,
    level: float = LEVEL,
    direction: Direction = "worse",
    paired: bool = True,
    law: Law = STUDENT,
) -> Comparison:
    """Compare ``candidate`` with ``baseline`` on the images that both were measured on.

    Images are matched by digest and label, and exact copies of an image count as one. Every
    interval is of paired differences, so what images have in common cancels, and holds for all
    quantities of a family together. ``paired=False`` compares means over different images instead,
    with the wider intervals that takes. ``thresholds`` are Thresholds for spectral profiles, a
    Limit by family for others; ``direction`` (Thresholds have their own) says whether changes for
    the better count. ``law`` is for intervals at a number of images that was not fixed beforehand
    (sequential.py).

    Raises BaselineError, naming the difference, when the two were measured by other settings,
    against other kinds of label or, unless ``paired`` is False, on another reference sample;
    SettingsError for a limit on what was not measured, or a level outside (0, 1).
    """
    check_level(level)
    limits, direction = limits_of(thresholds, direction)
    require_same_measurement(candidate, baseline, paired=paired)
    rows = pair(candidate, baseline) if paired else (by_digest(candidate), by_digest(baseline))
    evidence = evidence_of(candidate, baseline, rows, level, paired=paired, law=law)
    families = families_of(candidate)
    checks = run_checks(evidence, families, limits, direction)
    changes = quantity_changes(evidence)
    lead: tuple[str, ...] = ()
    if isinstance(candidate, SpectralProfile) and isinstance(baseline, SpectralProfile):
        checks.insert(0, _structured(candidate, baseline))
        lead = _lead(candidate, baseline, checks, changes, level)
    notes = _image_notes(candidate, baseline, rows, paired)
    answered: tuple[Check, ...] = ()
    if isinstance(thresholds, Thresholds):
        answers = compare_answers(
            candidate, baseline, thresholds, level=level, paired=paired, law=law
        )
        answered = answers.checks if answers else ()
        if candidate.answers and not baseline.answers:
            notes.append(
                "the baseline was made by version 0.1, which kept no accuracy and no log-likelihood: "
                "make it anew, so that these are compared, too"
            )
    defined = candidate.settings.get(DEFINITIONS, {})
    if DEFINITIONS not in baseline.settings and any(k != v for k, v in defined.items()):
        notes.append(
            "the baseline was made by version 0.1, which kept only the names of perturbations: "
            "make it anew, so that a change of what a name stands for is found"
        )
    if candidate is not baseline:
        notes += _notes(evidence, checks, changes, limits, direction, answered)
    notes += candidate.notes
    return Comparison(
        candidate=candidate,
        baseline=baseline,
        limits=limits,
        direction=direction,
        level=level,
        images=len(evidence.candidate),
        checks=(*answered, *checks),
        quantities=changes,
        notes=tuple(notes),
        image_changes=image_changes(
            evidence, checks, families, candidate, without_copies(candidate, rows[0])
        ),
        lead=lead,
        led=("src", "band") if lead else (),
    )


def limits_of(
    thresholds: Thresholds | Limits, direction: Direction
) -> tuple[Limits, Direction]:
    """The limits that ``thresholds`` give, and which changes count."""
    if isinstance(thresholds, Thresholds):
        return thresholds.limits, thresholds.direction
    return thresholds, direction


def compare_answers(
    candidate: Measurement,
    baseline: Measurement,
    thresholds: Thresholds,
    *,
    level: float = LEVEL,
    paired: bool = True,
    law: Law = STUDENT,
) -> Comparison | None:
    """How the answers to the images as they are changed; None where either holds none."""
    if candidate.answers is None or baseline.answers is None:
        return None
    return compare(
        candidate.answers,
        baseline.answers,
        thresholds.answer_limits,
        level=level,
        direction=thresholds.direction,
        paired=paired,
        law=law,
    )


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
    first, second = (
        averaged(one.values[some], [one.digests[row] for row in some])
        for one, some in zip((candidate, baseline), rows, strict=True)
    )
    return Evidence(
        first,
        second,
        candidate.quantities,
        level,
        paired=paired,
        law=law,
        # ψ are compared with a resolution of their own, one by one.
        resolution=0.0 if candidate.kind == "spectral" else RESOLUTION,
    )


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


def _image_notes(
    candidate: Measurement, baseline: Measurement, rows: tuple[Pairs, Pairs], paired: bool
) -> list[str]:
    notes = _copies_notes(candidate, baseline, rows, paired)
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


def _notes(
    evidence: Evidence,
    checks: list[Check],
    changes: tuple[QuantityChange, ...],
    limits: Limits,
    direction: Direction,
    answered: tuple[Check, ...],
) -> list[str]:
    """What improved by more than may be lost; nothing where that is drift, or answers got worse."""
    if evidence.same:
        return ["both models give the same answers to every image"]
    fell = any(check.changed and check.change < 0 for check in answered)
    if direction == "any" or fell or any(check.verdict == "drift" for check in answered):
        return []
    titles = {"src": "signed SRC", "sid": "SID", "value": "v(all)"}
    better = [titles[c.name] for c in checks if c.name in titles and c.low > -c.limit]
    for each in changes:
        allowed = limits.get(each.family, Limit()).change
        gain = each.low if each.better == "higher" else -each.high
        # A band's limit is a share of v(all): what improves there is told by v(all) itself.
        if allowed is not None and each.family != "band" and gain > allowed:
            better.append(each.name)
    note = (
        f"better than the baseline by more than may be lost ({', '.join(better)}): refresh the "
        "test's baseline, so that the gain is kept (run it alone with --iaside-update=all)"
    )
    return [note] if better else []


def _structured(candidate: SpectralProfile, baseline: SpectralProfile) -> Check:
    reasons = [
        f"{whose} is unstructured: {profile.unstructured_because}"
        for whose, profile in (("the candidate", candidate), ("the baseline", baseline))
        if not profile.structured
    ]
    verdict: Verdict = "inconclusive" if reasons else "pass"
    # A model that lost its structure has changed; one that never had it decides nothing.
    if reasons and baseline.structured and len(candidate) > 1:
        verdict = "drift"
    return Check(
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


def _lead(
    candidate: SpectralProfile,
    baseline: SpectralProfile,
    checks: list[Check],
    changes: tuple[QuantityChange, ...],
    level: float,
) -> tuple[str, ...]:
    """The score, and the band that decides, or else the one that moved the most."""
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
        return line, f"{band.where} {signed(fall, 2)} nats ({change})"
    return (line, *moved_most(changes))


def moved_most(changes: tuple[QuantityChange, ...]) -> tuple[str, ...]:
    """The band whose ψ fell the most, or else moved the most, of those that moved."""
    moved = [each for each in changes if each.moved]
    fallen = [each for each in moved if each.change < 0]
    worst = min(fallen or moved, key=lambda each: -abs(each.change), default=None)
    return (f"{worst.name} {signed(worst.change, 2)} nats",) if worst else ()

"""compare(): what changed between two measurements, image by image, and whether it is real."""

from dataclasses import replace
from typing import cast

import numpy as np

from pytest_iaside.checks import check_level
from pytest_iaside.compare.check import Check, Verdict
from pytest_iaside.compare.comparison import Comparison, QuantityChange
from pytest_iaside.compare.drivers import image_changes
from pytest_iaside.compare.evidence import Evidence, by_family
from pytest_iaside.compare.families import families_of, run_checks
from pytest_iaside.compare.fit import DEFINITIONS, Pairs, by_digest, pair, require_same_measurement
from pytest_iaside.compare.words import percent, signed, within
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import AS_ANSWERED, INFORMATION, TEMPERATURE, clean_answers
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.intervals import STUDENT, Law, holm
from pytest_iaside.stats.structured import RESOLUTION as PSI_RESOLUTION
from pytest_iaside.thresholds import LEVEL, Direction, Limit, Limits, Thresholds

# Answers that differ by less than this, on every image and in every quantity, are the same: other
# batch sizes and backends move them by so much.
RESOLUTION = 1e-4
# Answers at each model's own temperature that differ by less are the same, and so are temperatures
# whose ratio is this near to one: what is fitted carries the rounding of all images.
SAME_ANSWERS = 2e-3
SAME_TEMPERATURE = 0.01
AT_ANY_TEMPERATURE = (TEMPERATURE, AS_ANSWERED, INFORMATION)
"""Quantities of answers that another confidence moves."""


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
) -> Comparison:
    """Compare ``candidate`` with ``baseline`` on the images that both were measured on.

    Images are matched by digest; every interval is of paired differences, so what images have in
    common cancels, and holds for all quantities of a family together. ``paired=False`` compares
    means over different images instead, with the wider intervals that takes. ``thresholds`` are
    Thresholds for spectral profiles, a Limit by family for others; ``direction`` (Thresholds have
    their own) says whether changes for the better count. ``answers`` are limits on how right the
    images are answered (SPEC.md 12), by default those of ``thresholds``. ``law`` is for intervals
    at a number of images that was not fixed beforehand (sequential.py).

    Raises BaselineError, naming the difference, when the two were measured by other settings,
    against other kinds of label or, unless ``paired`` is False, on another reference sample;
    SettingsError for a limit on what was not measured, or a level outside (0, 1).
    """
    check_level(level)
    own = thresholds if isinstance(thresholds, Thresholds) else None
    limits: Limits = own.limits if own else cast(Limits, thresholds)
    direction = own.direction if own else direction
    answers = (own or Thresholds()).answer_limits if answers is None else answers
    require_same_measurement(candidate, baseline, paired=paired)
    rows = pair(candidate, baseline) if paired else (by_digest(candidate), by_digest(baseline))
    evidence = evidence_of(candidate, baseline, rows, level, paired=paired, law=law)
    families = families_of(candidate)
    checks = run_checks(evidence, families, limits, direction)
    changes = quantity_changes(evidence)
    answered = compare_answers(
        candidate, baseline, answers, level=level, direction=direction, paired=paired
    )
    lead: tuple[str, ...] = ()
    if isinstance(candidate, SpectralProfile) and isinstance(baseline, SpectralProfile):
        lead = _lead(candidate, baseline, checks, changes, level)
    notes = _image_notes(candidate, baseline, rows, paired)
    notes += _baseline_notes(candidate, baseline)
    if candidate is not baseline:
        notes += _notes(evidence, checks, changes, limits, direction, answered)
    if answered is not None:
        limits = {**answered.limits, **limits}
        notes += answered.notes
    return Comparison(
        candidate=candidate,
        baseline=baseline,
        limits=limits,
        direction=direction,
        level=level,
        images=len(rows[0]),
        checks=(*_structured(candidate, baseline), *(answered.checks if answered else ()), *checks),
        quantities=changes,
        answers=answered.quantities if answered else (),
        notes=(*notes, *candidate.notes),
        image_changes=image_changes(evidence, checks, families, candidate, rows[0]),
        lead=lead,
        led=("src", "band") if lead else (),
    )


def compare_answers(
    candidate: Measurement,
    baseline: Measurement,
    limits: Limits,
    *,
    level: float = LEVEL,
    direction: Direction = "worse",
    paired: bool = True,
) -> Comparison | None:
    """How right the images are answered, before and after; None where either does not say.

    Under the panel where both have it, else the images as they are. Labels that a model predicted
    itself have no accuracy (SPEC.md 12).
    """
    if candidate.answers is None or baseline.answers is None:
        return None
    ours, theirs = candidate.answers, baseline.answers
    if not (ours.settings["panel"] and theirs.settings["panel"]):
        ours, theirs = clean_answers(ours), clean_answers(theirs)
    families = {quantity.family for quantity in ours.quantities}
    if candidate.reference.labels == "predicted":
        families = {family for family in families if not family.endswith("accuracy")}
    found = compare_quantities(
        ours,
        theirs,
        {family: limit for family, limit in limits.items() if family in families},
        level=level,
        direction=direction,
        paired=paired,
    )
    same = candidate is baseline
    return replace(found, notes=() if same else tuple(_temperature_note(found)))


def compare_quantities(
    candidate: Measurement,
    baseline: Measurement,
    limits: Limits,
    *,
    level: float,
    direction: Direction,
    paired: bool,
) -> Comparison:
    """The quantities of two measurements alone, without answers and notes; raises as compare()."""
    require_same_measurement(candidate, baseline, paired=paired)
    rows = pair(candidate, baseline) if paired else (by_digest(candidate), by_digest(baseline))
    evidence = evidence_of(candidate, baseline, rows, level, paired=paired)
    return Comparison(
        candidate=candidate,
        baseline=baseline,
        limits=limits,
        direction=direction,
        level=level,
        images=len(rows[0]),
        checks=tuple(run_checks(evidence, families_of(candidate), limits, direction)),
        quantities=quantity_changes(evidence),
    )


def explained_by_temperature(candidate: Measurement, baseline: Measurement) -> float | None:
    """The ratio of the temperatures of two models' answers where that alone tells them apart.

    None where the temperatures are the same, or something else differs on any image both answered.
    """
    rows = pair(candidate, baseline)
    ours, theirs = (one.values[some] for one, some in zip((candidate, baseline), rows, strict=True))
    names = [quantity.name for quantity in candidate.quantities]
    ratio = float(ours[0, names.index(TEMPERATURE)] / theirs[0, names.index(TEMPERATURE)])
    shown = [
        at for at, each in enumerate(candidate.quantities) if each.family not in AT_ANY_TEMPERATURE
    ]
    alike = np.allclose(ours[:, shown], theirs[:, shown], rtol=0, atol=SAME_ANSWERS)
    return ratio if alike and abs(ratio - 1) > SAME_TEMPERATURE else None


def evidence_of(
    candidate: Measurement,
    baseline: Measurement,
    rows: tuple[Pairs, Pairs],
    level: float,
    *,
    paired: bool = True,
    law: Law = STUDENT,
) -> Evidence:
    """Those rows of both as evidence, in pairs where ``paired``."""
    return Evidence(
        candidate.values[rows[0]],
        baseline.values[rows[1]],
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
    if not paired:
        return [
            f"unpaired: {len(rows[0])} images of the candidate, {len(rows[1])} of the baseline: "
            "what images have in common does not cancel, and intervals are wider"
        ]
    differ = candidate.labels[rows[0]] != baseline.labels[rows[1]]
    other = int(differ.reshape(len(differ), -1).any(axis=1).sum())
    note = (
        f"the predicted labels of {other} of {len(differ)} images differ: each model is "
        "scored on its own predictions"
    )
    return [note] if other else []


def _baseline_notes(candidate: Measurement, baseline: Measurement) -> list[str]:
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
    defined = candidate.settings.get(DEFINITIONS, {})
    if DEFINITIONS not in baseline.settings and any(k != v for k, v in defined.items()):
        notes.append(
            "the baseline was made by version 0.1, which kept only the names of perturbations: "
            "make it anew, so that a change of what a name stands for is found"
        )
    return notes


def _temperature_note(answers: Comparison) -> list[str]:
    """What a change of confidence alone is called."""
    if explained_by_temperature(answers.candidate, answers.baseline) is None:
        return []
    found = next(each for each in answers.quantities if each.name == TEMPERATURE)
    return [
        f"the answers differ by their temperature alone ({found.baseline:.3g} → "
        f"{found.candidate:.3g}): every image is answered as before, with another confidence"
    ]


def _notes(
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
    if direction == "any" or (answered and _worse(answered)):
        return []
    titles = {"src": "signed SRC", "sid": "SID", "value": "v(all)"}
    if answered and not _rose(answered, AS_ANSWERED):
        del titles["value"]  # It counts from L(∅), which may have fallen instead.
    better = [titles[c.name] for c in checks if c.name in titles and c.low > -c.limit]
    every = {**limits, **(answered.limits if answered else {})}
    for each in (*(answered.quantities if answered else ()), *changes):
        allowed = every.get(each.family, Limit()).change
        gain = each.low if each.better == "higher" else -each.high
        # A band's limit is a share of v(all): what improves there is told by v(all) itself.
        if allowed is not None and each.family != "band" and gain > allowed:
            better.append(each.name)
    note = (
        f"better than the baseline by more than may be lost ({', '.join(better)}): refresh the "
        "test's baseline, so that the gain is kept (run it alone with --iaside-update=all)"
    )
    return [note] if better else []


def _worse(answers: Comparison) -> bool:
    """Whether any answers seem worse by a tenth of what is allowed: nothing is better then."""
    return any(
        check.verdict in ("drift", "inconclusive") or check.change < -abs(check.limit) / 10
        for check in answers.checks
    )


def _rose(answers: Comparison, name: str) -> bool:
    return any(each.name == name and each.low > 0 for each in answers.quantities)


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
    # A model that lost its structure has changed; one that never had it decides nothing.
    if reasons and baseline.structured and len(candidate) > 1:
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

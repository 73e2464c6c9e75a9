"""What is recorded of a gate, and the message of its failure."""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.notes import BETTER
from pytest_iaside.compare.plan import in_words
from pytest_iaside.errors import UndecidedWarning, visible
from pytest_iaside.images.similar import SIMILAR
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.report.numbers import clock
from pytest_iaside.report.pass_log import SLOW
from pytest_iaside.report.record import ComparisonRecord
from pytest_iaside.report.recorded import comparison_record
from pytest_iaside.testing.failure import failure_message
from pytest_iaside.testing.folder_labels import fewer_folders
from pytest_iaside.testing.gate import Gate, Told
from pytest_iaside.testing.session import REPORT
from pytest_iaside.testing.trainings import single_training
from pytest_iaside.testing.watch import TimeIsUp, Watch
from pytest_iaside.thresholds import Limits, Thresholds


def recorded(gate: Gate, told: Told, comparison: Comparison, watch: Watch | None = None) -> str:
    """Record what came out; the message of the failure, empty where there is none."""
    compares = told.status == "compared"
    failed, place = compares and comparison.fails(gate.fail_on), told.place
    compared = comparison_record(comparison)
    if compares and place.owner is not None and is_better(comparison):
        compared["notes"] = [
            f"{note}: {place.accept}" if note.startswith(BETTER) else note
            for note in compared["notes"]
        ]
    if told.proposal:
        compared["notes"].append(told.proposal)
    if failed and told.test is not None and place.owner is not None:
        compared["notes"] += single_training(comparison, told.test.command("--iaside-update=add"))
    undecided = [check for check in comparison.checks if check.verdict == "inconclusive"]
    if compares and undecided and not failed and gate.kind == "spectral" and place.path:
        compared["notes"].append(
            f"an undecided gate fails only with fail_on=inconclusive; more images decide it: "
            f'iaside plan "{place.shown}" says how many'
        )
    written = f"{told.status} {place.shown}"
    if told.trainings > 1:
        written += f"; it holds {told.trainings} trainings now"
    if told.lost:
        written += (
            f"; it HELD {told.lost} TRAININGS AND HOLDS {len(told.models)} now: a retrained model "
            "is compared with what trainings differ by, which --iaside-update=add keeps and adds to"
        )
    if told.overruled is not None:
        good = comparison.verdict in ("pass", "nothing found")
        how = "against the old one" if good else "it overrules"
        written += f"; {how} {comparison.verdict}: {comparison.summary()}"
    elif told.incomparable:
        written += f"; nothing was compared with the old one ({told.incomparable})"
    else:
        told_more = [_too_few(gate, comparison)]
        if not compares:
            told_more = [
                _answered_right(comparison.candidate),
                *told_more,
                _what_is_seen(gate, told),
                _next_run(told),
            ]
        written = "; ".join([written, *filter(None, told_more)])
    written += "".join(f"; {note}" for note in comparison.notes if note.startswith(SIMILAR))
    told.record(
        failed=failed,
        verdict=comparison.verdict if compares or told.overruled else None,
        summary=comparison.summary() if compares else written,
        fail_on=gate.fail_on,
        comparison=compared,
        **_more(gate, told, compared, watch),
    )
    if compares and undecided and not failed:
        named = f"{told.name}: " if told.name else ""
        text = f"{named}cannot decide at {comparison.size}: {undecided[0].sentence}"
        warnings.warn(visible(text), UndecidedWarning, stacklevel=_outside())
    report = told.test.config.getoption("iaside_report") or REPORT if told.test else None
    reproduce = told.test.command() if told.test else None
    return failure_message(compared, place, gate.details(), report, reproduce) if failed else ""


def is_better(comparison: Comparison) -> bool:
    return any(note.startswith(BETTER) for note in comparison.notes)


def _too_few(gate: Gate, comparison: Comparison) -> str:
    """What a new baseline of few images cannot show; empty where it has enough."""
    limit = answer_limits(gate).get("clean accuracy")
    if comparison.candidate.model.task != "softmax":
        return ""  # Nothing is simply right or wrong.
    if limit is None or not limit.change or comparison.images >= 1 / limit.change - 1e-9:
        return ""
    return (
        f"of its {comparison.images} images a single one is "
        f"{100 / comparison.images:.1f} points of accuracy, and {100 * limit.change:g} may be "
        f"lost, so that no gate can pass unless all answers stay the same; take at least "
        f"{math.ceil(1 / limit.change - 1e-9)} images, better 100"
    )


def _answered_right(measured: Measurement) -> str:
    """How many images a new baseline answers right: a model that is fed wrongly shows here."""
    answers = measured.answers
    if answers is None or answers.model.task != "softmax":
        return ""
    if answers.labels_predicted:
        return "without labels the model's own predictions count as right"
    names = [each.name for each in answers.quantities if each.name.startswith("accuracy, ")]
    told = ", ".join(
        f"{100 * answers.distinct(answers[name]).mean():.0f} % {name.partition(', ')[2]}"
        for name in names
    )
    folders = fewer_folders(answers)
    return f"accuracy: {told}" + (f"; {folders}: make sure that they are" if folders else "")


def _what_is_seen(gate: Gate, told: Told) -> str:
    """What gates against the new baseline can see; empty where that is not known."""
    known = isinstance(gate.limits, Thresholds) and isinstance(told.measured, SpectralProfile)
    if not known or gate.samples == "auto":  # How many images that takes is not known.
        return ""
    assert isinstance(gate.limits, Thresholds) and told.measured is not None
    return in_words(told.measured, gate.limits, gate.level)


def _next_run(told: Told) -> str:
    """How long a run against the new baseline takes; empty where this one took no time."""
    measured = told.measured
    passes = 0 if measured is None else measured.forward_passes - measured.passes_from_cache
    if measured is None or measured.answers is None or passes < 1 or measured.seconds < SLOW:
        return ""
    answers = len(measured.answers) * (1 + len(measured.answers.settings["panel"]))
    least = measured.seconds * min(answers / passes, 1.0)
    about = f"about {clock(least)}" if least >= 1 else "less than a second"
    return (
        f"this took {passes:,} forward passes, {clock(measured.seconds)}; later runs take "
        f"{answers:,} of them ({about}) where the answers alone decide, and never more than this"
    )


def _outside() -> int:
    """The level in the stack of what called the assertion, for a warning."""
    frame, level = sys._getframe(2), 2
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("pytest_iaside."):
        frame, level = frame.f_back, level + 1
    return level


def _more(
    gate: Gate, told: Told, compared: ComparisonRecord, watch: Watch | None
) -> dict[str, Any]:
    """What else the record holds; a note where the time for it was up."""
    if watch is not None and told.comparison is not None:
        watch.explaining = told.comparison.summary()
    try:
        return gate.tell_more(gate, told, compared)
    except TimeIsUp:
        assert watch is not None
        watch.leave()
        compared["notes"].append(
            f"what else is told of a gate was left out: timeout={gate.timeout} was over"
        )
        return {}


def answer_limits(gate: Gate) -> Limits:
    own = gate.limits.answer_limits if isinstance(gate.limits, Thresholds) else gate.answers
    return own or {}

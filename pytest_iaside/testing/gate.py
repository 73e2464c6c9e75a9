"""A gate: prepared, measured, compared and recorded, in that order."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_iaside.compare.answers import compare_answers
from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.fit import differences_of, fed_otherwise, refuse
from pytest_iaside.compare.notes import BETTER
from pytest_iaside.compare.plan import in_words
from pytest_iaside.errors import (
    BaselineError,
    ModelError,
    OutOfTimeError,
    ReferenceSampleError,
    SettingsError,
    SpectralRobustnessError,
    UndecidedWarning,
    visible,
)
from pytest_iaside.execute.passes import Passes, counted
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import check_reference, first_images
from pytest_iaside.images.similar import SIMILAR
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.provenance import ReferenceInfo
from pytest_iaside.measure.trainings import mean_of, trainings_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.report.gates import BOUNDS
from pytest_iaside.report.numbers import clock
from pytest_iaside.report.pass_log import SLOW, PassLog
from pytest_iaside.report.record import ComparisonRecord, Status
from pytest_iaside.report.recorded import comparison_record, gate_record, measurement_record
from pytest_iaside.store.baselines import ForeignBaselineError
from pytest_iaside.testing.current_test import CurrentTest, current_test
from pytest_iaside.testing.failure import failure_message
from pytest_iaside.testing.place import Place, locate
from pytest_iaside.testing.ranks import is_other_rank, shared_by_ranks, take_share
from pytest_iaside.testing.session import REPORT
from pytest_iaside.testing.trainings import (
    measure_each,
    single_training,
    trainings_in,
    worse_training,
)
from pytest_iaside.testing.watch import TimeIsUp, Watch, within
from pytest_iaside.thresholds import LEVEL, Direction, FailOn, Limits, Thresholds


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What one call of an assertion measures and how it decides; how it runs is ``run_gate``'s.

    ``measure(model, sample, baseline)`` measures ``model``; without labels in ``sample`` on those
    of the baseline, if there is one. ``settings`` are what a baseline must have been measured
    with. The rest has a use that suits most gates.
    """

    kind: str
    measure: Callable[[Any, Any, Measurement | None], Measurement]
    limits: Thresholds | Limits
    answers: Limits | None = None
    """Limits on how right images are answered, where ``limits`` are no Thresholds."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    level: float = LEVEL
    direction: Direction = "worse"
    fail_on: FailOn = "drift"
    timeout: str | None = None
    samples: Any = None
    whole: Callable[[], bool] = lambda: True
    """Whether all was measured that a baseline holds, or only what decided."""
    cost: Callable[[ReferenceSample], int | None] = lambda _: None
    """At most how many forward passes a first measurement takes; None where nobody knows."""
    needs_baseline: bool = True
    """Whether anything is compared with a baseline; if not, none is stored."""
    needs_reference: bool = True
    fitted: tuple[str, ...] = ()
    """Settings that are the baseline's where they are None."""
    predicts_labels: bool = False
    """Whether labels are the model's predictions, whatever the sample's are."""
    compare: Callable[[Measurement, Measurement], Comparison] | None = None
    storable: Callable[[Measurement, Told], Measurement] = lambda measured, _: measured
    """What of a measurement is stored, and what else of its model."""
    tell_more: Callable[[Gate, Told, ComparisonRecord], dict[str, Any]] = lambda *_: {}
    """What else the record holds, for reports."""
    details: Callable[[], Sequence[str]] = tuple
    """What a failure says besides its checks."""

    def compared(self, candidate: Measurement, baseline: Measurement) -> Comparison:
        if self.compare is not None:
            return self.compare(candidate, baseline)
        return compare(
            candidate,
            baseline,
            self.limits,
            answers=self.answers,
            level=self.level,
            direction=self.direction,
        )


@dataclass(kw_only=True)
class Told:
    """State of a running gate; recorded even when the gate stops early."""

    test: CurrentTest | None
    kind: str
    name: str | None
    models: tuple[Any, ...] = (None,)
    """The trainings under test; usually one."""
    place: Place = field(default_factory=Place)
    sample: ReferenceSample | None = None
    measured: Measurement | None = None
    comparison: Comparison | None = None
    overruled: Comparison | None = None
    """The comparison with the baseline that is replaced."""
    incomparable: str = ""
    """Why the baseline that is replaced could not be compared with."""
    trainings: int = 1
    """How many the baseline holds that is written."""
    proposal: str = ""
    """What became of the baseline that is proposed; empty where none was asked for."""
    lost: int = 0
    """How many the baseline held that is replaced, where that were more."""
    status: Status = "compared"
    passes: Passes = field(default_factory=Passes)
    log: PassLog | None = None
    """Tells of the passes as they come back."""
    began: float = field(default_factory=time.perf_counter)

    @property
    def model(self) -> Any:
        """The first training, which is the one that is looked into where the gate is red."""
        return self.models[0]

    def record(self, **more: Any) -> None:
        """Hand the record to the session, where there is one."""
        if self.test is not None:
            record = gate_record(
                test=self.test.node_id,
                name=self.name,
                kind=self.kind,
                status=self.status,
                baseline=self.place.shown,
                accept=self.place.accept,
                reproduce=self.test.command(),
                seconds=time.perf_counter() - self.began,
                **more,
            )
            self.test.add(record)

    def refuse(self, error: SpectralRobustnessError) -> None:
        """Record that ``error`` kept the gate from being compared."""
        self.status = "refused"
        self.record(
            failed=True,
            verdict=None,
            summary=str(error).partition("\n")[0],
            measurement=measurement_record(self.measured) if self.measured else None,
            error=type(error).__name__,
        )


def run_gate(
    kind: str,
    prepare: Callable[[CurrentTest | None], Gate],
    *,
    model: Any,
    reference: ReferenceSample | None = None,
    baseline: str | Path | Measurement | None = None,
    name: str | None = None,
    place: Place | None = None,
) -> Comparison:
    """Prepare a gate, measure, compare and record; raise AssertionError where it is red.

    ``prepare`` reads the settings, before anything else is looked at. ``place`` says where a
    measurement that needs no baseline came from.
    """
    __tracebackhide__ = True
    test = current_test()
    if test is not None and is_other_rank():
        take_share()
        pytest.skip("rank 0 judges this gate; this process took its share of the work")
    told = Told(test=test, kind=kind, name=_record_name(kind, name))
    with shared_by_ranks() if test is not None else nullcontext():
        return _run(told, prepare, model, reference, baseline, name, place)


def _run(
    told: Told,
    prepare: Callable[[CurrentTest | None], Gate],
    model: Any,
    reference: ReferenceSample | None,
    baseline: str | Path | Measurement | None,
    name: str | None,
    place: Place | None,
) -> Comparison:
    __tracebackhide__ = True
    test, kind = told.test, told.kind
    try:
        told.models = trainings_in(model)
        gate = prepare(test)
        told.name = _claimed_name(told, name, shared=place is not None)
        if place is not None:
            told.place = place
        elif baseline is not None or gate.needs_baseline:
            told.place = locate(kind, baseline, test, told.name)
        decided = partial(_decided, gate, told, reference)
        comparison, failure = within(gate.timeout, decided, test=test, record=told.refuse)
    except SpectralRobustnessError as error:
        told.refuse(error)
        # Where inside this package it was raised tells a reader nothing; what the model itself
        # raised does, and where it was when its time was up.
        shown = isinstance(error, (ModelError, OutOfTimeError))
        raise error.with_traceback(None) from (error.__cause__ if shown else None)
    if failure:
        raise AssertionError(failure)
    return comparison


def _decided(
    gate: Gate, told: Told, reference: ReferenceSample | None, watch: Watch | None
) -> tuple[Comparison, str]:
    """The gate's comparison, recorded, and the message of its failure."""
    told.log = told.test.pass_log() if told.test else None
    told.passes.seen = told.log
    judge = _judged if told.place.proposals is None else _judged_and_proposed
    with counted(told.passes):
        comparison = told.comparison = judge(gate, told, reference)
    return comparison, _recorded(gate, told, comparison, watch)


def _judged(gate: Gate, told: Told, reference: ReferenceSample | None) -> Comparison:
    """The gate's comparison: with its baseline, or of the one that is written with itself."""
    place = told.place
    old = None if place.nowhere else place.read()
    if old is None and place.path is not None and place.path.exists():
        told.incomparable = "it could not be read"
    sample = told.sample = _reference_of(reference, told.test) if gate.needs_reference else None
    if place.nowhere:
        told.measured = _measured(gate, told.models, sample, None)
        return gate.compared(told.measured, told.measured)
    assert sample is not None
    if old is not None and (comparison := _against(gate, told, sample, old)):
        return _added(gate, told, old, comparison) if place.mode == "add" else comparison
    comparison = _as_a_first_one(gate, told, sample)
    assert told.measured is not None
    if comparison.fails(gate.fail_on):
        # It does not pass even against itself: no baseline mends that.
        told.place = replace(place, accept="")
        return comparison
    if old is not None and told.overruled is None and not place.accepts_drift:
        _refuse_worse_answers(gate, told, old)
    if old is not None and len(trainings_of(old)) > len(trainings_of(told.measured)):
        told.lost = len(trainings_of(old))
    told.status = "updated" if place.path and place.path.exists() else "created"
    place.write(gate.storable(told.measured, told))
    return told.overruled or comparison


def _as_a_first_one(gate: Gate, told: Told, sample: ReferenceSample) -> Comparison:
    """Measure what a first baseline would be, and compare it with itself.

    Not with the labels of an old baseline, nor on the few images that told the two apart.
    """
    count = 0 if told.measured is None else len(told.measured)
    partly = count < len(first_images(sample, gate.samples)) or not gate.whole()
    measured = told.measured
    if measured is None or partly or sample.labels is None or gate.predicts_labels:
        if told.log is not None and (cost := gate.cost(sample)) is not None:
            told.log.expected = told.passes.done + cost * len(told.models)
        measured = told.measured = _measured(gate, told.models, sample, None)
    if not measured.structured:
        raise BaselineError(
            "this measurement makes no baseline, nothing was written: "
            f"{measured.unstructured_because}"
        )
    return gate.compared(measured, measured)


def _judged_and_proposed(gate: Gate, told: Told, reference: ReferenceSample | None) -> Comparison:
    """As ``_judged``; a baseline that is missing, or that fails, gets a proposal to replace it."""
    verdict, comparison, missing = "", None, None
    try:
        comparison = _judged(gate, told, reference)
    except ForeignBaselineError:
        raise
    except BaselineError as error:
        missing = error
    if comparison is not None:
        if told.place.owner is None or not comparison.fails(gate.fail_on):
            return comparison
        verdict = comparison.verdict
    elif told.place.owner is None:
        raise missing or AssertionError
    decided = told.measured
    try:
        alone = _as_a_first_one(gate, told, told.sample or _reference_of(reference, told.test))
        if alone.fails(gate.fail_on):
            raise BaselineError(f"it does not pass against itself: {alone.summary()}")
        assert told.measured is not None
        why = comparison.summary() if comparison is not None else str(missing).partition("\n")[0]
        path = told.place.propose(gate.storable(told.measured, told), verdict, why)
        assert told.test is not None
        told.proposal = f"a new baseline is proposed in {told.test.relative(path)}"
    except (BaselineError, OSError) as error:
        told.proposal = f"no new baseline is proposed: {error}"
    told.measured = decided
    if comparison is None:
        raise BaselineError(f"{missing}\n{told.proposal}")
    return comparison


def _added(gate: Gate, told: Told, old: Measurement, comparison: Comparison) -> Comparison:
    """Make what was measured further trainings of ``old``; not where one of them answers worse.

    Returns the comparison that decided.
    """
    assert told.measured is not None
    worst = worse_training(comparison, gate.compared)
    if worst is not None and not told.place.accepts_drift:
        told.place = replace(told.place, accept=told.place.accept_drift)
        return worst
    comparison = worst or comparison
    trainings = (*trainings_of(old), *trainings_of(gate.storable(told.measured, told)))
    told.place.write(mean_of(trainings))
    told.status, told.overruled, told.trainings = "updated", comparison, len(trainings)
    return comparison


def _refuse_worse_answers(gate: Gate, told: Told, old: Measurement) -> None:
    """Raise BaselineError where ``old``, which is to be replaced unseen, was answered better.

    Whatever else was measured otherwise, answers to the same images can be compared.
    """
    new = told.measured
    assert new is not None
    if new.labels_predicted or old.labels_predicted or not set(new.digests) & set(old.digests):
        return
    found = compare_answers(new, old, _answer_limits(gate), level=gate.level)
    if found is None or found.verdict != "drift":
        return
    raise BaselineError(
        f"the baseline was made for something else ({told.incomparable}), and the answers are "
        f"worse than its own: {found.summary()}. Nothing was written; to accept that:\n"
        f"    {told.place.accept_drift}"
    )


def _against(
    gate: Gate, told: Told, sample: ReferenceSample, old: Measurement
) -> Comparison | None:
    """The comparison with the baseline ``old``; None where that is to be replaced."""
    try:
        # Before the measurement, which takes minutes and would be in vain.
        _require_fit(gate, told.model, sample, old)
        measured = _measured_for(old, gate, told.models, sample)
        comparison = gate.compared(measured, old)
        if all(check.name == "structured" for check in comparison.checks):
            raise BaselineError(
                "the baseline holds nothing of what there are limits for (accuracy, "
                "log-likelihood, probability), so nothing was compared; make a new baseline"
            )
    except BaselineError as error:
        if told.place.mode in ("changed", "all"):
            told.incomparable = str(error).partition(" so nothing was compared: ")[2]
            told.incomparable = told.incomparable.partition(". Restore")[0] or "see above"
            return None
        raise told.place.advised(error) from None
    told.measured = measured
    place = told.place
    drifts = comparison.fails("drift")
    if drifts and place.accept_drift:
        told.place = replace(place, accept=place.accept_drift)
    if not _mended_by_a_baseline(comparison):
        told.place = replace(place, accept="")
    outdated = comparison.fails(gate.fail_on) or _better(comparison)
    replaces = place.mode == "all" or (place.mode == "changed" and outdated)
    if not replaces or (drifts and not place.accepts_drift):
        return comparison
    told.overruled = comparison
    return None


def _mended_by_a_baseline(comparison: Comparison) -> bool:
    """Whether a new baseline would be written, and the candidate pass against itself."""
    bounds = [check for check in comparison.checks if check.name in BOUNDS]
    failing = any(check.verdict != "pass" for check in bounds)
    return comparison.candidate.structured and not failing


def _require_fit(gate: Gate, model: Any, sample: ReferenceSample, old: Measurement) -> None:
    """Raise BaselineError where ``old`` cannot be compared with what is to be measured."""
    images = first_images(sample, gate.samples)
    digests, reference = images.digests, ReferenceInfo.of(sample)
    labels = None if images.labels is None else images.labels.numpy()
    # How the coalitions of ``latin`` are read is the baseline's: the same are played.
    latin = gate.settings.get("design") == "latin"
    read = [name for name in gate.fitted if gate.settings.get(name) is None]
    read += ["ways"] * latin
    settings = {**gate.settings, **{n: old.settings[n] for n in read if n in old.settings}}
    differences = differences_of(gate.kind, settings, reference, digests, old, labels=labels)
    differences += fed_otherwise(as_classifier(model).fed, old)
    missing = len(set(digests) - set(old.digests))
    if missing and gate.kind != "spectral":
        differences.append(
            f"images: {missing} of {len(digests)} to be measured are not in the baseline"
        )
    refuse(differences)
    if missing and sample.labels is None:
        raise BaselineError(
            f"the baseline holds predicted labels for {len(old)} images, {missing} of "
            f"the {len(digests)} to be measured are not among them, so nothing was compared; "
            f"use samples={len(old)}, or make a new baseline"
        )


def _measured(
    gate: Gate, models: tuple[Any, ...], sample: ReferenceSample | None, old: Measurement | None
) -> Measurement:
    return measure_each(gate.measure, models, sample, old, explains=gate.predicts_labels)


def _measured_for(
    old: Measurement, gate: Gate, models: tuple[Any, ...], sample: ReferenceSample
) -> Measurement:
    """``models`` measured to be compared with ``old``, on its labels if ``sample`` has none."""
    try:
        return _measured(gate, models, sample, old)
    except ReferenceSampleError as error:
        if sample.labels is not None:
            raise
        raise BaselineError(
            f"the model cannot be compared on the labels that the baseline predicted, so nothing "
            f"was compared: {error}"
        ) from None


def _reference_of(reference: Any, test: CurrentTest | None) -> ReferenceSample:
    """``reference``, or by default the fixture ``spectral_reference``."""
    found: ReferenceSample | None = reference
    if found is None and test is not None:
        found = test.fixture("spectral_reference")
    if found is None:
        raise SettingsError("no test is running, so reference= is needed: the images to use")
    check_reference(found)
    return found


def _record_name(kind: str, name: str | None) -> str | None:
    """What tells the gate from others of its test: spectral gates came first and have no prefix."""
    if kind == "spectral":
        return name
    return f"{kind} {name}" if name else kind


def _claimed_name(told: Told, given: str | None, *, shared: bool) -> str | None:
    """The gate's name, numbered where it may be ``shared``; raises SettingsError where taken."""
    if told.test is None:
        return told.name
    if given is not None and (not isinstance(given, str) or not given):
        raise SettingsError(f"name={given!r} cannot be used; expected text")
    name, number = told.name, 1
    while shared and name in told.test.names:
        number += 1
        name = f"{told.name} {number}"
    if name in told.test.names:
        what = "without a name" if given is None else f"named {given!r}"
        raise SettingsError(
            f"{told.test.node_id} has two assertions {what}, which would share one baseline; "
            "tell them apart with name="
        )
    told.test.names.add(name)
    return name


def _better(comparison: Comparison) -> bool:
    return any(note.startswith(BETTER) for note in comparison.notes)


def _answer_limits(gate: Gate) -> Limits:
    own = gate.limits.answer_limits if isinstance(gate.limits, Thresholds) else gate.answers
    return own or {}


def _too_few(gate: Gate, comparison: Comparison) -> str:
    """What a new baseline of few images cannot show; empty where it has enough."""
    limit = _answer_limits(gate).get("clean accuracy")
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
    return (
        f"this took {passes:,} forward passes, {clock(measured.seconds)}; the next run takes from "
        f"{answers:,} of them, about {clock(least)}, where the answers decide, to as many as this"
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


def _recorded(gate: Gate, told: Told, comparison: Comparison, watch: Watch | None = None) -> str:
    """Record what came out; the message of the failure, empty where there is none."""
    compares = told.status == "compared"
    failed, place = compares and comparison.fails(gate.fail_on), told.place
    compared = comparison_record(comparison)
    if compares and place.owner is not None and _better(comparison):
        compared["notes"] = [
            f"{note}: {place.accept}" if note.startswith(BETTER) else note
            for note in compared["notes"]
        ]
    if told.proposal:
        compared["notes"].append(told.proposal)
    if failed and told.test is not None and place.owner is not None:
        compared["notes"] += single_training(comparison, told.test.command("--iaside-update=add"))
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
        told_more = (
            _too_few(gate, comparison),
            *(() if compares else (_what_is_seen(gate, told), _next_run(told))),
        )
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
    undecided = [check for check in comparison.checks if check.verdict == "inconclusive"]
    if compares and undecided and not failed:
        named = f"{told.name}: " if told.name else ""
        text = f"{named}cannot decide at {comparison.size}: {undecided[0].sentence}"
        warnings.warn(visible(text), UndecidedWarning, stacklevel=_outside())
    report = told.test.config.getoption("iaside_report") or REPORT if told.test else None
    reproduce = told.test.command() if told.test else None
    return failure_message(compared, place, gate.details(), report, reproduce) if failed else ""

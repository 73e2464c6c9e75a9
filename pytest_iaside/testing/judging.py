"""The comparison that a gate's baseline leads to, and what becomes of the baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pytest_iaside.compare.answers import compare_answers
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.fit import differences_of, fed_otherwise, refuse
from pytest_iaside.errors import BaselineError, ReferenceSampleError, SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import check_reference, first_images
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.provenance import ReferenceInfo
from pytest_iaside.measure.trainings import mean_of, trainings_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.report.gates import BOUNDS
from pytest_iaside.store.baselines import ForeignBaselineError
from pytest_iaside.testing.current_test import CurrentTest
from pytest_iaside.testing.gate import Gate, Told
from pytest_iaside.testing.recording import answer_limits, is_better
from pytest_iaside.testing.trainings import measure_each, worse_training
from pytest_iaside.testing.watch import TimeIsUp, Watch


def judged(gate: Gate, told: Told, reference: ReferenceSample | None) -> Comparison:
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


def judged_and_proposed(
    gate: Gate, told: Told, reference: ReferenceSample | None, watch: Watch | None
) -> Comparison:
    """As ``judged``; a baseline that is missing, or that fails, gets a proposal to replace it.

    The verdict stands also where there is no time left for that.
    """
    verdict, comparison, missing = "", None, None
    told.place.withdraw()
    try:
        comparison = judged(gate, told, reference)
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
    except TimeIsUp:
        assert watch is not None
        watch.leave()
        told.proposal = (
            f"no new baseline is proposed: timeout={gate.timeout} was over before all was "
            "measured; give it more time: --iaside-timeout=1h"
        )
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
    found = compare_answers(new, old, answer_limits(gate), level=gate.level)
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
    outdated = comparison.fails(gate.fail_on) or is_better(comparison)
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

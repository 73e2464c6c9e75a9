"""A gate run: prepared, measured, compared and recorded, in that order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.errors import ModelError, OutOfTimeError, SettingsError, SpectralRobustnessError
from pytest_iaside.execute.passes import counted
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.testing.current_test import CurrentTest, current_test
from pytest_iaside.testing.gate import Gate, Told
from pytest_iaside.testing.judging import judged, judged_and_proposed
from pytest_iaside.testing.place import Place, locate
from pytest_iaside.testing.ranks import is_other_rank, shared_by_ranks, take_share
from pytest_iaside.testing.recording import recorded
from pytest_iaside.testing.trainings import trainings_in
from pytest_iaside.testing.watch import Watch, within


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
    with counted(told.passes):
        if told.place.proposals is None:
            comparison = judged(gate, told, reference)
        else:
            comparison = judged_and_proposed(gate, told, reference, watch)
        told.comparison = comparison
    return comparison, recorded(gate, told, comparison, watch)


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

"""Kinds of gate: a row each, of what is measured, what is limited and where options come from."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from pytest_iaside.checks import checked_limit
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import scattered
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import measure_answers, with_answers
from pytest_iaside.settings import AccuracyKeywords, Layer, Settings, unknown
from pytest_iaside.testing.current_test import CurrentTest
from pytest_iaside.testing.gate import Gate
from pytest_iaside.testing.running import run_gate
from pytest_iaside.testing.score_limits import check_score_limits
from pytest_iaside.thresholds import Limit, check_limits


@dataclass(frozen=True, kw_only=True)
class LimitOption:
    """The keywords of an assertion that limit a family of quantities.

    ``change`` limits how far it may get worse than the baseline's, ``bound`` what it may be at
    all; without either keyword it may get worse by ``usual``. ``share`` says what such a limit is,
    where it can be 1 at most: "a share of the images".
    """

    family: str
    change: str
    bound: str = ""
    usual: float | None = None
    share: str = ""


@dataclass(frozen=True, kw_only=True)
class GateKind:
    """One kind of gate on quantities as they are measured.

    ``measure(model, reference, *, …, samples, seed, execution, labels_from)`` makes a measurement
    of this ``kind``; its other keywords are options of the gate, and ``settings(**options, seed)``
    what a baseline must have been measured with. With ``predicts_labels`` labels are the model's
    predictions, whatever the sample's are.
    """

    kind: str
    function: str
    limits: tuple[LimitOption, ...]
    measure: Callable[..., Measurement]
    settings: Callable[..., Mapping[str, Any]]
    predicts_labels: bool = False
    fitted: tuple[str, ...] = ()
    """Options that the images decide where they are None; a baseline has them already."""
    tell_more: Callable[..., dict[str, Any]] = lambda *_, **__: {}
    storable: Callable[..., Measurement] = lambda measured, *_, **__: measured
    """What a baseline holds: of a measurement, how it was run, with ``execution`` and options."""


def assert_kind(
    row: GateKind,
    model: Any,
    reference: ReferenceSample | None,
    *,
    limits: Mapping[str, Any],
    keywords: Mapping[str, Any],
    baseline: str | Path | Measurement | None,
    name: str | None,
    options: Mapping[str, Any] | None = None,
) -> Comparison:
    """Run a gate of the kind ``row``; raise AssertionError where it is red.

    ``limits`` are the values of the assertion's limiting keywords, ``options`` of those that it
    names itself; ``keywords`` are all others.
    """
    __tracebackhide__ = True
    prepare = partial(_prepared, row, model, limits, options or {}, keywords)
    return run_gate(
        row.kind, prepare, model=model, reference=reference, baseline=baseline, name=name
    )


def own_options(measure: Callable[..., Measurement]) -> dict[str, Any]:
    """The options of ``measure`` that say what is measured, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(measure).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
        and name not in ("samples", "seed", "execution", "labels_from")
    }


def _prepared(
    row: GateKind,
    model: Any,
    limits: Mapping[str, Any],
    options: Mapping[str, Any],
    keywords: Mapping[str, Any],
    test: CurrentTest | None,
) -> Gate:
    own = [option.change for option in row.limits]
    shared = [name for name in AccuracyKeywords.__annotations__ if name not in own]
    valid = [*shared, *own_options(row.measure)]
    for name in keywords:
        if name not in valid:
            raise SettingsError(f"{row.function}: {unknown('setting', name, valid)}")
    options = {**options, **{k: v for k, v in keywords.items() if k not in shared}}
    common = scattered({k: v for k, v in keywords.items() if k in shared})
    settings = Settings.of([Layer(row.function, common), *(test.layers if test else [])])
    allowed = _limits(row, limits)
    check_score_limits(row.function, model, limits)
    thresholds = settings.thresholds
    # What a gate limits itself, it limits of clean images as well.
    for name in {"max_accuracy_drop", "max_score_drop"} & set(own):
        thresholds = replace(thresholds, **cast(Any, {name: None}))
    names = ("samples", "seed", "execution")
    running = {name: settings.measure[name] for name in names if name in settings.measure}
    seeded = {**options, "seed": running.get("seed", 0)}
    return Gate(
        kind=row.kind,
        measure=lambda model, sample, baseline: _answered(
            row.measure(model, sample, **options, **running, labels_from=baseline),
            model,
            sample,
            baseline,
            running,
        ),
        limits=allowed,
        answers=thresholds.answer_limits,
        settings={**row.settings(**seeded), **settings.execution.settings},
        level=settings.level,
        direction=settings.thresholds.direction,
        fail_on=settings.fail_on,
        timeout=settings.timeout,
        samples=running.get("samples"),
        needs_baseline=any(limit.change is not None for limit in allowed.values()),
        predicts_labels=row.predicts_labels,
        fitted=row.fitted,
        tell_more=lambda gate, told, record: row.tell_more(
            gate, told, record["notes"], execution=settings.execution, **seeded
        ),
        storable=lambda measured, told: row.storable(
            measured, told, execution=settings.execution, **seeded
        ),
    )


def _answered(
    measured: Measurement,
    model: Any,
    sample: ReferenceSample,
    baseline: Measurement | None,
    running: Mapping[str, Any],
) -> Measurement:
    """``measured`` with the answers to the images as they are, which every gate compares."""
    known = None if baseline is None else baseline.answers or baseline
    return with_answers(measured, measure_answers(model, sample, (), **running, labels_from=known))


def _limits(row: GateKind, given: Mapping[str, Any]) -> dict[str, Limit]:
    """The limit of each family that has one; raises SettingsError."""
    found = {}
    for option in row.limits:
        change, bound = (
            checked_limit(name, given[name], option.share) if name else None
            for name in (option.change, option.bound)
        )
        if change is None and bound is None:
            change = option.usual
        limit = Limit(change=change, bound=bound)
        if not limit.empty:
            found[option.family] = limit
    check_limits(found, row.function, (option.change for option in row.limits))
    return found

"""assert_perturbation_robustness: the gate on the classical metrics, mPE, accuracy and mCE."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Unpack

from pytest_iaside.checks import check_positive
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.losses import loss_changes
from pytest_iaside.compare.words import in_unit
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import Perturbation
from pytest_iaside.measure.decomposition import divided
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.perturbation import (
    KIND,
    USUAL,
    Normaliser,
    Perturbations,
    PerturbedAnswers,
    as_functions,
    measure_perturbations,
    named_perturbations,
    perturbation_settings,
)
from pytest_iaside.measure.trainings import together, trainings_of
from pytest_iaside.report.record import LossRecord
from pytest_iaside.report.recorded import loss_record
from pytest_iaside.report.wings import wings
from pytest_iaside.settings import GateKeywords
from pytest_iaside.testing.gate import Gate, Told
from pytest_iaside.testing.kinds import GateKind, LimitOption, assert_kind
from pytest_iaside.testing.red import diagnosed, surviving

MOST_TOLD = 3
"""Perturbations of which a message says through which band they cost more."""


def assert_perturbation_robustness(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    perturbations: Perturbations = USUAL,
    max_error_rise: float | None = 0.02,
    max_accuracy_drop: float | None = 0.05,
    max_mce_rise: float | None = None,
    max_effective_drop: float | None = None,
    max_score_drop: float | None = None,
    max_score_loss_rise: float | None = None,
    temperature: float = 1.0,
    normaliser: Normaliser = "alexnet",
    baseline: str | Path | Measurement | None = None,
    name: str | None = None,
    **settings: Unpack[GateKeywords],
) -> Comparison:
    """Raise AssertionError where perturbations cost ``model`` more than they cost its baseline.

    ``perturbations`` as ``measure_perturbations`` takes them. ``max_error_rise`` is how far the
    mPE under any of them may rise (eq. 12, between 0 and 1), ``max_accuracy_drop`` how far the
    accuracy under any, or on the clean images, may fall; ``max_mce_rise`` how far the mCE may
    rise, in points of percent, for which the 75 corrupted versions of each image are measured
    and divided by the ``normaliser``'s errors; ``max_effective_drop`` how far the accuracy under
    any may fall beyond what clean accuracy explains (docs/prediction.md). Of a score of your own
    ``max_score_drop`` is how far it may fall on clean images, ``max_score_loss_rise`` how much more
    of it any perturbation may cost. None leaves a check out. Everything else as in
    ``assert_spectral_robustness``, beside which a test may use it.

    Raises SettingsError, ReferenceSampleError, ModelError, or BaselineError where there is no
    baseline, or none that this model can be compared with.
    """
    __tracebackhide__ = True
    check_positive("temperature", temperature)
    limits = {
        "max_error_rise": max_error_rise,
        "max_accuracy_drop": max_accuracy_drop,
        "max_mce_rise": max_mce_rise,
        "max_effective_drop": max_effective_drop,
        "max_score_drop": max_score_drop,
        "max_score_loss_rise": max_score_loss_rise,
    }
    options = {
        "perturbations": perturbations,
        "temperature": temperature,
        # The 75 corrupted versions are measured for a limit on them only.
        "normaliser": None if max_mce_rise is None else normaliser,
    }
    return assert_kind(
        PERTURBATIONS,
        model,
        reference,
        limits=limits,
        options=options,
        keywords=settings,
        baseline=baseline,
        name=name,
    )


def _tell_more(gate: Gate, told: Told, notes: list[str], **options: Any) -> dict[str, Any]:
    """The spectra of images and perturbations, and through which bands a red gate lost."""
    test, sample, comparison = told.test, told.sample, told.comparison
    if sample is None or comparison is None:
        return {}
    failed = comparison.fails(gate.fail_on)
    more: dict[str, Any] = {}
    if failed and told.status == "compared":
        with surviving("the bands that the loss came through", notes):
            more["losses"] = _losses(told, comparison, notes, **options)
    if test is not None and test.exported(failed, "report", "json"):
        with surviving("spectra", notes):
            from pytest_iaside.report.spectrum import spectrum_record

            how = options["seed"], options["execution"]
            applied = as_functions(options["perturbations"], told.model, *how)
            more["spectrum"] = spectrum_record(sample, applied)
    return more


def _losses(
    told: Told, comparison: Comparison, notes: list[str], **options: Any
) -> list[LossRecord]:
    """Divide the candidate's losses as the baseline's were, and tell what costs more."""
    candidate, baseline = comparison.candidate, comparison.baseline
    assert isinstance(candidate, PerturbedAnswers) and isinstance(baseline, PerturbedAnswers)
    assert told.sample is not None
    if baseline.phi is None:
        return []
    worse = [
        each.name
        for each in comparison.quantities
        if each.moved and (each.change < 0) == (each.better == "higher")
    ]
    worse += [check.where for check in comparison.checks if check.verdict == "drift"]
    names = [n for n in candidate.perturbations if any(w.endswith(f" under {n}") for w in worse)]
    known = {
        digest
        for digest, phi in zip(baseline.digests, baseline.phi, strict=True)
        if np.isfinite(phi).all()
    }
    some = [row for row, digest in enumerate(candidate.digests) if digest in known]
    if not some or not names:
        return []
    found = _divided(
        candidate.take(some),
        told,
        told.sample.take(some),
        {**options, "perturbations": _taken(options["perturbations"], some)},
        names=names,
        images=len(some),
    )
    changes = loss_changes(found, baseline, comparison.level)
    model = candidate.model
    worst = [each for each in changes if each.costs_more][:MOST_TOLD]
    sentences = [in_unit(each.sentence, model.unit) for each in worst]
    if sentences and (candidate.trainings or baseline.trainings):
        sentences.append("these intervals are over images: they know of the trainings' means alone")
    notes[:0] = sentences
    # A score names no class whose evidence could be looked for.
    asked = told.test is not None and diagnosed(told.test) != 0 and model.task != "score"
    if asked and worst:
        with surviving("where the image's answer comes from", notes):
            notes += _explained(told, worst[0].perturbation, found, baseline, options)
    return [loss_record(each) for each in changes]


def _explained(
    told: Told,
    name: str,
    candidate: PerturbedAnswers,
    baseline: PerturbedAnswers,
    options: Mapping[str, Any],
) -> list[str]:
    """What wings say of the image whose loss under the perturbation ``name`` rose the most."""
    assert candidate.phi is not None and baseline.phi is not None and told.sample is not None
    bands = candidate.phi.shape[1] // len(candidate.perturbations)
    place = candidate.perturbations.index(name)
    columns = slice(place * bands, (place + 1) * bands)
    before = dict(zip(baseline.digests, baseline.phi[:, columns].sum(axis=1), strict=True))
    losses = zip(candidate.digests, candidate.phi[:, columns].sum(axis=1), strict=True)
    worst = max(losses, key=lambda each: each[1] - before[each[0]])[0]
    row = [told.sample.digests.index(worst)]
    given = _taken(options["perturbations"], row)[name]
    how = {each: options[each] for each in ("seed", "execution")}
    return [
        wing.tell_perturbed(told.model, told.sample.take(row), given, **how)
        for wing in wings()
        if wing.tell_perturbed is not None
    ]


def _divided(
    measured: PerturbedAnswers,
    told: Told,
    sample: ReferenceSample,
    options: Mapping[str, Any],
    **more: Any,
) -> PerturbedAnswers:
    """``measured`` divided among bands, of several trainings each by its own model."""
    how = {name: options[name] for name in ("seed", "execution")}
    each = [
        divided(one, model, sample, options["perturbations"], **how, **more)
        for one, model in zip(trainings_of(measured), told.models, strict=True)
    ]
    return together(each) if len(each) > 1 else each[0]


def _taken(perturbations: Perturbations, some: list[int]) -> dict[str, Perturbation]:
    """``perturbations`` of ``some`` of the images: those that are stored are stored for all."""
    return {
        name: each.take(some) if isinstance(each, ReferenceSample) else each
        for name, each in named_perturbations(perturbations).items()
    }


def _with_bands(measured: Measurement, told: Told, **options: Any) -> Measurement:
    """What a baseline holds beside: through which bands each perturbation costs the model."""
    assert isinstance(measured, PerturbedAnswers) and told.sample is not None
    return _divided(measured, told, told.sample, options)


PERTURBATIONS = GateKind(
    kind=KIND,
    function="assert_perturbation_robustness",
    limits=(
        LimitOption(
            family="mpe", change="max_error_rise", share="a part of the mPE, which is 1 at most"
        ),
        LimitOption(family="accuracy", change="max_accuracy_drop", share="a share of the images"),
        LimitOption(family="mce", change="max_mce_rise"),
        LimitOption(family="effective", change="max_effective_drop", share="a share of the images"),
        LimitOption(family="score", change="max_score_drop"),
        LimitOption(family="lost", change="max_score_loss_rise"),
    ),
    measure=measure_perturbations,
    settings=perturbation_settings,
    tell_more=_tell_more,
    storable=_with_bands,
)

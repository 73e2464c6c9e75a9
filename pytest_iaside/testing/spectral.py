"""assert_spectral_robustness: the gate on what a model makes of each frequency band."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Unpack

from pytest_iaside.compare.answers import explained_by_temperature
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.sequential import compare_sequentially, stopping_rule
from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.execute.execution import scattered
from pytest_iaside.execute.kept_open import kept_open
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import first_images
from pytest_iaside.measure.game.cached import CHANGED_MODEL
from pytest_iaside.measure.game.coalitions import plan
from pytest_iaside.measure.game.replay import Again
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import AUTO, measure_answers, panel_of, with_answers
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.spectral import measure
from pytest_iaside.measure.trainings import mean_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.report.record import ComparisonRecord
from pytest_iaside.settings import BUDGETS, THRESHOLDS, Layer, SettingKeywords, Settings
from pytest_iaside.testing.coarse import CoarseToFine
from pytest_iaside.testing.current_test import CurrentTest
from pytest_iaside.testing.drawn import in_drawing_order
from pytest_iaside.testing.folder_labels import refuse_wrong_folders
from pytest_iaside.testing.gate import Gate, Told
from pytest_iaside.testing.red import RedGate, surviving, told_by_wings
from pytest_iaside.testing.running import run_gate
from pytest_iaside.testing.score_limits import check_score_limits
from pytest_iaside.testing.session import update_mode
from pytest_iaside.thresholds import Thresholds, check_limits

PASSES_OF_A_GATE = 64
"""Of an image, about: what a back end is chosen for. Answers and arcs; a whole game is more."""
PASSES_AGAIN = 5
"""The same where all is kept, and only some of it looked at again: of answers two, and the game."""
MOST_KEPT = 2**18
"""Log-likelihoods that a baseline keeps: a megabyte before it is compressed."""


def assert_spectral_robustness(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    name: str | None = None,
    baseline: str | Path | SpectralProfile | None = None,
    baseline_model: Any = None,
    **settings: Unpack[SettingKeywords],
) -> Comparison:
    """Raise AssertionError where ``model`` drifted from its baseline; return the comparison.

    In a test the baseline is the test's own and ``reference`` defaults to the fixture
    ``spectral_reference``. A list of models is several trainings of one recipe, each with its own
    seed: what a baseline of several differs by is what a retrained model is judged by (SPEC.md 9).
    A test with several assertions tells them apart by ``name``.
    ``baseline`` names another one, a saved profile or its path, which is only read; outside
    pytest it is needed. ``baseline_model``, by default the fixture
    ``spectral_baseline_classifier``, is only looked at beside ``model`` where the gate is red
    (--iaside-diagnose). ``settings`` are those of ``measure``, of ``Execution``, of ``Thresholds``,
    ``level`` and ``fail_on``; they go before the marker's, the command line's and the ini file's.

    Raises SettingsError, ReferenceSampleError, ModelError, or BaselineError where there is no
    baseline, or none that this model can be compared with.
    """
    __tracebackhide__ = True

    prepare = partial(_prepared, settings, baseline_model, model)
    return run_gate(
        "spectral", prepare, model=model, reference=reference, baseline=baseline, name=name
    )


def _prepared(
    keywords: Mapping[str, Any], baseline_model: Any, model: Any, test: CurrentTest | None
) -> Gate:
    own = Layer("assert_spectral_robustness", scattered(keywords))
    several = isinstance(model, (list, tuple)) and len(model) > 1
    settings = Settings.of([own, *(test.layers if test else [])])
    thresholds, level = settings.thresholds, settings.level
    names = (field.name for field in fields(Thresholds) if field.name != "direction")
    check_limits({**thresholds.answer_limits, **thresholds.limits}, own.source, names)
    # One in the ini file may be for other models of the project.
    asked = {**dict.fromkeys(THRESHOLDS), "max_score_drop": own.values.get("max_score_drop")}
    check_score_limits(own.source, model, asked, needed=False)
    # Trainings are compared on all images: what they differ by does not get less by looking longer.
    adds = test is not None and update_mode(test.config) == "add"
    auto = settings.measure.get("samples") == "auto" and not several and not adds
    # What trainings differ by, and a sequence of looks at images, take the whole game.
    coarsely = not several and not adds and not auto and settings.budget != "everything"
    looks = CoarseToFine(settings)
    exhausted = False

    def measured(model: Any, sample: ReferenceSample, baseline: Any) -> SpectralProfile:
        # Workers keep open what they have themselves.
        alone = settings.execution.executor is None
        every, again = (each * len(sample) for each in (PASSES_OF_A_GATE, PASSES_AGAIN))
        with kept_open(every, again) if alone else nullcontext():
            return looked_at(model, sample, baseline)

    def looked_at(model: Any, sample: ReferenceSample, baseline: Any) -> SpectralProfile:
        options = {"cache": True, "panel": AUTO, **settings.measure}
        check_score_limit(model, thresholds)
        again: Again = {}
        answers = _answered(model, sample, options, baseline, again)
        if baseline is None:
            refuse_wrong_folders(answers)
        found = played(model, sample, baseline, answers, again)
        notes = [note for note in found.notes if CHANGED_MODEL in note]
        if answers.passes_from_cache and notes:
            # What was kept of the model is not its own any longer, and forgotten by now.
            again = {}
            answers = _answered(model, sample, options, baseline, again)
            if looks.last == "answers":
                # Those that were kept had decided how much is played.
                found = played(model, sample, baseline, answers, again)
                found = replace(found, notes=(*found.notes, *notes))
        if baseline is not None and settings.budget not in BUDGETS and (why := unlimited(baseline)):
            told = f"the budget of {settings.budget} does not apply: {why}"
            found = replace(found, notes=(*found.notes, told))
        return with_answers(found, answers)

    def unlimited(baseline: Any) -> str:
        """Why a budget limits nothing; empty where it does."""
        if several or adds:
            return "several trainings take the whole game"
        if auto:
            return "samples='auto' stops where the verdict is decided"
        return "the baseline holds no answers" if baseline.answers is None else looks.why

    def played(
        model: Any, sample: ReferenceSample, baseline: Any, answers: Measurement, again: Again
    ) -> SpectralProfile:
        nonlocal exhausted
        options = {"cache": True, **settings.measure}
        options.pop("panel", None)
        single = baseline is None or not baseline.trainings
        if baseline is not None and baseline.answers is not None and single:
            # The game at the confidence of the baseline, where nothing else tells the two apart.
            options["temperature"] = explained_by_temperature(answers, baseline.answers) or 1.0
        if auto and baseline is not None and single:
            sample, known, ends = in_drawing_order(
                sample, baseline, settings.measure.get("seed", 0)
            )
            options["samples"] = known or "auto"
            options["until"] = stopping_rule(baseline, thresholds, level=level, ends=ends)
        options["again"] = again
        with test.progress() if test else nullcontext() as progress:
            found = None
            if coarsely and baseline is not None and baseline.answers is not None:
                some = first_images(sample, settings.measure.get("samples"))
                found = looks.measured(model, sample, some, baseline, answers, options, progress)
            if found is None:
                found = measure(model, sample, **options, progress=progress, labels_from=baseline)
        exhausted = len(found) == options.get("samples")
        return found

    def compared(candidate: Any, baseline: Any) -> Comparison:
        if auto and candidate is not baseline and not baseline.trainings:
            return compare_sequentially(
                candidate, baseline, thresholds, level=level, exhausted=exhausted
            )
        return looks.compared(candidate, baseline)

    return Gate(
        kind="spectral",
        measure=measured,
        compare=compared,
        limits=thresholds,
        settings=Rules.of(settings.measure).as_dict(),
        level=level,
        fail_on=settings.fail_on,
        timeout=settings.timeout,
        cost=partial(cost_of_the_first, settings.measure),
        samples=settings.measure.get("samples"),
        whole=lambda: looks.last == "everything",
        storable=lambda measured, _: storable(measured),
        tell_more=partial(_tell_more, settings, baseline_model),
    )


def cost_of_the_first(options: Mapping[str, Any], sample: ReferenceSample) -> int:
    """Forward passes of the answers and of the whole game, which begins with a clean one."""
    rules = Rules.of(options)
    game = len(plan(rules.design, rules.bands, "").coalitions)
    samples = options.get("samples")
    played = len(first_images(sample, None if samples == "auto" else samples))
    panel = panel_of(options.get("panel", AUTO), sample.shape)
    return played * (1 + game) + len(sample) * (1 + len(panel))


def _answered(
    model: Any, sample: ReferenceSample, options: Mapping[str, Any], baseline: Any, again: Again
) -> Measurement:
    """The answers to all images that there are, whatever part of them the game is played on.

    ``again`` takes those that were replayed of the images as they are.

    Raises BaselineError where those of ``baseline`` are under another panel.
    """
    chosen = panel_of(options["panel"], sample.shape)
    known = None if baseline is None else baseline.answers or baseline
    if known is not None:
        names = [f"{name} {severity}" for name, severity in chosen]
        before = known.settings.get("panel") or names
        shown = [", ".join(each) or "none" for each in (names, before)]
        if sorted(before) == sorted(names):
            # In the order of the baseline: what is asked is the same.
            chosen = tuple(chosen[names.index(name)] for name in before)
        else:
            raise BaselineError(
                "the baseline was made for something else, so nothing was compared: panel: "
                f"candidate {shown[0]}, baseline {shown[1]}. Restore the "
                "setting, or make a new baseline"
            )
        if sample.labels is None:
            # Only what the baseline's model has predicted a label for.
            there = set(known.digests)
            sample = sample.take([at for at, one in enumerate(sample.digests) if one in there])
    return measure_answers(
        model,
        sample,
        chosen,
        seed=options.get("seed", 0),
        execution=options["execution"],
        labels_from=known,
        cache=options["cache"],
        again=again,
    )


def check_score_limit(model: Any, thresholds: Thresholds) -> None:
    """Raise SettingsError where ``model`` is scored and nothing says how far that may fall."""
    task = as_classifier(model).task
    if task.scored and thresholds.max_score_drop is None:
        raise SettingsError(
            f"this model is measured by a score of your own ({task.unit}), of which nobody else "
            "knows what matters; say how far its mean may fall: max_score_drop=…, in its unit"
        )


def storable(profile: Any) -> SpectralProfile:
    """The profile with the log-likelihoods of its coalitions as files keep them.

    With half their digits, which the noise of images exceeds by far; without them where they would
    make a file too large for a repository.
    """
    if profile.trainings:
        return mean_of([storable(each) for each in profile.trainings])
    table = profile.log_likelihood
    if table is not None:
        table = table.astype(np.float32).astype(np.float64) if table.size <= MOST_KEPT else None
    found: SpectralProfile = replace(profile, log_likelihood=table)
    return found


def _tell_more(
    settings: Settings, baseline_model: Any, gate: Gate, told: Told, compared: ComparisonRecord
) -> dict[str, Any]:
    """The images' spectrum, pictures of those behind a change, and what wings say of a red gate."""
    test, sample, comparison = told.test, told.sample, told.comparison
    if test is None or sample is None or comparison is None:
        return {}
    failed = comparison.fails(gate.fail_on)
    more: dict[str, Any] = {}
    notes = compared["notes"]
    if test.exported(failed, "report", "json"):
        with surviving("the spectrum of the images", notes):
            from pytest_iaside.report.spectrum import spectrum_record

            more["spectrum"] = spectrum_record(sample)
    if told.status != "compared":
        return more
    if test.exported(failed, "report") and (changes := compared["image_changes"]):
        with surviving("pictures of the images behind the change", notes):
            from pytest_iaside.report.pictures import pictures

            rules = Rules(**comparison.candidate.settings)
            more["pictures"] = pictures(sample, rules, changes["images"])
    if failed:
        red = RedGate(
            test=test,
            model=told.model,
            baseline_model=baseline_model,
            sample=sample,
            comparison=comparison,
            execution=settings.execution,
        )
        more |= told_by_wings(red, notes)
    return more

"""assert_equivalent_robustness: whether a deployed model does what its original does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import fields
from functools import partial
from typing import Any, Literal, TypedDict

from typing_extensions import Unpack

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.equivalence import Equivalence, compare_equivalence
from pytest_iaside.compare.margins import Margins
from pytest_iaside.errors import SettingsError, SpectralRobustnessError
from pytest_iaside.execute.execution import Execution, scattered
from pytest_iaside.images.bands import Norm
from pytest_iaside.images.filters import Absence, Space
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import first_images
from pytest_iaside.measure.game.coalitions import Design
from pytest_iaside.measure.game.rules import DType, Rules
from pytest_iaside.measure.layers import first_difference
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import Panel
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.report.record import ComparisonRecord
from pytest_iaside.settings import Layer, Settings, unknown
from pytest_iaside.testing.current_test import CurrentTest
from pytest_iaside.testing.gate import Gate, Told
from pytest_iaside.testing.place import Place
from pytest_iaside.testing.red import RedGate, surviving, told_by_wings
from pytest_iaside.testing.running import run_gate
from pytest_iaside.testing.score_limits import check_score_limits
from pytest_iaside.testing.two_models import measured_both
from pytest_iaside.thresholds import FailOn, check_limits

KIND = "equivalence"
FUNCTION = "assert_equivalent_robustness"
USUAL = Layer("the defaults of equivalence", {"fail_on": "inconclusive", "design": "latin"})
"""What counts where nobody says: only what is shown to be equivalent is deployed."""
LOOKED_INTO = 8
"""Images on which layers are compared: those that differ most."""


class EquivalenceKeywords(TypedDict, total=False):
    """Settings of ``assert_equivalent_robustness``; what is left out the next source decides."""

    samples: int | None
    seed: int
    device: str
    backend: str
    batch_size: int | Literal["auto"]
    dtype: DType
    execution: Execution
    bands: int
    partition: Norm
    absence: Absence
    space: Space
    design: Design
    panel: Panel
    cache: bool
    level: float
    fail_on: FailOn
    timeout: str | None


def assert_equivalent_robustness(
    deployed: Any,
    original: Any,
    reference: ReferenceSample | None = None,
    *,
    max_accuracy_difference: float | None = Margins.max_accuracy_difference,
    max_log_likelihood_difference: float | None = Margins.max_log_likelihood_difference,
    max_probability_difference: float | None = Margins.max_probability_difference,
    max_confidence_difference: float | None = Margins.max_confidence_difference,
    max_score_difference: float | None = Margins.max_score_difference,
    max_value_difference: float | None = Margins.max_value_difference,
    max_band_difference: float | None = Margins.max_band_difference,
    where: bool = True,
    name: str | None = None,
    **settings: Unpack[EquivalenceKeywords],
) -> Comparison:
    """Raise AssertionError unless ``deployed`` is shown to do what ``original`` does.

    Both are models as ``assert_spectral_robustness`` takes them, both are at hand, and there is no
    baseline. They answer the same images of ``reference`` (by default the fixture
    ``spectral_reference``), as they are and under the panel, and play the same coalitions of
    bands. The limits are margins, either way (compare/equivalence.py); None leaves a check out. A
    check passes where two one-sided tests at α = (1 − ``level``)/2 show that it lies within its
    margin, and drifts where it is shown to lie beyond. Anything else is inconclusive, which fails
    here unless ``fail_on="drift"`` is given. ``where`` names the first layer that differs, where
    the gate fails and both are modules of the same structure.

    Without labels in ``reference`` the original's predictions count. Nothing is converted to
    another back end unless ``backend`` names one: a deployed model is measured as it is. Only
    what is found of the original is taken from the cache.

    Raises SettingsError, ReferenceSampleError, or ModelError, also for models of unlike classes.
    """
    __tracebackhide__ = True
    given = {
        "max_accuracy_difference": max_accuracy_difference,
        "max_log_likelihood_difference": max_log_likelihood_difference,
        "max_probability_difference": max_probability_difference,
        "max_confidence_difference": max_confidence_difference,
        "max_score_difference": max_score_difference,
        "max_value_difference": max_value_difference,
        "max_band_difference": max_band_difference,
    }
    prepare = partial(_prepared, deployed, original, given, where, settings)
    place = Place(title="original", shown=_name_of(original))
    return run_gate(KIND, prepare, model=deployed, reference=reference, name=name, place=place)


def _name_of(model: Any) -> str:
    """What reports call ``model``; its type where it is none, which is an error later."""
    try:
        return as_classifier(model).name
    except SpectralRobustnessError:
        return type(model).__name__


def read_settings(
    function: str, keywords: Mapping[str, Any], layers: list[Layer], valid: list[str]
) -> Settings:
    """The settings of a gate on two models; raises SettingsError for others than ``valid``."""
    for name in keywords:
        if name not in valid:
            raise SettingsError(f"{function}: {unknown('setting', name, valid)}")
    return Settings.of([Layer(function, scattered(keywords)), *layers, USUAL])


def _prepared(
    deployed: Any,
    original: Any,
    given: Mapping[str, Any],
    where: bool,
    keywords: Mapping[str, Any],
    test: CurrentTest | None,
) -> Gate:
    valid = [*given, "where", "name", *EquivalenceKeywords.__annotations__]
    settings = read_settings(FUNCTION, keywords, test.layers if test else [], valid)
    allowed = checked_margins(given)
    for role, model in (("deployed", deployed), ("original", original)):
        if isinstance(model, (list, tuple)):
            raise SettingsError(
                f"{role} is a {type(model).__name__} of {len(model)}; give one model: what is "
                "deployed is one training, compared with the very one it was made of"
            )
        check_score_margin(model, allowed)
    if not as_classifier(original).task.scored:
        check_score_limits(FUNCTION, deployed, given)
    both: list[SpectralProfile] = []

    def measured(model: Any, sample: ReferenceSample, _: Measurement | None) -> Measurement:
        with test.progress() if test else nullcontext() as progress:
            both[:] = measured_both(model, original, sample, settings, progress=progress)
        return both[0]

    def compared(_: Measurement, __: Measurement) -> Equivalence:
        found, old = both
        return compare_equivalence(found, old, allowed.bands, allowed.answers, level=settings.level)

    return Gate(
        kind=KIND,
        measure=measured,
        compare=compared,
        limits={},
        level=settings.level,
        direction="any",
        fail_on=settings.fail_on,
        timeout=settings.timeout,
        samples=settings.measure.get("samples"),
        needs_baseline=False,
        tell_more=partial(_tell_more, settings, original, where),
    )


def check_score_margin(model: Any, margins: Margins) -> None:
    """Raise SettingsError where ``model`` is scored and nothing says how far that may differ."""
    task = as_classifier(model).task
    if task.scored and margins.max_score_difference is None:
        raise SettingsError(
            f"{FUNCTION}: these models are measured by a score of your own ({task.unit}), of which "
            "nobody else knows what matters; say how far its mean may differ, either way: "
            "max_score_difference=…, in its unit"
        )


def checked_margins(given: Mapping[str, Any]) -> Margins:
    """The margins that were ``given``, and the usual ones; SettingsError where none is left."""
    found = Margins(**given)
    names = (each.name for each in fields(Margins))
    check_limits({**found.bands, **found.answers}, FUNCTION, names)
    return found


def _tell_more(
    settings: Settings,
    original: Any,
    where: bool,
    gate: Gate,
    told: Told,
    compared: ComparisonRecord,
) -> dict[str, Any]:
    """Pictures of the images that differ most, where a difference arises, and what wings say."""
    test, sample, comparison = told.test, told.sample, told.comparison
    if sample is None or comparison is None:
        return {}
    failed = comparison.fails(gate.fail_on)
    notes, more = compared["notes"], dict[str, Any]()
    if failed and where:
        with surviving("where the first difference arises", notes):
            notes += layer_notes(told.model, original, sample, comparison)
    if test is None:
        return more
    if test.exported(failed, "report") and (changes := compared["image_changes"]):
        with surviving("pictures of the images that differ most", notes):
            from pytest_iaside.report.pictures import pictures

            rules = Rules(**comparison.candidate.settings)
            more["pictures"] = pictures(sample, rules, changes["images"])
    if failed:
        red = RedGate(
            test=test,
            model=told.model,
            baseline_model=original,
            sample=sample,
            comparison=comparison,
            execution=settings.execution,
        )
        more |= told_by_wings(red, notes)
    return more


def layer_notes(
    deployed: Any, original: Any, sample: ReferenceSample, comparison: Comparison
) -> list[str]:
    """The first layer that differs, on the images that differ most; nothing where not modules."""
    changes = comparison.image_changes
    worst = [] if changes is None else [each.digest for each in changes.images]
    place = {digest: at for at, digest in enumerate(sample.digests)}
    rows = [place[digest] for digest in worst if digest in place][:LOOKED_INTO]
    images = sample.take(rows) if rows else first_images(sample, min(LOOKED_INTO, len(sample)))
    told = first_difference(as_classifier(deployed), as_classifier(original), images.pixels())
    return [told] if told else []

"""assert_preprocessing_robustness: whether another preprocessing leaves the answers as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from typing_extensions import Unpack

from pytest_iaside.checks import checked_limit
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.equivalence import Equivalence
from pytest_iaside.compare.margins import Margins
from pytest_iaside.compare.preprocessing import ImageDifference, compare_preprocessing, loss_of
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.bands import BandPartition, Norm
from pytest_iaside.images.filters import band_energies
from pytest_iaside.measure.game.coalitions import Design
from pytest_iaside.measure.game.rules import DType
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import measure_answers
from pytest_iaside.measure.perturbation_game import PerturbationSpectrum, perturbation_spectrum
from pytest_iaside.measure.pipelines import (
    BothFed,
    Pipeline,
    RawFiles,
    Reads,
    both_fed,
    outputs_of,
    raw_files,
)
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.report.record import ComparisonRecord
from pytest_iaside.report.recorded import loss_record
from pytest_iaside.settings import Settings
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.testing.current_test import CurrentTest
from pytest_iaside.testing.equivalence import read_settings
from pytest_iaside.testing.gate import Gate, Told
from pytest_iaside.testing.place import Place
from pytest_iaside.testing.red import surviving
from pytest_iaside.testing.running import run_gate
from pytest_iaside.testing.two_models import as_it_is
from pytest_iaside.thresholds import FailOn, check_limits

KIND = "preprocessing"
FUNCTION = "assert_preprocessing_robustness"
MAX_BAND_LOSS = 0.1
LIMITS = (
    "max_accuracy_difference",
    "max_log_likelihood_difference",
    "max_probability_difference",
    "max_confidence_difference",
    "max_band_loss",
    "max_image_difference",
)


class PreprocessingKeywords(TypedDict, total=False):
    """Settings of ``assert_preprocessing_robustness``; what is left out the next source decides."""

    samples: int | None
    seed: int
    device: str
    backend: str
    batch_size: int | Literal["auto"]
    dtype: DType
    execution: Execution
    bands: int
    partition: Norm
    design: Design
    level: float
    fail_on: FailOn
    timeout: str | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Preprocessed:
    """Answers after two pipelines, the loss between them by band, and how the images differ."""

    original: Measurement
    changed: Measurement
    spectrum: PerturbationSpectrum
    difference: ImageDifference


def assert_preprocessing_robustness(
    model: Any,
    preprocess: Pipeline,
    original_preprocess: Pipeline,
    files: str | Path | Sequence[str | Path],
    *,
    labels: str | Path | Sequence[int] | None = "folder",
    reads: Reads = "image",
    max_accuracy_difference: float | None = Margins.max_accuracy_difference,
    max_log_likelihood_difference: float | None = Margins.max_log_likelihood_difference,
    max_probability_difference: float | None = Margins.max_probability_difference,
    max_confidence_difference: float | None = Margins.max_confidence_difference,
    max_band_loss: float | None = MAX_BAND_LOSS,
    max_image_difference: float | None = None,
    name: str | None = None,
    **settings: Unpack[PreprocessingKeywords],
) -> Comparison:
    """Raise AssertionError unless ``model`` answers alike after both ways to read raw ``files``.

    ``files`` are a folder or single paths, which no code of ours decodes for ``reads="path"`` or
    ``"bytes"``; with ``"image"`` each pipeline is given what PIL opens, in RGB. A pipeline returns
    one float tensor (channels, height, width): pixels in [0, 1] for a Classifier with mean and std,
    else what the network is fed. Both must give one size. ``labels`` as of ``raw_files``; None
    counts what ``model`` predicts after ``original_preprocess``.

    The limits are margins, either way, shown as in ``assert_equivalent_robustness``; perturbations
    are not applied. The change from one image to the other is divided among bands (SPEC.md 7):
    ``max_band_loss`` is how far the log-likelihood may move through each, in nats. How the images
    differ, and in which bands, is always told; ``max_image_difference`` limits it, as a share of
    their contrast.

    Raises SettingsError for pipelines that fail, draw at random or return no such images;
    ReferenceSampleError for files and labels; ModelError.
    """
    __tracebackhide__ = True
    limits = {
        "max_accuracy_difference": max_accuracy_difference,
        "max_log_likelihood_difference": max_log_likelihood_difference,
        "max_probability_difference": max_probability_difference,
        "max_confidence_difference": max_confidence_difference,
        "max_band_loss": max_band_loss,
        "max_image_difference": max_image_difference,
    }
    pipelines = preprocess, original_preprocess
    prepare = partial(_prepared, pipelines, files, labels, reads, limits, settings)
    place = Place(title="original preprocessing", shown=name_of(original_preprocess))
    return run_gate(KIND, prepare, model=model, name=name, place=place)


def name_of(pipeline: Any) -> str:
    """What reports call ``pipeline``."""
    return str(getattr(pipeline, "__name__", type(pipeline).__name__))


def _prepared(
    pipelines: tuple[Pipeline, Pipeline],
    files: Any,
    labels: Any,
    reads: Reads,
    limits: Mapping[str, Any],
    keywords: Mapping[str, Any],
    test: CurrentTest | None,
) -> Gate:
    valid = [*LIMITS, "labels", "reads", "name", *PreprocessingKeywords.__annotations__]
    settings = read_settings(FUNCTION, keywords, test.layers if test else [], valid)
    if pipelines[0] is pipelines[1]:
        raise SettingsError(
            f"{FUNCTION}: both pipelines are the same function ({name_of(pipelines[0])}), so "
            "nothing would be compared; give the one before and the one after a change"
        )
    loss = checked_limit("max_band_loss", limits["max_band_loss"])
    share = "a share of the images' contrast"
    image = checked_limit("max_image_difference", limits["max_image_difference"], share)
    given = {each.name: limits.get(each.name) for each in fields(Margins)}
    margins = Margins(**given)
    if all(value is None for value in limits.values()):
        check_limits({}, FUNCTION, LIMITS)
    names = name_of(pipelines[0]), name_of(pipelines[1])
    found: list[Preprocessed] = []

    def measured(model: Any, _: Any, __: Any) -> Measurement:
        found.append(preprocessed(model, *pipelines, files, settings, labels=labels, reads=reads))
        return found[0].changed

    def compared(_: Measurement, __: Measurement) -> Equivalence:
        one = found[0]
        return compare_preprocessing(
            one.spectrum,
            one.changed,
            one.original,
            one.difference,
            margins,
            max_band_loss=loss,
            max_image_difference=image,
            level=settings.level,
            roles=(f"the preprocessing {names[0]}", f"the original preprocessing {names[1]}"),
        )

    def tell_more(gate: Gate, told: Told, record: ComparisonRecord) -> dict[str, Any]:
        with surviving("through which bands the answers changed", record["notes"]):
            one = found[0]
            lost = loss_of(one.spectrum, one.difference, names[0], settings.level)
            return {"losses": [loss_record(lost)]}
        return {}

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
        needs_reference=False,
        tell_more=tell_more,
    )


def preprocessed(
    model: Any,
    preprocess: Pipeline,
    original_preprocess: Pipeline,
    files: Any,
    settings: Settings,
    *,
    labels: Any = "folder",
    reads: Reads = "image",
) -> Preprocessed:
    """Measure ``model`` after both pipelines; raises as ``assert_preprocessing_robustness``."""
    options = {"bands": 8, "partition": "linf", "seed": 0, **settings.measure}
    samples = options.get("samples")
    if samples == "auto":
        raise SettingsError(f"{FUNCTION}: samples='auto' stops at nothing here; give a number")
    classifier = as_classifier(model)
    raw = raw_files(files, labels, samples=samples)
    both = both_fed(
        classifier,
        raw,
        outputs_of(raw, original_preprocess, reads, "the original preprocessing"),
        outputs_of(raw, preprocess, reads, "the preprocessing"),
    )
    how = {"seed": options["seed"], "execution": as_it_is(classifier, options["execution"])}
    before = measure_answers(both.classifier, both.original, (), **how)
    labelled = both.changed
    if labelled.labels is None:
        labelled = labelled.with_labels(before.labels)
    after = measure_answers(both.classifier, labelled, (), **how)
    spectrum = perturbation_spectrum(
        both.classifier,
        both.original,
        both.changed,
        bands=options["bands"],
        partition=options["partition"],
        design=options["design"],
        labels_from=before,
        **how,
    )
    difference = _difference(both, raw, spectrum.energy, spectrum.partition)
    same: dict[str, Any] = {"digests": raw.digests, "reference": before.reference}
    return Preprocessed(
        original=replace(before, **same),
        changed=replace(after, **same),
        spectrum=replace(spectrum, **same),
        difference=difference,
    )


def _difference(
    both: BothFed, raw: RawFiles, energy: Floats, partition: BandPartition
) -> ImageDifference:
    """How far the images differ; ``energy`` (K, M) is of samples in [0, 1], not of outputs."""
    pixels = both.original.pixels().double()
    own = band_energies(pixels * both.span + both.low, partition).numpy()
    contrast = (pixels - pixels.mean(dim=(1, 2, 3), keepdim=True)).square().sum(dim=(1, 2, 3))
    known, total = contrast.numpy(), energy.sum(axis=1)
    # Of an image without contrast any difference is more than all that there was.
    nothing = np.where(total > 0, np.inf, 0.0)
    relative = np.sqrt(np.divide(total, known, out=nothing, where=known > 0))
    return ImageDifference(
        energy=energy.mean(axis=0) * both.span**2,
        own=own.mean(axis=0),
        relative=relative,
        labels=tuple(partition.labels),
        identical=int((total == 0).sum()),
    )

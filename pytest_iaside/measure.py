"""measure(): a reference sample and a classifier make a SpectralProfile."""

from __future__ import annotations

import inspect
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_iaside.data.reference import ReferenceSample
from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.execute.play import Execution, Rows, Shard, join, play, play_on, shards
from pytest_iaside.game.coalitions import exact_coalitions
from pytest_iaside.game.rules import Design, DType, Rules
from pytest_iaside.game.shapley import shapley_values
from pytest_iaside.models.backends import open_backend
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.profile import ModelFacts, ReferenceFacts, SpectralProfile
from pytest_iaside.spectrum.bands import BandPartition, Norm
from pytest_iaside.spectrum.filters import Absence, Space
from pytest_iaside.structure import label_information

# Images prepared at once, and sent to an executor's worker together with the model.
SHARD = 8


@dataclass(frozen=True)
class Progress:
    """How far a measurement is; ``seconds`` since it began."""

    images_done: int
    images: int
    forward_passes: int
    seconds: float


def measure(
    model: Any,
    reference: ReferenceSample,
    *,
    bands: int = 8,
    partition: Norm = "linf",
    absence: Absence = "zero",
    space: Space = "input",
    design: Design = "exact",
    samples: int | None = None,
    seed: int = 0,
    device: str = "auto",
    backend: str = "auto",
    batch_size: int | str = "auto",
    dtype: DType = "float32",
    executor: Executor | None = None,
    progress: Callable[[Progress], None] | None = None,
    labels_from: SpectralProfile | None = None,
) -> SpectralProfile:
    """Play every coalition of frequency bands of every reference image through ``model``.

    ``model`` is a Classifier, an nn.Module, a function from images to logits, or the path of
    an .onnx file. ``samples`` takes only the first images of ``reference``. Without labels
    in ``reference`` the model's own predictions on the clean images count, or those of
    ``labels_from``, so that two models are held against the same labels. ``progress`` is
    called after every few images.

    Raises SettingsError for a setting that is out of range or does not fit the images,
    ReferenceSampleError for images or labels that do not fit the model, ModelError where the
    model fails or returns anything but finite logits. SPEC.md 1.1–1.4.
    """
    began = time.perf_counter()
    rules = Rules(
        bands=bands,
        partition=partition,
        absence=absence,
        space=space,
        design=design,
        dtype=dtype,
        seed=seed,
    )
    execution = Execution(device=device, backend=backend, batch_size=batch_size)
    classifier = as_classifier(model)
    if not isinstance(reference, ReferenceSample):
        raise ReferenceSampleError(
            f"the reference is a {type(reference).__name__}, expected a ReferenceSample; wrap "
            "images with ReferenceSample(images) or read them with ReferenceSample.from_folder"
        )
    _, height, width = reference.shape
    BandPartition(height, width, bands, partition)  # Says now, not in a worker, what is wrong.
    sample = _first(reference, samples)
    pinned = _pin_labels(sample, labels_from)

    work = shards(pinned, rules, reference, SHARD)
    done: list[Rows] = []
    for rows in _results(classifier, rules, execution, work, executor):
        done.append(rows)
        if progress is not None:
            so_far = sum(len(r.log_likelihood) for r in done)
            passes = sum(r.forward_passes for r in done)
            progress(Progress(so_far, len(sample), passes, time.perf_counter() - began))
    played = join(done)
    labels = (
        played.log_probabilities.argmax(axis=1) if pinned.labels is None else pinned.labels.numpy()
    )
    return SpectralProfile(
        image_psi=shapley_values(played.log_likelihood),
        by_size=_mean_by_size(played.log_likelihood, bands),
        log_likelihood=played.log_likelihood,
        information=label_information(played.log_probabilities, labels),
        digests=sample.digests,
        names=sample.names,
        labels=labels,
        rules=rules,
        reference=ReferenceFacts.of(reference),
        model=ModelFacts(
            name=classifier.name,
            classes=played.log_probabilities.shape[1],
            fingerprint=classifier.fingerprint(),
        ),
        forward_passes=played.forward_passes,
        environment=_environment(execution),
        seconds=time.perf_counter() - began,
    )


MEASURE_SETTINGS = tuple(
    name
    for name, parameter in inspect.signature(measure).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
    and name not in ("executor", "progress", "labels_from")
)


def _results(
    classifier: Classifier,
    rules: Rules,
    execution: Execution,
    work: list[Shard],
    executor: Executor | None,
) -> Iterator[Rows]:
    if executor is not None:
        count = len(work)
        yield from executor.map(
            play, [classifier] * count, [rules] * count, [execution] * count, work
        )
        return
    with open_backend(
        classifier, backend=execution.backend, device=execution.device, dtype=rules.dtype
    ) as backend:
        for shard in work:
            yield from play_on(backend, classifier, rules, execution, shard)


def _first(reference: ReferenceSample, samples: int | None) -> ReferenceSample:
    if samples is None:
        return reference
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise SettingsError(f"samples={samples!r} must be a whole number above 0, or None for all")
    if samples > len(reference):
        raise SettingsError(
            f"samples={samples} images asked for, but the reference sample holds "
            f"{len(reference)}; ask for fewer, or None for all of them"
        )
    return reference.take(range(samples))


def _pin_labels(sample: ReferenceSample, source: SpectralProfile | None) -> ReferenceSample:
    if source is None or sample.labels is not None or source.labels.ndim != 1:
        return sample
    known = dict(zip(source.digests, source.labels.tolist(), strict=True))
    missing = [name for name, d in zip(sample.names, sample.digests, strict=True) if d not in known]
    if missing:
        raise ReferenceSampleError(
            f"{missing[0]} and {len(missing) - 1} more images have no label in the profile whose "
            "predictions were to be used; measure that profile on the same reference sample"
        )
    return sample.with_labels([known[digest] for digest in sample.digests])


def _mean_by_size(log_likelihood: NDArray[np.float64], bands: int) -> NDArray[np.float64]:
    size = exact_coalitions(bands).sum(axis=1)
    return np.stack([log_likelihood[:, size == s].mean(axis=1) for s in range(bands + 1)], axis=1)


def _environment(execution: Execution) -> dict[str, str]:
    return {
        "pytest-iaside": metadata.version("pytest-iaside"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": execution.device,
        "backend": execution.backend,
        "batch_size": str(execution.batch_size),
    }

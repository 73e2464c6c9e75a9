"""measure(): a reference sample and a classifier make a SpectralProfile."""

import inspect
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast

from pytest_iaside.checks import check_positive
from pytest_iaside.execute.execution import Execution, check_execution
from pytest_iaside.execute.jobs import AT_A_TIME
from pytest_iaside.execute.running import run_jobs
from pytest_iaside.images.bands import BandPartition, Norm
from pytest_iaside.images.filters import Absence, Space
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import check_reference, first_images, notes_on, on_labels_of
from pytest_iaside.measure.answers import labels_of
from pytest_iaside.measure.game.cached import CachedGame
from pytest_iaside.measure.game.coalitions import Design, resolved
from pytest_iaside.measure.game.parts import WholeGame
from pytest_iaside.measure.game.play import Game
from pytest_iaside.measure.game.replay import Again
from pytest_iaside.measure.game.rows import GameRows, join
from pytest_iaside.measure.game.rules import DType, Rescale, Rules
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import (
    Panel,
    information_of,
    measure_answers,
    rightness,
    with_answers,
)
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo, environment
from pytest_iaside.measure.quantities import ANSWERS, answer_quantities
from pytest_iaside.models.classifier import as_classifier


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
    design: Design = "auto",
    samples: int | Literal["auto"] | None = None,
    seed: int = 0,
    rescale: Rescale | None = None,
    execution: Execution = Execution(),
    cache: bool = False,
    progress: Callable[[Progress], None] | None = None,
    panel: Panel = (),
    labels_from: Measurement | None = None,
    temperature: float = 1.0,
    until: Callable[[SpectralProfile], int | None] | None = None,
    again: Again | None = None,
) -> SpectralProfile:
    """Play every coalition of frequency bands of every reference image through ``model``.

    ``model`` is a Classifier, an nn.Module, a function from images to logits, or the path of
    an .onnx file. ``samples`` takes only the first images of ``reference``; with ``"auto"`` a gate
    decides how many (``until``), without one all are taken. ``cache`` takes what was found for an
    image before from the disk, and keeps there what is found now (store/cache.py). Without labels
    in ``reference`` the model's own predictions on the clean images count, or those of
    ``labels_from``, so that two models are scored on the same labels. Under the corruptions of
    ``panel`` ("auto": the usual five) all images of ``reference`` are answered as well
    (measure_answers). ``rescale="authors"`` is for replication alone: as in the paper's own code,
    the absolute value of filtered images is stretched to 0…1 over all images of a coalition, so
    that what is found of an image depends on the others, and nothing is taken from the cache.
    ``temperature`` is what logits are divided by. ``progress`` is called after
    every few images, and ``until`` with the profile so far: it returns at how many images to stop,
    or None to go on. ``again`` is what ``measure_answers`` has found just before of images that
    are kept: they are not replayed once more.

    Raises SettingsError for a setting that is out of range or does not fit the images,
    ReferenceSampleError for images or labels that do not fit the model, ModelError where the
    model fails or returns anything but finite logits. SPEC.md 1.1–1.4.
    """
    began = time.perf_counter()
    check_execution(execution)
    check_positive("temperature", temperature)
    rules = Rules(
        bands=bands,
        partition=partition,
        absence=absence,
        space=space,
        design=design,
        dtype=cast(DType, execution.dtype),
        seed=seed,
        rescale=rescale,
        ways=_ways(resolved(design, bands), labels_from),
    )
    classifier = as_classifier(model)
    check_reference(reference)
    channels, height, width = reference.shape
    classifier.check_channels(channels)
    BandPartition(height, width, bands, partition)  # Says now, not in a worker, what is wrong.
    sample = first_images(reference, samples)
    pinned = on_labels_of(sample, labels_from)

    fingerprint = classifier.fingerprint()
    again = {} if again is None else again
    answered = partial(
        measure_answers,
        classifier,
        reference,
        panel,
        seed=seed,
        execution=execution,
        labels_from=labels_from,
        cache=cache,
        again=again,
    )
    answers = answered() if panel else None
    game = Game(classifier, rules, execution, pinned, reference, temperature)
    kept = CachedGame.of(game, again) if cache and rescale is None else None
    done: list[GameRows] = []

    def profile() -> SpectralProfile:
        return profile_of(join(done), game, fingerprint, kept=kept, began=began)

    for rows in _results(game, kept):
        done.append(rows)
        if progress is not None:
            so_far = sum(len(r.image_psi) for r in done)
            passes = sum(r.forward_passes - r.from_cache for r in done)
            progress(Progress(so_far, len(sample), passes, time.perf_counter() - began))
        if until is not None and (enough := until(profile())) is not None:
            found = profile().first(enough)
            break
    else:
        found = profile()
    found = replace(found, notes=(*found.notes, *notes_on(sample)))
    if answers is None:
        return found
    if answers.passes_from_cache and kept is not None and kept.note:
        answers = answered()  # What was kept of the model is forgotten by now.
    return with_answers(found, answers)


def _ways(design: Design, before: Measurement | None) -> int | None:
    """How the circle of ``latin`` is read: as for a baseline of version 0.1, or in both ways."""
    if design != "latin":
        return None
    old = isinstance(before, SpectralProfile) and before.rules.design == "latin"
    return before.rules.ways if old and isinstance(before, SpectralProfile) else 2


def profile_of(
    played: GameRows,
    game: Game,
    fingerprint: str | None,
    *,
    kept: CachedGame | None = None,
    began: float,
) -> SpectralProfile:
    """The profile of the first images of ``game``, those that were ``played``."""
    count = len(played.image_psi)
    sample, classifier = game.sample, game.classifier
    classes = played.log_probabilities.shape[1]
    task = classifier.task
    model_info = ModelInfo.of(classifier, classes, fingerprint)
    groups = None if sample.groups is None else sample.groups[:count]
    labels = labels_of(sample.take(range(count)), played.log_probabilities, task)
    information = information_of(played.log_probabilities, labels, task)
    if task.scored:
        information = played.image_psi.sum(axis=1)
    return SpectralProfile(
        values=played.image_psi,
        by_size=played.by_size,
        log_likelihood=played.log_likelihood if game.rules.design == "exact" else None,
        information=information,
        digests=sample.digests[:count],
        names=sample.names[:count],
        groups=groups,
        labels=labels,
        rules=game.rules,
        reference=ReferenceInfo.of(game.whole),
        model=model_info,
        forward_passes=played.forward_passes,
        passes_from_cache=played.from_cache,
        passes_replayed=0 if kept is None else kept.replayed,
        not_cached_because="" if kept is None else kept.why_not,
        notes=(kept.note,) if kept is not None and kept.note else (),
        answers=Measurement(
            kind=ANSWERS,
            quantities=answer_quantities((), task.kind),
            values=rightness([played.log_probabilities], labels, task),
            digests=sample.digests[:count],
            names=sample.names[:count],
            groups=groups,
            labels=labels,
            settings={"panel": []},
            reference=ReferenceInfo.of(game.whole),
            model=model_info,
            forward_passes=count,
        ),
        environment=environment() | played.environment,
        seconds=time.perf_counter() - began,
    )


NO_SETTINGS = {"execution", "progress", "labels_from", "temperature", "until", "rescale", "again"}
MEASURE_SETTINGS = tuple(
    name
    for name, parameter in inspect.signature(measure).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name not in NO_SETTINGS
)


def _results(game: Game, kept: CachedGame | None) -> Iterator[GameRows]:
    """The rows of each of the sample's images, in their order; those kept are not played."""
    known: Sequence[GameRows | None] = [None] * len(game.sample) if kept is None else kept.rows()
    missing = [image for image, rows in enumerate(known) if rows is None]
    work = map(WholeGame, game.shards(AT_A_TIME, tuple(missing)))
    played = run_jobs(game.classifier, game.execution, work)
    ahead: deque[GameRows] = deque()
    with closing(played):
        for rows in known:
            if rows is None and not ahead:
                found = next(played)
                images, missing = missing[: len(found)], missing[len(found) :]
                if kept is not None:
                    kept.keep(images, found)
                ahead.extend(found.each())
            yield ahead.popleft() if rows is None else rows

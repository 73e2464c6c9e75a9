"""What a classifier answers to a sample's images, clean and perturbed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import (
    ReferenceSampleError,
    SettingsError,
    SpectralRobustnessError,
    one_line,
)
from pytest_iaside.execute.execution import Execution, check_execution
from pytest_iaside.execute.jobs import AT_A_TIME, CutByImages
from pytest_iaside.execute.runner import BackendRunner, Runner, check_finite, open_gradient_runner
from pytest_iaside.execute.running import run_jobs
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import check_reference
from pytest_iaside.images.targets import numbers_of
from pytest_iaside.measure.game.rounds import UNUSED_TARGETS, check_targets, scored
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.models.gradients import PixelNetwork, with_gradients
from pytest_iaside.models.tasks import SOFTMAX, Task
from pytest_iaside.perturb.attacks import Attack, attacked, checked_images, name_of
from pytest_iaside.perturb.corruptions import check_corruption, check_severity, corrupt
from pytest_iaside.stats.arrays import Floats

Perturbation = Attack | Callable[[Tensor], Any] | tuple[str, int] | ReferenceSample
"""An attack, a function of images, a corruption and its severity, or the perturbed images."""
Kind = Literal["clean", "attack", "function", "corruption", "sample"]


def answers(
    classifier: Any,
    reference: ReferenceSample,
    perturbations: Sequence[Perturbation | None],
    *,
    seed: int = 0,
    execution: Execution = Execution(),
    known: bool = False,
) -> list[Floats]:
    """Logits (K, C) float64 under each of ``perturbations``; None is the clean images.

    Of a task that is scored the scores (K, 1).

    Corruptions are drawn with ``seed``. The model is made ready once for all of them. Where the
    answers are ``known``, and compared with what is known, nothing else asks whether they are the
    same each time.

    Raises SettingsError for a perturbation that fails or returns no images of the same shape in
    [0, 1], and for settings out of range; ReferenceSampleError for labels that do not fit the
    model; ModelError where it fails, or has not the gradients that an attack needs.
    """
    chosen = as_classifier(classifier)
    check_reference(reference)
    check_execution(execution)
    kinds = [kind_of(each, reference) for each in perturbations]
    if "attack" in kinds:
        PixelNetwork(chosen)  # Says now, not after the clean images, that there are no gradients.
        if execution.backend == "auto":
            # PyTorch has the gradients; another backend would leave it a single thread for them.
            execution = replace(execution, backend="eager")
    asked = tuple(zip(perturbations, kinds, strict=True))
    job = _Answers(reference, asked, seed, len(reference) * len(perturbations))
    rows = list(run_jobs(chosen, execution, [job], steady=known))
    return [np.concatenate([row[place] for row in rows]) for place in range(len(asked))]


@dataclass(frozen=True, eq=False)
class _Answers(CutByImages):
    """Images, and what they are shown under: a job whose rows are logits (k, C) under each."""

    sample: ReferenceSample
    asked: tuple[tuple[Any, Kind], ...]
    seed: int
    passes: int

    def first_inputs(self, classifier: Classifier) -> Tensor:
        return classifier.normalise(self.sample.pixels(0, AT_A_TIME))

    def rows(self, runner: BackendRunner) -> Iterator[list[Floats]]:
        run = _Run(runner, self.sample, self.seed)
        yield [run.logits(each, kind) for each, kind in self.asked]

    @property
    def own_passes(self) -> int:
        return len(self.sample) * len(self.asked)

    def images_at_once(self, batch_size: int, passes: int) -> int:
        return batch_size * max(1, passes // (batch_size * len(self.asked)))

    def take(self, some: slice) -> _Answers:
        images = range(some.start, some.stop)
        asked = tuple(
            (each.take(images) if kind == "sample" else each, kind) for each, kind in self.asked
        )
        return replace(self, sample=self.sample.take(images), asked=asked)


def labels_of(reference: ReferenceSample, clean: Floats, task: Task = SOFTMAX) -> NDArray[Any]:
    """The sample's labels, or what the answers ``clean`` (K, C) predict where it has none.

    Of several labels at once 1 where one holds, (K, C); of what is scored a number (K,) that tells
    one target from another.
    """
    if reference.labels is not None:
        return np.asarray(reference.labels.numpy())
    if reference.targets is None:
        return np.asarray(task.predicted(torch.from_numpy(clean)).numpy())
    if task.kind == "multilabel" and isinstance(reference.targets, Tensor):
        return np.asarray(reference.targets.to(torch.float64).numpy())
    if not task.scored:
        raise ReferenceSampleError(UNUSED_TARGETS)
    return np.array(numbers_of(reference.targets), dtype=np.int64)


class _Run:
    """A classifier that is ready, on a reference sample."""

    def __init__(self, runner: Runner, reference: ReferenceSample, seed: int) -> None:
        self._runner, self._reference, self._seed = runner, reference, seed
        self._clean: Floats | None = None

    def logits(self, perturbation: Any, kind: Kind) -> Floats:
        if kind == "attack":
            return self._forward(self.attacked(perturbation))
        if kind != "clean":
            return self._forward(self._perturbed(perturbation, kind))
        if self._clean is None:
            self._clean = self._forward(self._pixels(some) for some in self._pieces())
        return self._clean

    def _perturbed(self, perturbation: Any, kind: Kind) -> Iterator[Tensor]:
        for some in self._pieces():
            yield perturbed_pixels(perturbation, kind, self._reference, some, self._seed)

    def classes(self) -> Tensor:
        """The class of each image that an attack leads away from, (K,)."""
        labels = self._reference.labels
        if labels is None:
            labels = torch.from_numpy(self.logits(None, "clean"))
        return labels.argmax(dim=1) if labels.ndim == 2 else labels

    def attacked(self, attack: Attack) -> Iterator[Tensor]:
        classes = self.classes()
        device = self._runner.device
        for some in self._pieces():
            # For each batch anew: what is switched in it must not stay so beyond a yield.
            with with_gradients(self._runner.classifier) as model:
                pixels, names = self._pixels(some).to(device), self._reference.names[some]
                found = attacked(model, pixels, classes[some].to(device), attack, names)
            yield found

    def _forward(self, batches: Iterator[Tensor]) -> Floats:
        normalise, device = self._runner.classifier.normalise, self._runner.device
        inputs = (normalise(batch.to(device)) for batch in batches)
        sample, task = self._reference, self._runner.classifier.task
        if task.scored:
            outputs = self._runner.forward_many(inputs)
            found = torch.cat(list(scored(outputs, task, sample.right, sample.names)))
            check_finite(found, sample.names, scored=True)
        else:
            found = self._runner.logits(inputs, sample.names)
        check_targets(sample, found, task)
        rows: Floats = found.cpu().numpy()
        return rows

    def _pixels(self, some: slice) -> Tensor:
        return self._reference.pixels(some.start, some.stop)

    def _pieces(self) -> Iterator[slice]:
        return self._runner.pieces(len(self._reference))


def perturbed_pixels(
    perturbation: Any, kind: Kind, reference: ReferenceSample, some: slice, seed: int
) -> Tensor:
    """Pixels (k, C, H, W) of ``some`` images under a ``perturbation`` that needs no model."""
    if kind == "sample":
        stored: Tensor = perturbation.pixels(some.start, some.stop)
        return stored
    pixels = reference.pixels(some.start, some.stop)
    if kind == "corruption":
        # Of the images as they are, not as float32: noise is keyed by their digests.
        images, (name, severity) = reference.images[some], perturbation
        found = corrupt(images, name, severity, seed=seed)
    else:
        name = name_of(perturbation)
        try:
            found = perturbation(pixels)
        except SpectralRobustnessError:
            raise
        except Exception as error:  # Whatever the user's function raises.
            raise SettingsError(
                f"the perturbation {name} failed ({one_line(error)}); it is called with "
                "images alone, and an attack with (model, images, labels)"
            ) from error
    return checked_images(found, pixels, f"the perturbation {name}", reference.names[some])


def perturbed_sample(
    classifier: Classifier,
    sample: ReferenceSample,
    perturbation: Perturbation,
    seed: int,
    execution: Execution,
) -> tuple[str, ReferenceSample]:
    """The name of ``perturbation``, and ``sample`` under it; raises as ``answers``."""
    kind = kind_of(perturbation, sample)
    whole = slice(0, len(sample))
    if kind == "attack":
        pixels, _ = attacked_pixels(classifier, sample, cast(Attack, perturbation), execution)
    else:
        pixels = perturbed_pixels(perturbation, kind, sample, whole, seed)
    corruption = isinstance(perturbation, (tuple, list))
    name = " ".join(map(str, perturbation)) if corruption else name_of(perturbation)  # type: ignore[arg-type]
    return name, ReferenceSample(pixels, sample.labels, targets=sample.targets, names=sample.names)


def attacked_pixels(
    classifier: Classifier, reference: ReferenceSample, attack: Attack, execution: Execution
) -> tuple[Tensor, Tensor]:
    """Pixels (K, C, H, W) of all images under ``attack``, and the classes (K,) it leads away from.

    Both on the CPU. Raises as ``answers``.
    """
    with open_gradient_runner(classifier, execution, reference, "to attack with") as runner:
        run = _Run(runner, reference, 0)
        return torch.cat([each.cpu() for each in run.attacked(attack)]), run.classes()


def kind_of(perturbation: Any, reference: ReferenceSample) -> Kind:
    """What ``perturbation`` is; raises as ``answers`` where it is none, or of other images."""
    if perturbation is None:
        return "clean"
    if isinstance(perturbation, ReferenceSample):
        _check_same_images(perturbation, reference)
        return "sample"
    if isinstance(perturbation, (tuple, list)) and len(perturbation) == 2:
        check_corruption(perturbation[0])
        check_severity(perturbation[1])
        return "corruption"
    if not callable(perturbation):
        raise SettingsError(
            f"perturbation={perturbation!r} is not a perturbation; give (corruption, severity), a "
            "function of images, an attack (model, images, labels) -> images, or a ReferenceSample"
        )
    try:
        parameters = inspect.signature(perturbation).parameters.values()
    except (TypeError, ValueError):
        return "function"  # Built in, as no attack is.
    given = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in given if p.default is p.empty]
    if len(needed) <= 1:
        return "function"
    if len(needed) <= 3 <= len(given):
        return "attack"
    raise SettingsError(
        f"the perturbation {name_of(perturbation)} takes {len(needed)} arguments; expected one "
        "(images) or three (model, images, labels): set others with functools.partial"
    )


def _check_same_images(perturbed: ReferenceSample, reference: ReferenceSample) -> None:
    if perturbed.shape != reference.shape or len(perturbed) != len(reference):
        raise ReferenceSampleError(
            f"the perturbed images are a {perturbed!r}, the clean ones a {reference!r}; give each "
            "clean image its perturbed one, in the same order and of the same size"
        )
    pairs = zip(perturbed.names, reference.names, strict=True)
    differing = next((pair for pair in pairs if pair[0] != pair[1]), None)
    if differing is not None:
        raise ReferenceSampleError(
            f"the perturbed image {differing[0]} stands where the clean one is {differing[1]}; "
            "give both in the same order and under the same names"
        )
    # Names that were given tell which image is which; numbers do not, but labels may.
    if perturbed.labels is None or reference.labels is None or not _are_numbers(reference.names):
        return
    if perturbed.labels.shape != reference.labels.shape:
        return
    other = (perturbed.labels != reference.labels).reshape(len(reference), -1).any(dim=1)
    if bool(other.any()):
        first = int(other.nonzero()[0])
        raise ReferenceSampleError(
            f"{reference.names[first]} has the label {reference.labels[first].tolist()}, but its "
            f"perturbed image {perturbed.labels[first].tolist()} ({int(other.sum())} of "
            f"{len(reference)} differ); give both in the same order, or the perturbed ones without "
            "labels"
        )


def _are_numbers(names: Sequence[str]) -> bool:
    """Whether these are names that a sample gives images which have none."""
    return all(name.startswith("image ") for name in names)

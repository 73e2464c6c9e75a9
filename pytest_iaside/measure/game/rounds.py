"""Rounds: images with what can be mixed into them, through one network, and its scores.

What is mixed, whether bands of an image (play.py) or changes of it (changes.py), makes no
difference here: row s of a round's mixtures says how much of each part the network sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.execute.runner import BackendRunner, Runner, not_finite, pieces
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.game.coalitions import members
from pytest_iaside.models.outputs import batch_of, described
from pytest_iaside.models.tasks import SOFTMAX, Rated, Task, no_targets
from pytest_iaside.stats.arrays import Floats

Targets = Tensor | Sequence[Any]
"""What is right, of each image."""


class Pictures(Protocol):
    """K images with what can be mixed into them."""

    def of(self, images: slice) -> Pictures:
        """Those of some of the images."""

    def combine(self, coalitions: Tensor) -> Tensor:
        """What the network is fed, (K·S, C, H, W), for the mixtures (K, S, M)."""


def bands_present(mixture: NDArray[Any]) -> str:
    """A coalition of bands in words, for messages."""
    present = mixture.astype(bool)
    return f"with the bands {members(present)} present" if present.any() else "with no band"


@dataclass(frozen=True, eq=False)
class Round:
    """K images that are played together.

    ``coalitions`` (K, S, M) of 0 and 1, or how much of each of M parts; ``targets`` (K,) classes,
    (K, C) distributions, or what the task's score takes; ``names`` are the images' own, and
    ``shown(image, row)`` tells what is played, for messages: by default the coalition.
    """

    pictures: Pictures
    coalitions: Tensor
    targets: Targets
    names: tuple[str, ...]
    temperature: float = 1.0
    task: Task = SOFTMAX
    shown: Callable[[int, int], str] | None = None


TakeApart = Callable[[slice, Tensor, Tensor], tuple[Pictures, Tensor]]
"""Of some images, which, their pixels, and what is to be played of each (k, S, M): the pictures of
their parts, and how much of each part that takes, (k, S, parts)."""


def scores_on(
    runner: BackendRunner,
    sample: ReferenceSample,
    played: Sequence[NDArray[Any]],
    take_apart: TakeApart,
    *,
    every: bool = False,
    targets: Targets | None = None,
    clean: Tensor | None = None,
    temperature: float = 1.0,
    shown: Callable[[NDArray[Any]], str] = bands_present,
) -> Iterator[tuple[slice, Floats, Floats]]:
    """Scores (F, k, S) of what is ``played``, (S, M) of each image of ``sample``.

    A few images at a time, which, and with the answers (k, C) to the images as they are
    (``normalised``), of which ``clean`` (K, C) are the answers of the network if they are known.
    ``take_apart`` makes the pictures of some images. The score is what v is made of, or ``every``
    one of the task's. ``targets`` count where the sample has none; without them what the network
    itself finds.
    """
    device, batch_size, task = runner.device, runner.batch_size, runner.classifier.task
    pixels = to_device(device, sample.pixels())
    given = sample.right
    if clean is None:
        clean = clean_answers(runner, sample, pixels)
    answers = to_device(device, clean)
    check_targets(sample, answers, task)
    if given is not None:
        targets = given
    if task.kind == "multilabel" and isinstance(targets, Tensor):
        targets = targets.to(torch.float64)
    if targets is None:
        targets = task.predicted(answers)
    targets = to_device(device, targets) if isinstance(targets, Tensor) else targets
    normal = to_host(normalised(answers, task, temperature))
    # Images whose coalitions share a batch are taken apart together, others one by one.
    together = list(pieces(len(sample), max(1, batch_size // len(played[0]))))

    def rounds() -> Iterator[Round]:
        for some in together:
            wanted = to_device(device, torch.from_numpy(np.stack(played[some])))
            pictures, mixtures = take_apart(some, pixels[some], wanted)
            yield Round(
                pictures,
                mixtures.to(torch.float32),
                targets[some],
                sample.names[some],
                temperature,
                task,
                partial(_told, shown, wanted),
            )

    results = play_rounds(rounds(), runner, batch_size=batch_size, every=every)
    for some, scores in zip(together, results, strict=True):
        yield some, to_host(scores), normal[some]


def clean_answers(runner: BackendRunner, sample: ReferenceSample, pixels: Tensor) -> Tensor:
    """Answers (K, C) to the images of ``sample`` as they are; of what is scored the scores."""
    inputs = map(runner.classifier.normalise, torch.split(pixels, runner.batch_size))
    found, task = runner.forward_many(inputs), runner.classifier.task
    if task.scored:
        found = scored(found, task, sample.right, sample.names)
    return torch.cat(list(found))


def normalised(answers: Tensor, task: Task, temperature: float = 1.0) -> Tensor:
    """``answers`` (K, C) as rows keep them: log-probabilities, else divided by temperature."""
    if task.scored:
        return answers.to(torch.float64)
    return task.comparable(answers.to(torch.float64) / temperature)


def scored(
    outputs: Iterable[Any], task: Task, targets: Targets | None, names: Sequence[str]
) -> Iterator[Tensor]:
    """The user's score (B, 1) of each batch of ``outputs``, in the order of ``names``.

    Raises ReferenceSampleError where there are no ``targets``.
    """
    if targets is None:
        raise no_targets()
    done = 0
    for output in outputs:
        size = batch_of(output)
        some = slice(done, done + size)
        done = some.stop
        yield task.scores_of(output, targets[some], tuple(names[some]))


UNUSED_TARGETS = (
    "the reference sample has targets, which are for task='multilabel' and score=, but the model "
    "is a classifier of which one class is right; give ReferenceSample(images, labels): class "
    "indices (images,), or distributions (images, classes)"
)


def check_targets(sample: ReferenceSample, answers: Tensor, task: Task) -> None:
    """Raise ReferenceSampleError where the targets of ``sample`` do not fit ``answers`` (K, C)."""
    if task.kind == "multilabel":
        given = sample.targets
        if given is None and sample.labels is None:
            return
        shape = (len(sample), answers.shape[1])
        if not isinstance(given, Tensor) or given.shape != shape or not _shares(given):
            raise ReferenceSampleError(
                f"task='multilabel' with {answers.shape[1]} labels expects targets of shape "
                f"(images, {shape[1]}) in [0, 1], but found {described(given)}; give "
                "ReferenceSample(images, targets=…), 1 where a label holds"
            )
    elif not task.scored:
        if sample.targets is not None:
            raise ReferenceSampleError(UNUSED_TARGETS)
        sample.check_classes(answers.shape[1])


def _shares(targets: Tensor) -> bool:
    return bool(((targets >= 0) & (targets <= 1)).all())


def play_rounds(
    rounds: Iterable[Round], runner: Runner, *, batch_size: int, every: bool = False
) -> Iterator[Tensor]:
    """The scores of each coalition of each round, (F, K, S) float64 on the CPU.

    Of what v is made of, or of ``every`` rating of the task.

    A batch is made when the runner asks for it and holds at most ``batch_size`` images; the next
    round is made ready while the last batches of the one before are still with the network.

    Raises ModelError naming the image and the coalition where logits are not finite.
    """
    for answers, turn in runner.run(_batches(rounds, batch_size, every)):
        turn.enter(answers)
        if turn.last:
            # On a GPU this waits for all that is under way: once a round.
            found = turn.found.cpu()
            _check_finite(found, turn.round)
            yield found


@dataclass(frozen=True, eq=False)
class _Turn:
    """A batch that is with the network, and where its results go."""

    round: Round
    found: Tensor
    ratings: Sequence[Rated]
    images: slice
    some: slice
    last: bool

    def enter(self, answers: Any) -> None:
        played, task = self.round, self.round.task
        count, size = self.images.stop - self.images.start, batch_of(answers)
        targets, names = played.targets[self.images], played.names[self.images]
        times = size // count
        if task.scored:
            each = [place for place in range(count) for _ in range(times)]
            chosen = targets[each] if isinstance(targets, Tensor) else [targets[i] for i in each]
            answers = task.scores_of(answers, chosen, tuple(names[i] for i in each))
            targets = torch.empty(0)  # The score has seen them.
        elif isinstance(targets, Tensor):
            targets = targets.repeat_interleave(times, dim=0)
        assert isinstance(targets, Tensor)
        divided = answers.to(torch.float64)
        divided = divided if task.scored else divided / played.temperature
        finite = answers.isfinite().all(dim=1)
        for place, rating in enumerate(self.ratings):
            # NaN stands for what is not finite anywhere: finite logits never lead to it.
            values = torch.where(finite, rating(divided, targets), torch.nan)
            self.found[place, self.images, self.some] = values.view(count, -1)


def _batches(
    rounds: Iterable[Round], batch_size: int, every: bool
) -> Iterator[tuple[Tensor, _Turn]]:
    for each in rounds:
        count, played = each.coalitions.shape[:2]
        device = each.coalitions.device
        ratings = list(each.task.rated.values()) if every else [each.task.value]
        found = torch.empty(len(ratings), count, played, dtype=torch.float64, device=device)
        for images, some in _rectangles(count, played, batch_size):
            last = images.stop == count and some.stop == played
            pictures = each.pictures.of(images).combine(each.coalitions[images, some])
            yield pictures, _Turn(each, found, ratings, images, some, last)


def _rectangles(count: int, played: int, batch_size: int) -> Iterator[tuple[slice, slice]]:
    """Images × coalitions of at most ``batch_size``, whole images where they fit."""
    for images in pieces(count, max(1, batch_size // played)):
        step = max(1, batch_size // (images.stop - images.start))
        yield from ((images, some) for some in pieces(played, step))


def _check_finite(found: Tensor, played: Round) -> None:
    wrong = found[0].isnan()
    if wrong.any():
        image, row = (int(i) for i in wrong.nonzero()[0])
        told = played.shown or partial(_told, bands_present, played.coalitions)
        shown = told(image, row)
        raise not_finite(played.names[image], shown, scored=played.task.scored)


def _told(shown: Callable[[NDArray[Any]], str], wanted: Tensor, image: int, row: int) -> str:
    return shown(wanted[image, row].cpu().numpy())


def to_device(device: torch.device, tensor: Tensor) -> Tensor:
    """``tensor`` on ``device``."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        # From pinned memory the copy goes on by itself.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_host(tensor: Tensor) -> Floats:
    """``tensor`` as an array, fetched from where it is."""
    found: Floats = tensor.cpu().numpy()
    return found

"""Some of what a cache answers, played again: whether it is of the model that is here now."""

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.execute.kept_open import looking_again
from pytest_iaside.execute.runner import open_runner
from pytest_iaside.execute.steady import agree
from pytest_iaside.measure.game.play import Game, answers_on, first_inputs
from pytest_iaside.measure.game.rows import GameRows, join
from pytest_iaside.stats.arrays import Floats

# How many passes are played again, at least, and which share of those that are kept.
LEAST = 64
SHARE = 0.01
AT_ONCE = 16  # images
Again = dict[str, Floats]
"""Logits (C,) of images as they are, by digest, that were answered in this run already."""


def replay(
    game: Game,
    images: Sequence[int],
    kept: Sequence[GameRows],
    again: Again,
    coalitions: Callable[[Sequence[int]], Sequence[NDArray[np.bool_]]],
) -> tuple[int, str]:
    """Play some of ``kept``, the rows of ``images`` of the sample, again.

    ``coalitions`` (S, M) are told of some images of the sample: those that rows are of.

    How many passes that took, and the image whose answers differ; empty where all agree. At least
    64 passes and 1 % of those kept: every image as it is and under coalitions at random, or some
    images of every class where that is more. Drawn anew each time it is called. Images that were
    answered ``again``, all of those that are drawn, are not run as they are once more.

    Raises ModelError as the game does.
    """
    random = np.random.default_rng()
    rows = join(list(kept))
    played = rows.log_likelihood.shape[1] + 1
    passes = max(LEAST, int(np.ceil(SHARE * played * len(images))))
    # A change may be of single images: rather all of them than many coalitions of some.
    count = len(images) if len(images) <= passes else passes // 2
    drawn = _every_class(_classes(game, images, rows), count, random)
    each = min(played - 1, max(1, -(-passes // len(drawn)) - 1))
    columns = random.permuted(np.tile(np.arange(played - 1), (len(drawn), 1)), axis=1)[:, :each]
    wanted = [images[place] for place in drawn]
    every = coalitions(wanted)
    chosen = [of_image[some] for of_image, some in zip(every, columns, strict=True)]
    task, targets = game.classifier.task, None
    if game.sample.right is None:
        targets = task.predicted(torch.from_numpy(rows.log_probabilities[drawn]))
    clean = answered(again, [game.sample.digests[image] for image in wanted])
    count, done = len(drawn) * (each + (clean is None)), 0
    work = game.shards(AT_ONCE, wanted)
    first = next(work)
    inputs = first_inputs(game.classifier, game.rules, first)
    with (
        looking_again(),
        open_runner(game.classifier, game.execution, inputs=inputs, passes=count) as runner,
    ):
        for shard in chain([first], work):
            some = slice(done, done + len(shard.sample))
            known = None if clean is None else clean[some]
            own = None if targets is None else targets[some]
            answers = answers_on(runner, game.rules, shard, chosen[some], own, known)
            for _, (found,), as_it_is in answers:
                for answer, log_probabilities in zip(found, as_it_is, strict=True):
                    place = drawn[done]
                    expected = rows.log_likelihood[place, columns[done]]
                    both = (answer, expected), (log_probabilities, rows.log_probabilities[place])
                    if not all(agree(one, other, game.rules.dtype) for one, other in both):
                        return count, game.sample.names[images[place]]
                    done += 1
    return count, ""


def answered(again: Again, digests: Sequence[str]) -> Tensor | None:
    """The logits (K, C) of images ``again``; None unless there are those of all."""
    if not all(digest in again for digest in digests):
        return None
    return torch.from_numpy(np.stack([again[digest] for digest in digests]))


def _classes(game: Game, images: Sequence[int], rows: GameRows) -> Floats:
    labels = game.sample.labels
    if labels is None:
        # Of what is scored, or of several labels at once, some class as good as any.
        return np.asarray(rows.log_probabilities.argmax(axis=1))
    found = labels[list(images)]
    return np.asarray((found if found.ndim == 1 else found.argmax(dim=1)).numpy())


def _every_class(classes: Floats, count: int, random: np.random.Generator) -> list[int]:
    """At least ``count`` places at random, one of every class among them."""
    order = random.permutation(len(classes))
    _, first = np.unique(classes[order], return_index=True)
    rest = np.setdiff1d(np.arange(len(order)), first)
    chosen = order[np.concatenate([first, random.permutation(rest)])]
    return [int(place) for place in chosen[: max(count, len(first))]]

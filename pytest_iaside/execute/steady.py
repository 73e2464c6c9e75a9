"""Whether a network's answers can be measured: logits, and the same for an image each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_iaside.errors import ModelError
from pytest_iaside.execute.runner import BackendRunner
from pytest_iaside.images.targets import Targets
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.outputs import LOGITS, PROBABILITIES, alike, batch_of, joined
from pytest_iaside.models.parts import modules_of
from pytest_iaside.stats.arrays import Floats

AT_ONCE = 4  # images
# Backends and sizes of batch agree within this much in log-probabilities, for each precision.
AGREEMENT = {"float32": (1e-4, 1e-3), "bfloat16": (0.02, 0.1)}
"""Relative and absolute."""


def agree(found: Floats, kept: Floats, dtype: str = "float32") -> bool:
    """Whether log-probabilities of the same answers differ by no more than backends do."""
    relative, absolute = AGREEMENT[dtype]
    return found.shape == kept.shape and np.allclose(found, kept, rtol=relative, atol=absolute)


def check_answers(
    runner: BackendRunner,
    inputs: Tensor,
    names: Sequence[str],
    dtype: str = "float32",
    targets: Targets | None = None,
) -> None:
    """Raise ModelError unless ``inputs`` (B, C, H, W) of ``names`` are answered alike each time.

    The first four are run together twice, and each alone. Probabilities are refused, too. What is
    not finite is left to others.
    """
    some = inputs[:AT_ONCE]
    # Together as far as a batch may be: one at a time a network need not stand another.
    pieces = [some[piece] for piece in runner.pieces(len(some))]
    single = [some[place : place + 1] for place in range(len(some))]
    asked = [*pieces, *pieces, *single]
    found = list(runner.forward_many(asked))
    count, task = len(pieces), runner.classifier.task
    if task.scored and targets is not None:
        _check_score(runner, found[:count], found[2 * count :], tuple(names), targets, dtype)
    first, again, alone = (
        joined(some) for some in (found[:count], found[count : 2 * count], found[2 * count :])
    )
    if task.scored and not isinstance(first, Tensor):
        _check_parts(runner, first, again, names, dtype)
        return
    if task.scored:
        first, again, alone = (each.flatten(1) for each in (first, again, alone))
    if not all(each.isfinite().all() for each in (first, again, alone)):
        return
    _check_logits(runner.classifier, first)
    one, *others = (task.comparable(each).cpu().numpy() for each in (first, again, alone))
    for other, twice in zip(others, (True, False), strict=True):
        for name, before, after in zip(names, one, other, strict=False):
            if not agree(before, after, dtype):
                gap = float(np.abs(before - after).max())
                raise ModelError(_unsteady(runner, name, gap, twice))


def _check_score(
    runner: BackendRunner,
    together: Sequence[Any],
    alone: Sequence[Any],
    names: tuple[str, ...],
    targets: Targets,
    dtype: str,
) -> None:
    """Raise ModelError where an image's score depends on the images that it is scored with.

    Its mean would then say nothing of the model: ranks have the same mean, whatever it answers.
    """
    found = []
    for outputs in (together, alone):
        scores, done = [], 0
        for output in outputs:
            some = slice(done, done + batch_of(output))
            done = some.stop
            scores.append(runner.classifier.task.scores_of(output, targets[some], names[some]))
        found.append(torch.cat(scores).cpu().numpy())
    one, other = found
    for name, before, after in zip(names, one, other, strict=False):
        if np.isfinite([before, after]).all() and not agree(before, after, dtype):
            raise ModelError(
                f"score= gives {name} {float(before[0]):.4g} among other images and "
                f"{float(after[0]):.4g} alone; expected a number that depends on its own answer "
                "and target only: leave out means, ranks and normalisation over the batch"
            )


def _check_logits(classifier: Classifier, logits: Tensor) -> None:
    """Raise ModelError where ``logits`` (B, C) are probabilities, and nobody said so."""
    task = classifier.task
    if classifier.output == PROBABILITIES and task.name == "softmax" and (logits > 1e-3).any():
        raise ModelError(
            f"{classifier.name} returned {float(logits.max().exp()):.4g} where output="
            f"{PROBABILITIES!r} was said; expected at most 1: leave output= out of logits"
        )
    if task.scored or classifier.output is not None:
        return
    out = f"say Classifier(model, output={PROBABILITIES!r}), or leave the"
    total = logits.sum(dim=1, dtype=torch.float64)
    if (
        task.name == "softmax"
        and (logits >= 0).all()
        and torch.allclose(total, torch.ones_like(total), atol=1e-3)
    ):
        raise ModelError(
            f"{classifier.name} returned probabilities: every row sums to 1; expected logits, "
            f"which softmax is not applied to yet: {out} softmax out"
        )
    # Two columns of a binary classifier are ± half of its one logit.
    asked = logits[:, 1:] * 2 if task.name == "binary" else logits
    varied = bool((asked != asked[:1, :1]).any())  # What is always 0 is no probability.
    if task.independent and varied and (asked >= 0).all() and (asked <= 1).all():
        raise ModelError(
            f"{classifier.name} returned numbers from 0 to 1 alone, which look like probabilities; "
            f"expected logits, which sigmoid is not applied to yet: {out} sigmoid out; where they "
            f"are logits, say output={LOGITS!r}"
        )


def _check_parts(
    runner: BackendRunner, first: Any, again: Any, names: Sequence[str], dtype: str
) -> None:
    gap = alike(first, again, *AGREEMENT[dtype])
    if gap:
        raise ModelError(_unsteady(runner, names[0], gap, True))


def _unsteady(runner: BackendRunner, name: str, gap: float, twice: bool) -> str:
    if twice:
        what = f"answered {name} differently when it was asked again"
        cause = "something in it is random, or it changes by being run: switch dropout"
        cause += " and other randomness off in forward()"
    else:
        what = f"answered {name} differently alone than among other images"
        cause = "its answers depend on the rest of the batch, as with batch statistics or dynamic "
        cause += "quantisation: fix them, or measure with batch_size=1"
    parts = [type(part).__name__ for part in modules_of(runner.classifier.network) if part.training]
    stays = ""
    if parts:
        kinds = ", ".join(dict.fromkeys(parts))[:80]
        stays = f"; these parts stay in training mode after eval(): {kinds}"
    unit = " in log-probabilities" if runner.classifier.task.kind == "softmax" else ""
    return (
        f"{runner.classifier.name} {what}, by {gap:.2g}{unit}; expected the same answer each time. "
        f"Probably {cause}{stays}"
    )

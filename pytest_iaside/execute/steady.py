"""Whether a network's answers can be measured: logits, and the same for an image each time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pytest_iaside.errors import ModelError
from pytest_iaside.execute.runner import BackendRunner
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
    runner: BackendRunner, inputs: Tensor, names: Sequence[str], dtype: str = "float32"
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
    found = [each.to(torch.float64).cpu() for each in runner.forward_many(asked)]
    count = len(pieces)
    logits, again, one_by_one = (
        torch.cat(some) for some in (found[:count], found[count : 2 * count], found[2 * count :])
    )
    if not all(each.isfinite().all() for each in (logits, again, one_by_one)):
        return
    total = logits.sum(dim=1)
    if (logits >= 0).all() and torch.allclose(total, torch.ones_like(total), atol=1e-3):
        raise ModelError(
            f"{runner.classifier.name} returned probabilities: every row sums to 1; expected "
            "logits, which softmax is not applied to yet: leave the softmax out, or return "
            "torch.log(probabilities)"
        )
    first, second, alone = (
        torch.log_softmax(each, dim=1).numpy() for each in (logits, again, one_by_one)
    )
    for other, twice in ((second, True), (alone, False)):
        for name, one, two in zip(names, first, other, strict=False):
            if not agree(one, two, dtype):
                raise ModelError(_unsteady(runner, name, float(np.abs(one - two).max()), twice))


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
    return (
        f"{runner.classifier.name} {what}, by {gap:.2g} in log-probabilities; expected the same "
        f"answer each time. Probably {cause}{stays}"
    )

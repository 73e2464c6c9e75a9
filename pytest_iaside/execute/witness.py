"""Whether workers answer as the process that asks does: they may have other code of a model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.jit import ScriptModule

from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.kept_open import agreed
from pytest_iaside.execute.runner import BackendRunner, open_runner
from pytest_iaside.execute.steady import AGREEMENT
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.outputs import alike


@dataclass(frozen=True, eq=False)
class Witness:
    """An image of a ``sample``, and what the network answers where it is asked for."""

    sample: ReferenceSample
    answer: Tensor
    dtype: str
    """With which precision it was found."""
    key: str

    def check(self, runner: BackendRunner) -> None:
        """Raise ModelError where the network of ``runner`` answers otherwise.

        Once for each network that a worker keeps.
        """
        known = agreed()
        if self.key in known:
            return
        found = _answer(runner, self.sample)
        gap = alike(self.answer, found, *AGREEMENT[self.dtype])
        if gap:
            raise ModelError(
                f"{runner.classifier.name} answers {self.sample.names[0]} otherwise on a worker "
                f"than in the process that asks, by {gap:.2g}; expected the same. Probably the "
                "worker has other code of it (a file that was edited since it began, a function "
                "that was replaced, other settings or versions): start the workers anew, or "
                "measure in this process"
            )
        known.add(self.key)


def witness_of(
    classifier: Classifier, execution: Execution, sample: ReferenceSample
) -> Witness | None:
    """The first image of ``sample``, answered in this process.

    None where all of the network's code travels with it, or where this process cannot run it.
    """
    if isinstance(classifier.network, (Path, ScriptModule)):
        return None
    # Who only hands work out may have none of the workers' GPUs.
    device = execution.device if torch.cuda.is_available() else "cpu"
    here = replace(execution, executor=None, device=device, backend="eager", batch_size=1)
    first = sample.take(range(1))
    try:
        inputs = classifier.normalise(first.pixels())
        with open_runner(classifier, here, inputs=inputs, passes=1) as runner:
            answer = _answer(runner, first)
    except Exception:  # Whatever it is, the workers tell it, or can do without.
        return None
    if not answer.isfinite().all():
        return None
    content = f"{first.digests} {answer.shape} ".encode() + answer.numpy().tobytes()
    dtype = execution.dtype if _is_exact(classifier.network) else "bfloat16"
    return Witness(first, answer, dtype, hashlib.sha256(content).hexdigest())


def _answer(runner: BackendRunner, sample: ReferenceSample) -> Tensor:
    classifier = runner.classifier
    seen = classifier.normalise(sample.pixels().to(runner.device))
    (output,) = runner.forward_many([seen])
    task = classifier.task
    if task.scored:
        output = task.scores_of(output, sample.right, sample.names)
    return task.comparable(output).cpu()


def _is_exact(network: object) -> bool:
    """Whether machines of different kinds compute nearly the same: not of coarser weights."""
    weights = list(network.parameters()) if isinstance(network, nn.Module) else []
    return bool(weights) and all(each.dtype in (torch.float32, torch.float64) for each in weights)

"""Gradients of a class's log-likelihood with respect to what the network is fed (SPEC.md 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import GradientRunner, open_gradient_runner
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.targets import classes_of, sample_of
from pytest_iaside.models.classifier import as_classifier

Explained = Callable[[Tensor, Tensor], Tensor]
"""f: inputs (B, channels, height, width) and the classes (B,) to explain, to values (B,)."""


def gradients(f: Explained, inputs: Tensor, classes: Tensor) -> Tensor:
    """∇f at and with respect to each of ``inputs`` (B, channels, height, width), in their dtype.

    Raises ModelError where f does not depend on its inputs in a way that PyTorch can follow.
    """
    # Pixel by pixel in memory, convolutions on CPUs are half again as fast.
    leaf = inputs.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    values = f(leaf, classes)
    gradient = None
    if values.requires_grad:
        (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
    if gradient is None:
        raise ModelError(
            "the model has no gradient with respect to its input; an explanation by gradients "
            "needs a network that computes in PyTorch from end to end, without no_grad, detach or "
            "numpy"
        )
    return gradient


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A classifier that is open to gradients, and the images and classes to explain."""

    runner: GradientRunner
    sample: ReferenceSample
    classes: Tensor
    """(K,) int64, on the runner's device."""

    def inputs(self, some: slice) -> Tensor:
        """What the network is fed for the images ``some``: standardised pixels."""
        return self.runner.inputs(self.sample, some)

    def check_gradients(self, finite: bool, image: int) -> None:
        """Raise ModelError naming ``image`` unless its gradients are ``finite``."""
        if not finite:
            raise ModelError(
                f"the gradients of the model's log-likelihood are NaN or infinite around "
                f"{self.sample.names[image]}; check that its logits are finite under noise"
            )


@contextmanager
def opened(classifier: Any, images: Any, labels: Any, *, execution: Execution) -> Iterator[Subject]:
    """Make ``classifier`` ready for gradients at ``images``, and put it back as it was afterwards.

    ``labels`` as in ``classes_of``. A network of float64 weights is fed float64, any other
    float32; the backend is PyTorch's, whatever ``execution`` says.
    """
    chosen, sample = as_classifier(classifier), sample_of(images)
    with open_gradient_runner(chosen, execution, sample, "to explain with") as runner:
        classes = classes_of(labels, runner.clean_logits(sample))
        yield Subject(runner=runner, sample=sample, classes=classes.to(runner.device))

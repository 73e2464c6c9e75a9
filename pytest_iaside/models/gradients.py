"""A classifier made ready for attacks and explanations, which need gradients of its input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError, SpectralRobustnessError, one_line
from pytest_iaside.models.backends.base import advice_on
from pytest_iaside.models.backends.devices import alone, in_eval_mode
from pytest_iaside.models.backends.eager import exact_float32
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.outputs import check_logits


class PixelNetwork(nn.Module):
    """A classifier as a module from pixels in [0, 1] to logits, as attacks expect one.

    ``purpose`` says in a message what gradients are wanted for.
    """

    def __init__(self, classifier: Classifier, purpose: str = "to attack with") -> None:
        super().__init__()
        if isinstance(classifier.network, Path):
            raise ModelError(
                f"{classifier.name} is an .onnx file, which has no gradients {purpose}; give "
                "the PyTorch module that it was exported from"
            )
        self.classifier = classifier
        if classifier.task.scored:
            raise ModelError(
                f"{classifier.name} is measured by a score of your own, which has no gradients "
                f"{purpose}; give a classifier of logits"
            )
        self.network = classifier.answering
        self.training = False

    def forward(self, pixels: Tensor) -> Tensor:
        return self.answer(self.classifier.normalise(pixels))

    def answer(self, inputs: Tensor) -> Tensor:
        """Logits of ``inputs``, which are normalised already."""
        try:
            # A network that overwrites its input must not overwrite the caller's.
            logits = self.network(inputs.clone())
        except SpectralRobustnessError:
            raise
        except Exception as error:  # Whatever the user's network raises.
            raise ModelError(
                f"{self.classifier.name} failed on inputs of shape {tuple(inputs.shape)} "
                f"({one_line(error)}); {advice_on(error)}"
            ) from error
        return check_logits(logits, len(inputs), self.classifier.task.classes)


@contextmanager
def with_gradients(
    classifier: Classifier, purpose: str = "to attack with"
) -> Iterator[PixelNetwork]:
    """``classifier`` as a module in eval mode whose parameters collect no gradients.

    Afterwards every mode, and what gradients are asked for, is as it was. Gradients of the
    pixels can be had inside, also where the caller has switched them off.
    """
    model = PixelNetwork(classifier, purpose)
    network = classifier.network
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with ExitStack() as stack:
        stack.enter_context(alone(network))
        stack.enter_context(in_eval_mode(network))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if device_of(model).type == "cuda":
            stack.enter_context(exact_float32())
        try:
            for parameter in wanted:
                parameter.requires_grad_(False)
            yield model
        finally:
            for parameter in wanted:
                parameter.requires_grad_(True)


def gradient_of(total: Tensor, leaf: Tensor, label: str) -> Tensor:
    """The gradient of ``total`` () with respect to ``leaf``; raises ModelError where there is none.

    Nothing is left on the model's parameters.
    """
    gradient = None
    if total.requires_grad:
        (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True)
    if gradient is None:
        raise ModelError(
            f"{label} has no gradient with respect to its input; attacks and explanations by "
            "gradients need a network that computes in PyTorch from end to end, without no_grad, "
            "detach or numpy"
        )
    return gradient


def device_of(model: PixelNetwork) -> torch.device:
    """Where the model's weights lie; the CPU for a plain function."""
    state = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if state is None else state.device

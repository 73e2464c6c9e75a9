"""A network as every backend runs it: from images alone to answers of the task (SPEC.md 1.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pytest_iaside.models.outputs import PROBABILITIES, Output, answers_in, as_logits
from pytest_iaside.models.tasks import Task

Pick = Callable[[Any], Any]


class Answering(nn.Module):
    """``network`` fed in the type of its own weights, with its other ``arguments``.

    ``image_argument`` names what images are passed as; None: the first argument. What ``pick``
    finds in its output is returned.
    """

    def __init__(
        self,
        network: nn.Module,
        pick: Pick,
        arguments: Mapping[str, Any],
        image_argument: str | None,
    ) -> None:
        super().__init__()
        self.network = network
        self.training = network.training
        self._pick, self._image_argument = pick, image_argument
        self._arguments = dict(arguments)
        self._dtype = weights_type(network)

    def forward(self, images: Tensor) -> Any:
        if self._dtype is not None:
            images = images.to(self._dtype)
        given = {name: _on(images.device, value) for name, value in self._arguments.items()}
        if self._image_argument is None:
            return self._pick(self.network(images, **given))
        return self._pick(self.network(**{self._image_argument: images}, **given))


def answering(
    network: nn.Module | Callable[..., Any],
    output: Output,
    task: Task,
    arguments: Mapping[str, Any],
    image_argument: str | None,
) -> nn.Module | Callable[[Tensor], Any]:
    """``network``, a module or a function, from images to answers: of a module a module."""

    def pick(found: Any) -> Any:
        return picked(found, output, task)

    if isinstance(network, nn.Module):
        return Answering(network, pick, arguments, image_argument)

    def answer(images: Tensor) -> Any:
        if image_argument is None:
            return pick(network(images, **arguments))
        return pick(network(**{image_argument: images}, **arguments))

    return answer


def picked(found: Any, output: Output, task: Task) -> Any:
    """The answers in ``found``, what a network returned, as ``task`` counts them."""
    if task.scored and output is None:
        return found  # The score knows what it is.
    answers = answers_in(found, output)
    if isinstance(answers, Tensor) and answers.is_floating_point():
        if output == PROBABILITIES:
            answers = as_logits(answers.float(), independent=task.independent)
        answers = task.widened(answers)
    return answers


def weights_type(network: nn.Module) -> torch.dtype | None:
    """The floating type that all weights of ``network`` have, where that is not float32."""
    types = {each.dtype for each in network.parameters() if each.is_floating_point()}
    return types.pop() if len(types) == 1 and types != {torch.float32} else None


def _on(device: torch.device, value: Any) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value

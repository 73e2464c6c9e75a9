"""The network itself, called by PyTorch; compiled by it, if that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.models.backends.base import Backend, Setup, in_batches_of
from pytest_iaside.models.outputs import check_answers
from pytest_iaside.models.tasks import SOFTMAX, Task


class EagerBackend(Backend):
    """A module or a function, called as it is."""

    def __init__(
        self,
        network: Callable[[Tensor], Any],
        setup: Setup,
        device: torch.device,
        label: str,
        dtype: str = "float32",
        task: Task = SOFTMAX,
    ) -> None:
        super().__init__(setup, device, label, task)
        self._network = network
        self._dtype = dtype

    def _run(self, inputs: Tensor) -> Tensor:
        layout = torch.channels_last if self.setup.channels_last else torch.contiguous_format
        inputs = inputs.to(self.device, torch.float32, memory_format=layout, non_blocking=True)
        with ExitStack() as stack:
            # Not inference_mode: tensors that a module keeps from it (a lazily filled cache)
            # can never be trained with again, and the module is the user's.
            stack.enter_context(torch.no_grad())
            if self._dtype == "bfloat16":
                stack.enter_context(torch.autocast(self.device.type, torch.bfloat16))
            elif self.device.type == "cuda":
                stack.enter_context(exact_float32())
            try:
                found = self._network(inputs)
            except Exception as error:  # Whatever the user's network raises.
                if isinstance(error, SpectralRobustnessError):
                    raise
                raise self._failure(inputs, error, *self._other_weights()) from error
            answers: Tensor = check_answers(found, len(inputs), self.task, self.device)
            return answers

    def _other_weights(self) -> Iterator[str]:
        """What to do where the weights are of another type than what the network is fed."""
        if isinstance(self._network, nn.Module):
            types = {each.dtype for each in self._network.parameters() if each.is_floating_point()}
            if len(types) > 1:
                shown = ", ".join(sorted(str(each).removeprefix("torch.") for each in types))
                yield f"its weights are {shown}: measure model.float(), or a module that converts"


class CompiledBackend(EagerBackend):
    """A module compiled by TorchInductor for one batch size, which takes a minute.

    On CPUs its weights are frozen into the code; on CUDA it is recorded as a CUDA graph.
    """

    def __init__(
        self,
        network: nn.Module,
        setup: Setup,
        device: torch.device,
        label: str,
        dtype: str,
        task: Task = SOFTMAX,
    ) -> None:
        how: dict[str, Any] = (
            {"mode": "reduce-overhead"}
            if device.type == "cuda"
            else {"options": {"freezing": True}}
        )
        compiled = torch.compile(network, dynamic=False, **how)
        super().__init__(compiled, setup, device, label, dtype, task)

    def _run(self, inputs: Tensor) -> Tensor:
        # Another size of batch would be compiled anew.
        return in_batches_of(self.setup.batch_size, inputs, super()._run)


@contextmanager
def exact_float32() -> Iterator[None]:
    """float32 as it says on CUDA too: no TensorFloat-32, and the same algorithm every time."""
    backends = torch.backends
    # PyTorch 2.9 named the precisions; what is older has a switch, which 2.9 warns of.
    convolution: Any = getattr(backends.cudnn, "conv", None)
    name, exact = ("allow_tf32", False) if convolution is None else ("fp32_precision", "ieee")
    places: tuple[Any, ...] = (convolution or backends.cudnn, backends.cuda.matmul)
    before = [getattr(place, name) for place in places]
    fixed = backends.cudnn.deterministic, backends.cudnn.benchmark
    try:
        for place in places:
            setattr(place, name, exact)
        backends.cudnn.deterministic, backends.cudnn.benchmark = True, False
        yield
    finally:
        for place, precision in zip(places, before, strict=True):
            setattr(place, name, precision)
        backends.cudnn.deterministic, backends.cudnn.benchmark = fixed

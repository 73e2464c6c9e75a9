"""The one way in which variants of images reach a network, and its answers come back."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution, check_execution
from pytest_iaside.execute.kept_open import kept_here, looks_again
from pytest_iaside.execute.passes import counting
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.models.backends import Backend, open_backend
from pytest_iaside.models.backends.base import Setup, usual_batch
from pytest_iaside.models.backends.devices import (
    alone,
    check_loaded,
    module_device,
    moved,
    usable_device,
)
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.gradients import PixelNetwork, with_gradients
from pytest_iaside.models.tuning import keep_freed_memory, limited_threads, return_freed_memory

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PreparedExecution(Execution):
    """An execution of which everything was chosen already, so that all who have it run alike."""

    setup: Setup


class Runner(ABC):
    """A classifier that is ready to run; valid until its ``open_…`` ends."""

    def __init__(self, classifier: Classifier, device: torch.device) -> None:
        self.classifier, self.device = classifier, device

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """How many images to make at once."""

    @abstractmethod
    def forward_many(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Logits (batch, classes) of each of ``batches`` of inputs, in their order."""

    def run(self, batches: Iterable[tuple[Tensor, T]]) -> Iterator[tuple[Tensor, T]]:
        """Logits (batch, classes) of each of ``batches``, with what came beside its inputs.

        Inputs (batch, channels, height, width) are what the network is fed, normalised already. A
        batch is made when the network is ready for it; some may be made ahead.
        """
        waiting: deque[T] = deque()

        def inputs() -> Iterator[Tensor]:
            for batch, beside in batches:
                waiting.append(beside)
                yield batch

        for logits in self.forward_many(inputs()):
            yield logits, waiting.popleft()
        return_freed_memory()

    def pixels(self, sample: ReferenceSample, some: slice) -> Tensor:
        """Pixels in [0, 1] of images of ``sample``, on the runner's device."""
        return sample.pixels(some.start, some.stop).to(self.device)

    def inputs(self, sample: ReferenceSample, some: slice) -> Tensor:
        """What the network is fed for images of ``sample`` as they are."""
        return self.classifier.normalise(self.pixels(sample, some))

    def pieces(self, count: int) -> Iterator[slice]:
        """``count`` images in slices of at most ``batch_size``."""
        return pieces(count, self.batch_size)

    def clean_logits(self, sample: ReferenceSample) -> Tensor:
        """Logits (K, classes) float64, on the CPU, of the images as they are.

        Raises ModelError naming the first image whose logits are not finite.
        """
        batches = (self.inputs(sample, some) for some in self.pieces(len(sample)))
        return self.logits(batches, sample.names, "as it is")

    def logits(self, batches: Iterable[Tensor], names: Sequence[str], how: str = "") -> Tensor:
        """Logits (K, classes) float64, on the CPU, of ``batches`` of the K images ``names``.

        ``how`` they are shown is for messages. Raises ModelError naming the first image whose
        logits are not finite.
        """
        logits, done = torch.empty(0, 0, dtype=torch.float64), 0
        for each in self.forward_many(batches):
            # Into one tensor: small ones that last come to lie between those that come and go.
            logits = logits if done else logits.new_empty(len(names), each.shape[1])
            logits[done : done + len(each)] = each
            done += len(each)
        return_freed_memory()
        check_finite(logits, names, how)
        return logits


class BackendRunner(Runner):
    """A classifier on a backend: forward passes alone, as fast as they can be had."""

    def __init__(self, classifier: Classifier, backend: Backend) -> None:
        super().__init__(classifier, backend.device)
        self.backend = backend

    @property
    def batch_size(self) -> int:
        return self.backend.chunk

    @property
    def memory_format(self) -> torch.memory_format:
        """How batches should lie in memory."""
        last = self.backend.setup.channels_last
        return torch.channels_last if last else torch.contiguous_format

    def forward_many(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        return counting(self.backend.forward_many(batches))

    @property
    def environment(self) -> dict[str, str]:
        """What the network ran on, in plain text."""
        backend, setup = self.backend, self.backend.setup
        note = f" ({backend.note})" if backend.note else ""
        return {
            "device": str(backend.device),
            "backend": f"{setup.backend}{note}",
            "batch_size": str(setup.batch_size),
            "memory_format": "channels_last" if setup.channels_last else "contiguous",
            "threads": str(backend.threads),
        }


class GradientRunner(Runner):
    """A classifier in PyTorch, open to gradients with respect to what it is fed.

    A network of float64 weights is fed float64, any other float32.
    """

    def __init__(
        self, model: PixelNetwork, device: torch.device, dtype: torch.dtype, batch_size: int
    ) -> None:
        super().__init__(model.classifier, device)
        self.model, self.dtype, self._batch_size = model, dtype, batch_size

    @property
    def batch_size(self) -> int:
        return self._batch_size

    def pixels(self, sample: ReferenceSample, some: slice) -> Tensor:
        return sample.pixels(some.start, some.stop).to(self.device, self.dtype)

    def forward_many(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        for inputs in batches:
            with torch.no_grad():
                logits = self.model.answer(inputs)
            yield logits

    def log_likelihood(self, inputs: Tensor, classes: Tensor) -> Tensor:
        """f: the log-softmax of ``classes`` (B,) at ``inputs`` (B, C, H, W), with gradients."""
        logits = self.model.answer(inputs)
        return torch.log_softmax(logits, dim=1).gather(1, classes[:, None])[:, 0]


def prepared(execution: Execution, device: str, setup: Setup) -> PreparedExecution:
    """``execution`` where it is known what it comes to."""
    found = {each.name: getattr(execution, each.name) for each in fields(Execution)}
    found |= {"device": device, "backend": setup.backend}
    return PreparedExecution(**found, setup=setup)


@contextmanager
def open_runner(
    classifier: Classifier, execution: Execution, *, inputs: Tensor, passes: int
) -> Iterator[BackendRunner]:
    """Make ``classifier`` ready for ``passes`` forward passes, and put it back as it was.

    ``inputs`` are some of what the network will be fed: backends are tried on them. Raises as
    ``open_backend``.
    """
    check_execution(execution)
    if isinstance(classifier.network, nn.Module):
        check_loaded(classifier.network)
    kept = kept_here()
    again = looks_again()
    if kept is not None:
        passes = max(passes, kept.again if again else kept.passes)
    opened = open_backend(
        classifier,
        backend=execution.backend,
        device=execution.device,
        dtype=execution.dtype,
        batch_size=execution.batch_size,
        inputs=inputs,
        passes=passes,
        setup=execution.setup if isinstance(execution, PreparedExecution) else None,
    )
    if kept is not None:
        # The same network may be read in several ways.
        read = (classifier.output, classifier.task.score, *classifier.arguments.values())
        asked = (classifier.task.name, classifier.image_argument, *classifier.arguments)
        what = (id(classifier.network), *map(id, read), *asked)
        key = (what, execution, inputs.shape[1:])
        backend = kept.backend_again(key, opened) if again else kept.backend(key, opened)
        # Whoever asks for what was chosen is given this one.
        chosen = prepared(execution, backend.device.type, backend.setup)
        if not again:
            kept.known_as((what, chosen, inputs.shape[1:]), backend)
        yield BackendRunner(classifier, backend)
        return
    with opened as backend:
        yield BackendRunner(classifier, backend)


@contextmanager
def open_gradient_runner(
    classifier: Classifier, execution: Execution, sample: ReferenceSample, purpose: str
) -> Iterator[GradientRunner]:
    """Make ``classifier`` ready for gradients on images as large as those of ``sample``.

    ``purpose`` says in a message what gradients are for. Raises ModelError where there are none.
    """
    check_execution(execution)
    PixelNetwork(classifier, purpose)  # Says at once where there are none.
    network, device = classifier.network, execution.device
    with ExitStack() as stack:
        keep_freed_memory()
        stack.callback(return_freed_memory)
        stack.enter_context(alone(network))
        stack.enter_context(limited_threads())
        target = torch.device("cpu") if device == "auto" else usable_device(device)
        if isinstance(network, nn.Module):
            target = module_device(network, device)
            stack.enter_context(moved(network, target, classifier.name))
        model = stack.enter_context(with_gradients(classifier, purpose))
        size = execution.batch_size
        if isinstance(size, str):
            # A backward pass keeps the activations of every layer: less fits on a GPU.
            _, height, width = sample.shape
            size = usual_batch(target, height, width) // (1 if target.type == "cpu" else 4)
        yield GradientRunner(model, target, _dtype(network), size)


def check_finite(
    logits: Tensor, names: Sequence[str], how: str = "", *, scored: bool = False
) -> None:
    """Raise ModelError naming the image of the first row of ``logits`` that is not finite."""
    finite = logits.isfinite().all(dim=1)
    if not finite.all():
        raise not_finite(names[int((~finite).nonzero()[0])], how, scored=scored)


def not_finite(name: str, how: str = "", *, scored: bool = False) -> ModelError:
    """What is said of logits, or of what is ``scored``, for the image ``name``, shown ``how``."""
    shown = f"{name} {how}".rstrip()
    if scored:
        return ModelError(
            f"score= returned NaN or infinity for {shown}; expected a finite number: check what "
            "the model returns for it, and divisions by 0 and logarithms of 0 in the score"
        )
    return ModelError(
        f"the model returned NaN or infinite logits for {shown}; expected finite numbers: check "
        "the weights and the preprocessing (mean and std)"
    )


def pieces(count: int, size: int) -> Iterator[slice]:
    """``count`` things in slices of at most ``size``."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _dtype(network: Any) -> torch.dtype:
    if not isinstance(network, nn.Module):
        return torch.float32
    state = chain(network.parameters(), network.buffers())
    return torch.float64 if any(v.dtype == torch.float64 for v in state) else torch.float32

"""What every backend has in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pytest_iaside.errors import ModelError, one_line
from pytest_iaside.models.outputs import joined
from pytest_iaside.models.tasks import SOFTMAX, Task

# Filtered images of 224×224 at once: on CPUs their activations should stay in cache.
AT_ONCE = {"cpu": 8, "cuda": 256}
USUAL_ADVICE = "check that it takes a batch of such images"
ADVICE = (
    (
        re.compile(r"scalar types: Long, Int"),
        "networks are fed floats from 0 to 1, or less mean, by std: let forward() make whole "
        "numbers of them, (255 * x).round().long()",
    ),
    (
        re.compile(r"uint8|ByteTensor|\bByte\b"),
        "networks are fed floats from 0 to 1, or less mean, by std: let forward() make bytes of "
        "them, (255 * x).round().to(torch.uint8)",
    ),
    (
        re.compile(r"size\(\)\[0\] == 1\b|shape\[0\] to be equal to 1\b|dimension 0.*to be 1\b"),
        "it was exported for one image at a time: give batch_size=1, or export it with a dynamic "
        "batch, dynamic_shapes=({0: torch.export.Dim('batch')},)",
    ),
    (
        re.compile(r"expected input.* to have 1 channels", re.DOTALL),
        "it takes grey images: ReferenceSample.from_folder(…, channels=1), at the command line "
        "--grey; and images[:, None] where an array has no axis of channels",
    ),
    (
        re.compile(r"expected input.* to have (\d+) channels", re.DOTALL),
        r"it takes images of \1 channels: ReferenceSample.from_folder(…, channels=\1) or "
        r"--channels \1 where files have so many, else arrays of shape (images, \1, height, width)",
    ),
)
"""What is said where a message shows one of the usual causes."""


@dataclass(frozen=True)
class Setup:
    """One way to run a network."""

    backend: str
    batch_size: int
    channels_last: bool
    """Whether batches lie in memory pixel by pixel, or channel by channel."""


class Unfit(ModelError):
    """A backend cannot run a network, though PyTorch may; ``why`` in a few words."""

    def __init__(self, label: str, why: str) -> None:
        super().__init__(f"{label} cannot be run so: {why}; use backend='auto' or 'eager'")
        self.why = why


class Backend(ABC):
    """A network that is ready to run; valid until its ``open_backend`` ends."""

    note = ""
    """Why this backend was taken, where another one was to be expected."""
    own_threads = False
    """Whether it computes with threads that are not PyTorch's."""

    def __init__(
        self, setup: Setup, device: torch.device, label: str, task: Task = SOFTMAX
    ) -> None:
        self.setup, self.task = setup, task
        self.device = device
        self.threads = torch.get_num_threads()
        self._label = label
        self._most: int | None = None

    @property
    def name(self) -> str:
        return self.setup.backend

    @property
    def chunk(self) -> int:
        """How many images to make at once; of them the backend takes its batches."""
        return self.setup.batch_size

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (batch, classes), float32 or float64, on ``device``, without gradients.

        Of a task that is scored whatever the network returns for the batch.

        ``inputs`` (batch, channels, height, width) float32 are what the network is fed,
        normalised already. What does not fit into memory is run in halves, from then on.
        Raises ModelError when the network fails or returns no logits.
        """
        while True:
            pieces = torch.split(inputs, self._most or max(1, len(inputs)))
            try:
                found = [self._run(piece) for piece in pieces]
                return found[0] if len(found) == 1 else joined(found)
            except Exception as error:
                if len(pieces[0]) == 1 or not _out_of_memory(error):
                    raise
            # Out here the error is gone, and with it all that its traceback kept in memory.
            self._most = (len(pieces[0]) + 1) // 2
            self.setup = replace(self.setup, batch_size=min(self._most, self.setup.batch_size))
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def forward_many(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """``forward`` of each of ``batches``, in their order.

        A backend that runs in the background takes a few batches ahead of what it has given
        back, so that the next are made while the last are under way.
        """
        return map(self.forward, batches)

    @abstractmethod
    def _run(self, inputs: Tensor) -> Tensor:
        """``forward``, of all inputs at once."""

    def _failure(self, inputs: Tensor, error: Exception, advice: str = "") -> ModelError:
        return ModelError(
            f"{self._label} failed on float32 inputs of shape {tuple(inputs.shape)} on "
            f"{self.device} ({one_line(error)}); {advice or advice_on(error)}"
        )


def advice_on(error: Exception) -> str:
    """What to do about what a network raised on images that were made for it."""
    found = ((sign.search(str(error)), advice) for sign, advice in ADVICE)
    return next((sign.expand(advice) for sign, advice in found if sign), USUAL_ADVICE)


def usual_batch(device: torch.device, height: int = 224, width: int = 224) -> int:
    """How many images of such a size to run at once if nothing was measured."""
    at_once = AT_ONCE.get(device.type, AT_ONCE["cuda"])
    return min(max(at_once * 224 * 224 // (height * width), 4), 1024)


def in_batches_of(size: int, inputs: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """``run`` on ``inputs``, fed exactly ``size`` of them each time.

    The last ones are made up by repeating an image; what is returned for them is dropped.
    """
    pieces = (filled(piece, size) for piece in torch.split(inputs, size))
    return torch.cat([run(piece) for piece in pieces])[: len(inputs)]


def filled(inputs: Tensor, size: int) -> Tensor:
    """``inputs`` made up to ``size`` images by repeating the last."""
    missing = size - len(inputs)
    return torch.cat([inputs, inputs[-1:].expand(missing, -1, -1, -1)]) if missing else inputs


def _out_of_memory(error: BaseException | None) -> bool:
    # The network may have wrapped what PyTorch raised, and so do we.
    while error is not None:
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            return True
        # PyTorch has no kind of its own for the CPU's memory.
        if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False

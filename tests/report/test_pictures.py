"""Pictures: what they show is exact, where frequencies matter."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pytest_iaside import ReferenceSample
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.report.pictures import CONTRAST, CROP, EXAMPLES, THUMBNAIL, band_masks, pictures


def decoded(content: str) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.format == "PNG"
    return np.asarray(image)


def sample(count: int = 6, side: int = 32, channels: int = 3) -> ReferenceSample:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.linspace(0.3, 0.7, side).expand(count, channels, side, side)
    noise = 0.02 * torch.randn(count, channels, side, side, generator=generator)
    return ReferenceSample((smooth + noise).clamp(0, 1))


def listed(images: ReferenceSample) -> list[dict[str, Any]]:
    pairs = zip(images.digests, images.names, strict=True)
    return [{"digest": digest, "name": name} for digest, name in pairs]


def test_the_parts_of_an_example_sum_to_the_image() -> None:
    images = sample()
    found = pictures(images, Rules(bands=8), listed(images))
    assert [example["name"] for example in found["examples"]] == list(images.names[:EXAMPLES])
    assert found["parts"] == {"low": [0, 1, 2], "middle": [3, 4, 5], "high": [6, 7]}
    assert (found["size"], found["cropped"]) == ([32, 32], False)
    for place, example in enumerate(found["examples"]):
        shown = {name: decoded(png).astype(float) for name, png in example["pictures"].items()}
        whole = images.images[place].permute(1, 2, 0).numpy() * 255
        assert np.abs(shown["whole"] - whole).max() <= 0.5
        # Middle and high are shown around mid-grey; each is rounded to a whole number.
        details = shown["middle"] + shown["high"] - 2 * 127.5
        total = shown["low"] + details / CONTRAST
        assert np.abs(total - whole).max() <= 1.5 + 1e-4


def test_large_images_are_cut_and_not_scaled() -> None:
    images = sample(1, side=CROP + 20)
    found = pictures(images, Rules(bands=4), listed(images))
    assert (found["size"], found["cropped"]) == ([CROP, CROP], True)
    whole = decoded(found["examples"][0]["pictures"]["whole"])
    expected = images.images[0, :, 10:-10, 10:-10].permute(1, 2, 0).numpy() * 255
    assert whole.shape == (CROP, CROP, 3)
    assert np.abs(whole - expected).max() <= 0.5 + 1e-4
    (small,) = found["thumbnails"].values()
    assert decoded(small).shape == (THUMBNAIL, THUMBNAIL, 3)


@pytest.mark.parametrize(("channels", "shape"), [(1, ()), (2, ()), (3, (3,)), (4, (3,))])
def test_any_number_of_channels(channels: int, shape: tuple[int, ...]) -> None:
    images = sample(2, channels=channels)
    found = pictures(images, Rules(bands=4), listed(images))
    for example in found["examples"]:
        for content in example["pictures"].values():
            assert decoded(content).shape == (32, 32, *shape)


def test_few_bands_make_few_parts() -> None:
    images = sample(1)
    found = pictures(images, Rules(bands=2), listed(images))
    assert found["parts"] == {"low": [0], "middle": [1]}
    assert set(found["examples"][0]["pictures"]) == {"whole", "low", "middle"}


def test_images_that_the_sample_has_not_are_left_out() -> None:
    images = sample(2)
    found = pictures(images, Rules(bands=4), [{"digest": "0", "name": "x"}, *listed(images)])
    assert list(found["thumbnails"]) == list(images.digests)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 48), (224, 224), (97, 130)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_masks_take_the_plane_apart(height: int, width: int, norm: Any) -> None:
    masks = [decoded(mask) for mask in band_masks(height, width, 5, norm)]
    assert len({mask.shape for mask in masks}) == 1
    assert max(masks[0].shape) <= THUMBNAIL
    assert np.array_equal(np.sum(masks, axis=0), np.ones(masks[0].shape))
    # The mean is in the middle, and in the lowest band; the corners are in the highest.
    rows, columns = masks[0].shape
    assert masks[0][rows // 2, columns // 2]
    assert masks[4][0, 0]
    partition = BandPartition(height, width, 5, norm)
    shares = np.array([mask.mean() for mask in masks])
    assert np.abs(shares - partition.counts / partition.counts.sum()).max() < 0.05

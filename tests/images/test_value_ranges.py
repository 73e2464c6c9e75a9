"""Values other than 0 to 255 and [0, 1], where channels are, and how many of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_iaside import Classifier, measure
from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.images.reference import ReferenceSample

LOW, HIGH = -1024, 3071


def scans(dtype: str = "int16") -> np.ndarray:
    """Two images (1, 2, 2) of whole numbers from the lowest of a CT scan to the highest."""
    values = [[LOW, 0, 1024, HIGH], [-1, 100, 1, 2000]]
    return np.array(values, dtype=dtype).reshape(2, 1, 2, 2)


def scaled(values: np.ndarray, low: float, high: float) -> list[float]:
    found: list[float] = ((values.astype(np.float64) - low) / (high - low)).astype("f4").tolist()
    return found


class TestRange:
    @pytest.mark.parametrize("dtype", ["int16", ">i2", "int32", "int64", "float32", "float64"])
    def test_the_ends_become_0_and_1(self, dtype: str) -> None:
        found = ReferenceSample(scans(dtype), range=(LOW, HIGH))
        assert found.images.dtype == torch.float32
        assert found.images.tolist() == scaled(scans(), LOW, HIGH)
        assert found.images[0].flatten()[[0, -1]].tolist() == [0, 1]

    @pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
    def test_sixteen_bits(self, kind: Any) -> None:
        deep = np.array([0, 1, 32768, 65535], dtype=np.uint16).reshape(1, 1, 2, 2)
        found = ReferenceSample(kind(deep), range=(0, 65535))
        assert found.images.tolist() == scaled(deep, 0, 65535)

    def test_it_is_that_of_a_dataset_too(self) -> None:
        expected = ReferenceSample(scans(), [1, 2], range=(LOW, HIGH)).digest
        for items in (scans(), torch.from_numpy(scans())):
            pairs = list(zip(items, (1, 2), strict=True))
            assert ReferenceSample.from_dataset(pairs, range=(LOW, HIGH)).digest == expected

    def test_bytes_by_a_range_are_no_longer_bytes(self) -> None:
        values = np.array([0, 51, 100, 255], dtype=np.uint8).reshape(1, 1, 2, 2)
        found = ReferenceSample(values, range=(0, 255))
        assert torch.equal(found.images, ReferenceSample(values).pixels())

    @pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
    @pytest.mark.parametrize(
        ("dtype", "advice"),
        [
            ("uint16", r"give range=\(low, high\).*\(0, 65535\), or \(0, 4095\) where 12 bits"),
            ("int16", r"give range=\(low, high\).*range=\(-1024, 3071\), as CT scans"),
            ("int64", r"give range=\(low, high\)"),
        ],
    )
    def test_without_it_whole_numbers_are_refused(self, kind: Any, dtype: str, advice: str) -> None:
        images = kind(np.abs(scans()).astype(dtype))
        with pytest.raises(ReferenceSampleError, match=f"images are {dtype}; expected.*{advice}"):
            ReferenceSample(images)
        with pytest.raises(ReferenceSampleError, match=f"image 0 is (torch.)?{dtype}; .*{advice}"):
            ReferenceSample.from_dataset(list(images))

    def test_fractions_out_of_0_to_1_are_told_of_it(self) -> None:
        for images in (scans("float32"), np.abs(scans("float32"))):
            with pytest.raises(ReferenceSampleError, match=r"give range=\(low, high\), the values"):
                ReferenceSample(images)

    @pytest.mark.parametrize("value", [LOW - 1, HIGH + 1, np.nan, np.inf])
    def test_what_lies_outside_is_named_and_not_clipped(self, value: float) -> None:
        images = scans("float64")
        images[1, 0, 1, 1] = value
        message = r"image 1 has values from .*, outside range=\(-1024, 3071\).*clip the values your"
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample(images, range=(LOW, HIGH))
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample.from_dataset(list(images), range=(LOW, HIGH))

    @pytest.mark.parametrize(
        "given", [5, (1,), (1, 2, 3), "01", (0, np.nan), (1, 1), (2, 1), (0, True)]
    )
    def test_what_is_no_range(self, given: Any) -> None:
        for call in (ReferenceSample, ReferenceSample.from_dataset):
            with pytest.raises(SettingsError, match="range="):
                call(scans(), range=given)


class TestRangeOfOtherData:
    """A range that nothing lies outside of, and of which the images fill next to nothing."""

    @pytest.mark.parametrize(
        ("images", "pair", "message"),
        [
            (np.array([0, 0.25, 0.5, 1.0]), (0, 255), r"from 0 to 1, 0\.39% of it"),
            (np.array([3, 51, 100, 255.0]), (0, 65535), r"from 3 to 255, 0\.38% of it"),
            (np.array([0, 0.25, 0.5, 1.0]), (-1024, 3071), r"from 0 to 1, 0\.02% of it"),
        ],
    )
    def test_is_refused(self, images: np.ndarray, pair: Any, message: str) -> None:
        arrays = np.stack([images, images[::-1]]).astype("f4").reshape(2, 1, 2, 2)
        told = rf"with range=\({pair[0]}, {pair[1]}\) all images are one grey: .*{message}; give"
        for call in (
            lambda: ReferenceSample(arrays, range=pair),
            lambda: ReferenceSample(torch.from_numpy(arrays), range=pair),
            lambda: ReferenceSample.from_dataset(list(arrays), range=pair),
            lambda: ReferenceSample.by_size(list(arrays), range=pair),
        ):
            with pytest.raises(ReferenceSampleError, match=told):
                call()

    def test_of_files_too(self, tmp_path: Path) -> None:
        pil = pytest.importorskip("PIL.Image")
        for name in "ab":
            dark = np.arange(64, dtype=np.uint16).reshape(8, 8)
            pil.fromarray(dark).save(tmp_path / f"{name}.png")
        given: dict[str, Any] = {"labels": None, "resize": None, "crop": None}
        with pytest.raises(ReferenceSampleError, match=r"go from 0 to 63, 0\.10% of it"):
            ReferenceSample.from_folder(tmp_path, range=(0, 65535), **given)
        with pytest.warns(UserWarning, match="exact copy"):
            found = ReferenceSample.from_folder(tmp_path, range=(0, 63), **given)
        assert float(found.images.max()) == 1.0

    def test_one_bright_image_is_enough(self) -> None:
        arrays = np.zeros((3, 1, 2, 2))
        arrays[2, 0, 1, 1] = 2
        assert ReferenceSample(arrays, range=(0, 255)).images.max() == np.float32(2 / 255)


class TestChannelsLast:
    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 12])
    @pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
    def test_by_name(self, channels: int, kind: Any) -> None:
        images = np.random.default_rng(0).integers(0, 256, (3, channels, 7, 9), dtype=np.uint8)
        last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        expected = ReferenceSample(images)
        found = ReferenceSample(kind(last), channels_last=True)
        assert found.digests == expected.digests and found.images.is_contiguous()
        rows = ReferenceSample.from_dataset(list(kind(last)), channels_last=True)
        assert rows.digests == expected.digests

    @pytest.mark.parametrize("width", [1, 2, 3, 4])
    def test_what_may_be_either_is_asked_for(self, width: int) -> None:
        images = np.zeros((2, 8, 8, width), dtype=np.uint8)
        message = "looks like .*give channels_last=True, and channels_last=False if there are 8 ch"
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample(images)
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample.from_dataset(list(images))
        assert ReferenceSample(images, channels_last=True).shape == (width, 8, 8)
        assert ReferenceSample(images, channels_last=False).shape == (8, 8, width)
        narrow = ReferenceSample.from_dataset(list(images), channels_last=False)
        assert narrow.shape == (8, 8, width)


class Tilt(nn.Module):
    """Logits from the mean and the tilt of an image of any number of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layer = nn.Conv2d(channels, 4, 3, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.randn(self.layer.weight.shape, generator=generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(images).relu().mean(dim=(2, 3))
        return found


@pytest.mark.parametrize("channels", [1, 2, 4, 12])
def test_channels_through_a_measurement(channels: int) -> None:
    """Also with the usual panel of perturbations, and with a mean and a deviation of each."""
    generator = np.random.default_rng(1)
    images = generator.integers(0, 2**12, (6, 16, 16, channels), dtype=np.uint16)
    sample = ReferenceSample(images, range(6), range=(0, 4095), channels_last=True)
    assert sample.shape == (channels, 16, 16)
    mean, std = [0.4] * channels, [0.3] * channels
    net = Classifier(Tilt(channels), mean=mean, std=std)
    sample = sample.with_labels([each % 4 for each in range(6)])
    found = measure(net, sample, bands=3, cache=False, panel="auto")
    assert found.values.shape == (6, 3) and found.reference.channels == channels
    # All bands together make the image: v(all) is the likelihood of the image beyond the mean's.
    logits = Tilt(channels)((sample.pixels() - 0.4) / 0.3).double().log_softmax(dim=1)
    assert sample.labels is not None
    expected = logits.gather(1, sample.labels[:, None])[:, 0].detach().numpy()
    assert np.allclose(found.by_size[:, -1], expected, atol=1e-5)
    assert np.allclose(found.values.sum(axis=1), found.image_value, atol=1e-9)
    with pytest.raises(Exception, match="channel"):
        measure(net, ReferenceSample(torch.rand(4, channels + 1, 16, 16)), bands=3, cache=False)

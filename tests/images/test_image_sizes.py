"""Images of different sizes: a sample for each, with bands of the same cycles per pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_iaside import BandPartition, measure
from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.images.reference import ReferenceSample

Image = pytest.importorskip("PIL.Image")

SIZES = [(8, 10), (12, 8), (8, 10), (16, 16), (12, 8)]
ARRAYS = [
    np.random.default_rng(at).integers(0, 256, (3, *size), dtype=np.uint8)
    for at, size in enumerate(SIZES)
]
LABELS = [0, 1, 2, 0, 1]
PLACES = {(8, 10): [0, 2], (12, 8): [1, 4], (16, 16): [3]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for at, image in enumerate(ARRAYS):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"{at}.png")
    lines = [f"{at}.png,{label},w{at}\n" for at, label in enumerate(LABELS)]
    (tmp_path / "list.csv").write_text("path,label,group\n" + "".join(lines))
    return tmp_path


def check(found: dict[tuple[int, int], ReferenceSample], names: list[str]) -> None:
    assert list(found) == sorted(PLACES)
    for size, places in PLACES.items():
        sample = found[size]
        assert sample.shape == (3, *size)
        expected = ReferenceSample(np.stack([ARRAYS[at] for at in places]))
        assert sample.digests == expected.digests
        assert sample.names == tuple(names[at] for at in places)


def test_of_a_folder_a_csv_file_and_a_dataset(folder: Path) -> None:
    files = [f"{at}.png" for at in range(5)]
    check(ReferenceSample.by_size(folder, labels=None), files)
    listed = ReferenceSample.by_size(folder / "list.csv")
    check(listed, files)
    assert listed[8, 10].labels is not None and listed[8, 10].labels.tolist() == [0, 2]
    assert listed[12, 8].groups == ("w1", "w4")
    pairs = list(zip(ARRAYS, LABELS, strict=True))
    for dataset in (pairs, iter(pairs)):
        rows = ReferenceSample.by_size(dataset)
        check(rows, [f"image {at}" for at in range(5)])
        assert rows[12, 8].labels is not None and rows[12, 8].labels.tolist() == [1, 1]


def test_what_is_compared_is_said(folder: Path) -> None:
    found = ReferenceSample.by_size(folder, labels=None)
    assert found[12, 8].notes == (
        "these 2 images are 12×8 pixels, of 5 images in 3 sizes: they are compared with images of "
        "this size only",
    )
    alone = ReferenceSample.by_size(ARRAYS[:1])
    assert alone[8, 10].notes == ()
    net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3))
    profile = measure(net, found[12, 8], bands=2, cache=False)
    assert found[12, 8].notes[0] in profile.notes


def test_settings_of_the_source(folder: Path) -> None:
    (folder / "5.png").write_text("no picture")
    found = ReferenceSample.by_size(folder, labels=None, resize=8, limit=6, on_error="skip")
    assert list(found) == [(8, 8), (8, 10), (12, 8)]
    assert "1 of 6 images could not be read" in found[8, 8].notes[1]
    for source, unknown in ((folder, "image"), (ARRAYS, "root"), (folder / "list.csv", "bands")):
        with pytest.raises(SettingsError, match=f"by_size has no setting '{unknown}' for such a"):
            ReferenceSample.by_size(source, **{unknown: 1})


@pytest.mark.parametrize(
    "other", [ARRAYS[0][:1], ARRAYS[0].astype(np.float32) / 255], ids=["channels", "type"]
)
def test_only_the_size_may_differ(other: Any) -> None:
    with pytest.raises(ReferenceSampleError, match=r"image 1 has . channels of .* but image 0 has"):
        ReferenceSample.by_size([ARRAYS[0], other])


def test_the_usual_sources_say_what_to_do(folder: Path) -> None:
    with pytest.raises(ReferenceSampleError, match=r"ReferenceSample\.by_size"):
        ReferenceSample.from_folder(folder, labels=None, resize=None, crop=None)
    with pytest.raises(ReferenceSampleError, match=r"ReferenceSample\.by_size"):
        ReferenceSample.from_dataset(ARRAYS)


@pytest.mark.parametrize("size", [(16, 16), (32, 24), (40, 64)])
@pytest.mark.parametrize(("cycles", "band"), [(1 / 16, 0), (1 / 8, 1), (5 / 16 - 1e-9, 2)])
def test_a_frequency_lies_in_one_band_whatever_the_size(
    size: tuple[int, int], cycles: float, band: int
) -> None:
    """In cycles per pixel, which is what the edges are in."""
    partition = BandPartition(*size, 4)
    assert partition.edges.tolist() == [0, 0.125, 0.25, 0.375, 0.5]
    row = int(cycles * size[0])
    assert partition.index[row, 0] == band == int(row / size[0] * 8)


class Wave(nn.Module):
    """Two logits: how much of a wave of 3/16 cycles per pixel there is down an image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(images.shape[-2], dtype=images.dtype)
        wave = torch.cos(2 * torch.pi * 3 / 16 * rows)[:, None]
        found = 40 * (images * wave).mean(dim=(1, 2, 3))
        return torch.stack([found, torch.zeros_like(found)], dim=1)


def test_a_model_of_one_frequency_gives_one_band_the_same_value_at_each_size() -> None:
    images = []
    for height, width in [(16, 16), (32, 24), (64, 16)] * 4:
        wave = np.cos(2 * np.pi * 3 / 16 * np.arange(height))[:, None]
        images.append(np.broadcast_to(0.5 + 0.4 * wave, (1, height, width)).astype(np.float32))
    samples = ReferenceSample.by_size([(image, 0) for image in images])
    assert len(samples) == 3
    values = []
    for sample in samples.values():
        profile = measure(Wave(), sample, bands=4, cache=False)
        assert np.abs(np.delete(profile.psi, 1)).max() < 1e-6
        values.append(profile.psi[1])
    assert values[0] > 0.5 and np.allclose(values, values[0], atol=1e-6)

"""Samples that are too large for memory lie in a file, decoded once, and measure the same."""

from __future__ import annotations

import errno
import io
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_iaside import measure
from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.images import pictures, storing
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure import asked

Image = pytest.importorskip("PIL.Image")

COUNT, SIDE = 40, 12
SHAPE = (COUNT, 3, SIDE, SIDE)
IMAGES = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
LABELS = [each % 3 for each in range(COUNT)]
AS_IT_IS: dict[str, Any] = {"resize": None, "crop": None, "labels": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for at, image in enumerate(IMAGES):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"{at:02}.png")
    return tmp_path


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for ten images."""
    monkeypatch.setattr(storing, "MOST_IN_MEMORY", 10 * IMAGES[0].nbytes)


def is_in_a_file(images: torch.Tensor) -> bool:
    """Whether the tensor shares the memory of a mapped file."""
    return any(start <= images.data_ptr() < end for start, end in mapped_files("(deleted)"))


def mapped_files(word: str) -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/maps").read_text("utf-8").splitlines():
        if word in line:
            start, _, end = line.split()[0].partition("-")
            yield int(start, 16), int(end, 16)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux says what is mapped")
@pytest.mark.usefixtures("little_memory")
class TestInAFile:
    def test_of_each_source(self, folder: Path) -> None:
        expected = ReferenceSample.from_folder(folder, limit=9, **AS_IT_IS)
        assert not is_in_a_file(expected.images)
        sources = [
            ReferenceSample.from_folder(folder, **AS_IT_IS),
            ReferenceSample.from_dataset(list(IMAGES)),
            ReferenceSample.from_dataset(iter(IMAGES)),
            ReferenceSample(IMAGES),
            ReferenceSample(torch.from_numpy(IMAGES)),
        ]
        for sample in sources:
            assert is_in_a_file(sample.images)
            assert np.array_equal(sample.images.numpy(), IMAGES)
            assert sample.digests[:9] == expected.digests

    def test_its_parts_are_in_memory(self) -> None:
        sample = ReferenceSample(IMAGES)
        few = sample.take([7, 3])
        assert not is_in_a_file(few.images) and np.array_equal(few.images.numpy(), IMAGES[[7, 3]])
        most = sample.take(range(5, COUNT))
        assert is_in_a_file(most.images) and np.array_equal(most.images.numpy(), IMAGES[5:])
        turned = sample.take(range(COUNT)[::-1])
        assert is_in_a_file(turned.images) and np.array_equal(turned.images.numpy(), IMAGES[::-1])

    def test_of_fractions(self) -> None:
        fractions = IMAGES.astype(np.float64) / 255
        sample = ReferenceSample(fractions)
        assert is_in_a_file(sample.images) and sample.images.dtype == torch.float32
        assert np.array_equal(sample.images.numpy(), fractions.astype(np.float32))
        deep = ReferenceSample(IMAGES.astype(np.uint16), range=(0, 255))
        assert is_in_a_file(deep.images) and deep.digests == sample.digests

    def test_changed_in_place_it_is_another(self) -> None:
        sample = ReferenceSample(IMAGES)
        before = sample.digests
        sample.images[0] = 0
        assert sample.digests[0] != before[0] and sample.digests[1:] == before[1:]

    def test_it_travels_to_another_process(self) -> None:
        sample = ReferenceSample(IMAGES, LABELS)
        assert pickle.loads(pickle.dumps(sample)).digest == sample.digest


def test_a_measurement_is_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """To the last bit, also when what was kept of it is asked again."""
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE**2, 3))
    in_memory = measure(net, ReferenceSample(IMAGES, LABELS), bands=3, cache=False, panel="auto")
    monkeypatch.setattr(storing, "MOST_IN_MEMORY", 10 * IMAGES[0].nbytes)
    monkeypatch.setattr(asked, "MOST_AT_ONCE", 9 * IMAGES[0].nbytes)
    for _ in range(2):
        found = measure(net, ReferenceSample(IMAGES, LABELS), bands=3, cache=True, panel="auto")
        assert np.array_equal(found.values, in_memory.values)
        assert found.reference == in_memory.reference
        assert found.answers is not None and in_memory.answers is not None
        assert np.array_equal(found.answers.values, in_memory.answers.values)
    assert found.passes_from_cache > 0 and found.passes_replayed >= 2 * COUNT


def test_every_file_is_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    decode = pictures.PictureReader._decoded

    def count(self: Any, path: Path, name: str) -> Any:
        opened.append(name)
        return decode(self, path, name)

    monkeypatch.setattr(pictures.PictureReader, "_decoded", count)
    monkeypatch.setattr(storing, "MOST_IN_MEMORY", 10 * IMAGES[0].nbytes)
    sample = ReferenceSample.from_folder(folder, **{**AS_IT_IS, "labels": None})
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE**2, 3))
    assert len(sample.digests) == COUNT
    measure(net, sample, bands=2, cache=False)
    assert opened == [f"{at:02}.png" for at in range(COUNT)]


def test_every_image_is_hashed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Any] = []
    digest = storing.digest_of
    monkeypatch.setattr(storing, "digest_of", lambda image: hashed.append(1) or digest(image))
    sample = ReferenceSample.from_folder(folder, **AS_IT_IS)
    monkeypatch.setattr("pytest_iaside.images.reference.digest_of", None)
    assert len(hashed) == len(sample.digests) == COUNT


class Full(io.BytesIO):
    """A file on a disk that is full after some images."""

    def write(self, content: Any) -> int:
        if self.tell() > 5_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content)


@pytest.mark.usefixtures("little_memory")
def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    message = r"no room for them in .* \(No space left on device\); set TMPDIR .*limit="
    with pytest.raises(ReferenceSampleError, match=message):
        ReferenceSample.from_dataset(list(IMAGES))

"""Reference samples from folders, CSV files and datasets."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.images.reference import ReferenceSample

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("torchvision")
SHARED = Path(__file__).parents[2].parent / "shared"


def photo(path: Path, seed: int, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> None:
    """Write an image of noise; ``size`` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images in two classes; a third class has none."""
    root = tmp_path / "photos"
    files = ["cat/b.png", "cat/a.png", "dog/deep/z.PNG", "dog/a.png", "dog/b.png"]
    for seed, name in enumerate(files):
        photo(root / name, seed)
    (root / "bird").mkdir()
    (root / "notes.txt").write_text("no image")
    photo(root / ".ipynb_checkpoints" / "a.png", 9)
    photo(root / "cat" / "._a.png", 9)
    return root


ORDER = ("cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png", "dog/deep/z.PNG")


class TestFolder:
    def test_reads_every_image_in_order_of_path(self, folder: Path) -> None:
        sample = ReferenceSample.from_folder(folder, resize=None, crop=None)
        assert sample.names == ORDER
        assert sample.shape == (3, 10, 12)
        expected = np.asarray(Image.open(folder / "dog/b.png")).transpose(2, 0, 1)
        assert np.array_equal(sample.images[3].numpy(), expected)

    def test_class_is_the_rank_of_the_top_folder(self, folder: Path) -> None:
        sample = ReferenceSample.from_folder(folder, resize=None, crop=None)
        assert sample.labels is not None
        # bird is 0 although it is empty.
        assert sample.labels.tolist() == [1, 1, 2, 2, 2]
        assert sample.label_kind == "dataset"

    def test_preprocessing_is_that_of_torchvision(self, tmp_path: Path) -> None:
        functional = pytest.importorskip("torchvision.transforms.v2.functional")
        photo(tmp_path / "wide.png", 1, (61, 40))
        photo(tmp_path / "tall.png", 2, (33, 70))
        sample = ReferenceSample.from_folder(tmp_path, labels=None, resize=24, crop=17)
        for name, image in zip(sample.names, sample.images, strict=True):
            tensor = functional.pil_to_tensor(Image.open(tmp_path / name).convert("RGB"))
            expected = functional.center_crop(functional.resize(tensor, [24]), [17, 17])
            assert torch.equal(image, expected)
        assert sample.images.dtype == torch.uint8
        assert sample.label_kind == "predicted"

    def test_defaults_are_256_and_224(self, tmp_path: Path) -> None:
        photo(tmp_path / "a.png", 1, (300, 280))
        assert ReferenceSample.from_folder(tmp_path, labels=None).shape == (3, 224, 224)

    @pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
    def test_every_image_becomes_rgb(self, tmp_path: Path, mode: str) -> None:
        photo(tmp_path / "a.png", 1, mode=mode)
        sample = ReferenceSample.from_folder(tmp_path, labels=None, resize=None, crop=None)
        expected = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).transpose(2, 0, 1)
        assert np.array_equal(sample.images[0].numpy(), expected)

    def test_limit_takes_the_first(self, folder: Path) -> None:
        sample = ReferenceSample.from_folder(folder, resize=None, crop=None, limit=2)
        assert sample.names == ORDER[:2]
        everything = ReferenceSample.from_folder(folder, resize=None, crop=None, limit=99)
        assert everything.names == ORDER

    def test_seed_draws_without_replacement_and_keeps_the_order(self, folder: Path) -> None:
        def draw(limit: int, seed: int) -> tuple[str, ...]:
            return ReferenceSample.from_folder(
                folder, resize=None, crop=None, limit=limit, seed=seed
            ).names

        draws = [draw(3, seed) for seed in range(20)]
        assert all(len(set(names)) == 3 and list(names) == sorted(names) for names in draws)
        assert len(set(draws)) > 5
        assert set().union(*draws) == set(ORDER)
        assert draw(3, 4) == draws[4]
        assert set(draw(2, 4)) < set(draw(3, 4)) < set(draw(4, 4))

    def test_an_image_left_out_is_never_opened(self, folder: Path) -> None:
        (folder / "dog/b.png").write_text("broken")
        assert len(ReferenceSample.from_folder(folder, resize=None, crop=None, limit=3)) == 3
        message = r"dog/b\.png cannot be read as an image \(UnidentifiedImageError"
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample.from_folder(folder, resize=None, crop=None)

    def test_truncated_image_is_named(self, folder: Path) -> None:
        content = (folder / "cat/a.png").read_bytes()
        (folder / "cat/a.png").write_bytes(content[: len(content) // 2])
        with pytest.raises(ReferenceSampleError, match=r"cat/a\.png cannot be read"):
            ReferenceSample.from_folder(folder, resize=None, crop=None)

    def test_sizes_that_differ_are_named(self, folder: Path) -> None:
        photo(folder / "dog/b.png", 1, (20, 10))
        message = r"dog/b\.png is 3×10×20 uint8 but cat/a\.png is 3×10×12 uint8.*crop"
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample.from_folder(folder, resize=10, crop=None)

    def test_an_image_smaller_than_the_crop_is_not_padded(self, folder: Path) -> None:
        message = r"cat/a\.png is 10×12 pixels, too small for crop=11.*resize=11"
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample.from_folder(folder, resize=None, crop=11)

    def test_missing_empty_or_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ReferenceSampleError, match="absent does not exist; give the folder"):
            ReferenceSample.from_folder(tmp_path / "absent")
        with pytest.raises(ReferenceSampleError, match=r"holds no images; expected.*\.jpg"):
            ReferenceSample.from_folder(tmp_path)
        photo(tmp_path / "a.png", 1)
        with pytest.raises(ReferenceSampleError, match=r"a\.png is a file"):
            ReferenceSample.from_folder(tmp_path / "a.png")

    def test_a_mistyped_folder_says_where_it_was_looked_for_and_what_is_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "tests" / "images").mkdir(parents=True)
        (tmp_path / "tests" / "other").mkdir()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ReferenceSampleError) as told:
            ReferenceSample.from_folder("tests/image")
        assert str(told.value) == (
            f"tests/image does not exist in {tmp_path}, where this was started; give the folder "
            "that holds the reference images: tests/images?"
        )
        with pytest.raises(ReferenceSampleError, match=r"the reference images$"):
            ReferenceSample.from_folder("elsewhere/pictures")

    def test_images_without_a_class_folder(self, folder: Path) -> None:
        photo(folder / "loose.png", 1)
        with pytest.raises(ReferenceSampleError, match=r"1 image \(loose\.png\).*labels=None"):
            ReferenceSample.from_folder(folder)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"limit": 0}, "limit=0 must"),
            ({"limit": 2.0}, "limit=2.0 must"),
            ({"seed": -1}, "seed=-1 must"),
            ({"resize": 0}, "resize=0 must"),
            ({"crop": "224"}, "crop='224' must"),
        ],
    )
    def test_numbers_out_of_range(
        self, folder: Path, settings: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(SettingsError, match=message):
            ReferenceSample.from_folder(folder, **settings)


class TestCsv:
    def read(self, folder: Path, text: str, **settings: Any) -> ReferenceSample:
        (folder / "labels.csv").write_text(text, encoding="utf-8")
        settings = {"resize": None, "crop": None, "labels": folder / "labels.csv", **settings}
        return ReferenceSample.from_folder(folder, **settings)

    def test_decides_which_images_in_which_order(self, folder: Path) -> None:
        sample = self.read(folder, "file,label\ndog/a.png,7\ncat/b.png,3\n")
        assert sample.names == ("dog/a.png", "cat/b.png")
        assert sample.labels is not None
        assert sample.labels.tolist() == [7, 3]
        limited = self.read(folder, "file,label\ndog/a.png,7\ncat/b.png,3\n", limit=1)
        assert limited.names == ("dog/a.png",)

    @pytest.mark.parametrize(
        "header", ["file,label", "file,class", "file,imagenet_index", "file,anything"]
    )
    def test_label_column(self, folder: Path, header: str) -> None:
        assert self.read(folder, f"{header}\ncat/a.png,5\n").labels.tolist() == [5]  # type: ignore[union-attr]  # it has labels

    def test_label_column_among_others(self, folder: Path) -> None:
        text = "\ufeffsplit, file, class\r\nval, cat/a.png, 5\r\n\r\n"
        assert self.read(folder, text).labels.tolist() == [5]  # type: ignore[union-attr]  # it has labels

    def test_path_relative_to_the_folder(self, folder: Path) -> None:
        assert self.read(folder, "file,label\ncat/a.png,5\n", labels="labels.csv").names == (
            "cat/a.png",
        )

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", r"columns \(none\); expected a header"),
            ("name,label\ncat/a.png,1\n", "columns name, label; expected"),
            ("file\ncat/a.png\n", "columns file; expected"),
            ("file,x,y\ncat/a.png,1,2\n", "columns file, x, y; expected"),
            ("file,label\n", "names no images"),
            (
                "file,label\ncat/a.png,1\ncat/b.png,tabby\n",
                "line 3: file 'cat/b.png' has label 'ta",
            ),
            ("file,label\ncat/a.png\n", "line 2: file 'cat/a.png' has label None"),
            ("file,label\ncat/a.png,-1\n", "cat/a.png has label -1"),
            (
                "file,label\nq.png,1\ncat/a.png,1\nr.png,1\ns.png,1\nt.png,1\n",
                r"names 4 images \(q\.png, r\.png, s\.png and 1 more\) not found",
            ),
        ],
    )
    def test_what_is_wrong_is_said(self, folder: Path, text: str, message: str) -> None:
        with pytest.raises(ReferenceSampleError, match=message):
            self.read(folder, text)

    def test_missing(self, folder: Path) -> None:
        with pytest.raises(
            ReferenceSampleError, match=r"no file absent\.csv; give labels='folder'"
        ):
            ReferenceSample.from_folder(folder, labels="absent.csv")

    @pytest.mark.skipif(
        not (SHARED / "imagenet100").is_dir(), reason="../shared/imagenet100 is absent"
    )
    def test_the_first_24_of_imagenet100(self) -> None:
        root = SHARED / "imagenet100"
        with (root / "labels.csv").open(newline="") as lines:
            rows = list(csv.DictReader(lines))[:24]
        sample = ReferenceSample.from_folder(root, labels=root / "labels.csv", limit=24)
        assert sample.names == tuple(row["file"] for row in rows)
        assert sample.labels is not None
        assert sample.labels.tolist() == [int(row["imagenet_index"]) for row in rows]
        assert sample.images.shape == (24, 3, 224, 224)
        sample.check_classes(1000)


class Items(Dataset[Any]):
    """A dataset that remembers which items were asked for."""

    def __init__(self, *items: Any) -> None:
        self.items = items
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return self.items[index]


class TestDataset:
    def test_of_pairs(self) -> None:
        images = torch.arange(48, dtype=torch.uint8).reshape(4, 3, 2, 2)
        sample = ReferenceSample.from_dataset(TensorDataset(images, torch.tensor([4, 5, 6, 7])))
        assert torch.equal(sample.images, images)
        assert sample.labels is not None
        assert sample.labels.tolist() == [4, 5, 6, 7]
        assert sample.digest == ReferenceSample(images, [4, 5, 6, 7]).digest

    def test_of_images_alone(self) -> None:
        images = torch.rand(2, 1, 3, 3, dtype=torch.float64)
        for dataset in (TensorDataset(images), Items(*images), Items(*images.numpy())):
            sample = ReferenceSample.from_dataset(dataset)
            assert torch.equal(sample.images, images.float())
            assert sample.label_kind == "predicted"

    def test_of_distributions(self) -> None:
        soft = torch.tensor([[0.5, 0.5], [0.1, 0.9]], dtype=torch.float64)
        items = [(torch.zeros(1, 2, 2), row) for row in soft]
        sample = ReferenceSample.from_dataset(Items(*items))
        assert sample.label_kind == "soft"
        assert torch.equal(sample.labels, soft)  # type: ignore[arg-type]  # it has labels

    @pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1), ("P", 3), ("RGBA", 3)])
    def test_of_pil_images(self, tmp_path: Path, mode: str, channels: int) -> None:
        photo(tmp_path / "a.png", 1, mode=mode)
        picture = Image.open(tmp_path / "a.png")
        sample = ReferenceSample.from_dataset(Items((picture, 3)))
        assert sample.shape == (channels, 10, 12)
        expected = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
        assert np.array_equal(sample.images[0].permute(1, 2, 0).squeeze(-1).numpy(), expected)

    def test_limit_and_seed_read_only_what_they_take(self) -> None:
        items = Items(*[(torch.full((1, 2, 2), i, dtype=torch.uint8), i) for i in range(10)])
        first = ReferenceSample.from_dataset(items, limit=3)
        assert items.read == [0, 0, 1, 2]  # The first one twice: is it the same each time?
        assert first.names == ("image 0", "image 1", "image 2")
        items.read.clear()
        drawn = ReferenceSample.from_dataset(items, limit=3, seed=1)
        items.read.pop(0)
        assert items.read == sorted(set(items.read))
        assert len(items.read) == 3
        assert drawn.names == tuple(f"image {i}" for i in items.read)
        assert drawn.labels is not None
        assert drawn.labels.tolist() == items.read
        assert drawn.images[:, 0, 0, 0].tolist() == items.read

    @pytest.mark.parametrize(
        ("items", "message"),
        [
            ([], "dataset is empty"),
            ([(torch.zeros(1, 2, 2) - 1, 0)], "image 0 has values from -1 to -1.*normalised"),
            ([torch.zeros(1, 2, 2), torch.zeros(1, 3, 2)], "image 1 is 1×3×2 float32 but image 0"),
            ([torch.zeros(2, 2)], r"image 0 has type float32 and shape \(2, 2\); expected a PIL"),
            ([np.zeros((8, 8, 3), np.uint8)], r"shape \(8, 8, 3\), which looks like \(height"),
            ([torch.zeros(1, 2, 2, dtype=torch.int64)], "image 0 is torch.int64; expected"),
            ([{"image": 1}], "columns image, and none of them holds a PIL image"),
            ([(torch.zeros(1, 2, 2), 0, 1)], r"tuple of 3 parts; expected.*pair \(image, label\)"),
            ([torch.zeros(1, 2, 2), (torch.zeros(1, 2, 2), 0)], "only one of them has a label"),
            ([(torch.zeros(1, 2, 2), "cat")], "labels are <U3"),
        ],
    )
    def test_what_is_wrong_is_said(self, items: list[Any], message: str) -> None:
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample.from_dataset(Items(*items))

    def test_what_is_no_dataset(self) -> None:
        class Stream(IterableDataset[Any]):
            def __iter__(self) -> Iterator[Any]:
                return iter(())

        for empty in (Stream(), DataLoader(Stream()), iter([])):
            with pytest.raises(ReferenceSampleError, match="the dataset is empty"):
                ReferenceSample.from_dataset(empty)
        with pytest.raises(ReferenceSampleError, match="int is no dataset: it needs len"):
            ReferenceSample.from_dataset(3)

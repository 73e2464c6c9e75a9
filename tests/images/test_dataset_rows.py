"""Datasets of every kind: dicts, tuples, loaders, streams, Hugging Face's and MAITE's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, TensorDataset

from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.images.reference import ReferenceSample

Image = pytest.importorskip("PIL.Image")
read = ReferenceSample.from_dataset

COUNT, SIDE = 5, 6
ARRAYS = np.random.default_rng(0).integers(0, 256, (COUNT, 3, SIDE, SIDE), dtype=np.uint8)
CLASSES = [3, 1, 4, 1, 5]
PICTURES = [Image.fromarray(each.transpose(1, 2, 0)) for each in ARRAYS]
TENSORS = torch.from_numpy(ARRAYS)
SAMPLE = ReferenceSample(ARRAYS, CLASSES)


def rows(**more: list[Any]) -> list[dict[str, Any]]:
    """Dicts with an image, a label, and whatever else."""
    columns = {"image": PICTURES, "label": CLASSES, **more}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


class Stream(IterableDataset[Any]):
    """A dataset without a length, which counts what was asked for."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.read = items, 0

    def __iter__(self) -> Iterator[Any]:
        for item in self.items:
            self.read += 1
            yield item


class Datum(NamedTuple):
    image: Any
    label: int


PAIRS = list(zip(PICTURES, CLASSES, strict=True))
TENSOR_PAIRS = list(zip(TENSORS, CLASSES, strict=True))
ARRAY_PAIRS = list(zip(ARRAYS, CLASSES, strict=True))
ONE_HOT = np.eye(6)[CLASSES]
KINDS: dict[str, Any] = {
    "pairs of pictures": PAIRS,
    "named tuples": [Datum(*pair) for pair in PAIRS],
    "pairs of tensors": TensorDataset(TENSORS, torch.tensor(CLASSES)),
    "labels as arrays": [(array, np.int32(label)) for array, label in ARRAY_PAIRS],
    "dicts": rows(),
    "dicts with more": rows(width=[SIDE] * COUNT),
    "dicts in capitals": [{"IMAGE": each["image"], "Label": each["label"]} for each in rows()],
    "an iterator": iter(PAIRS),
    "a generator of dicts": (each for each in rows()),
    "a stream": Stream(PAIRS),
    "a loader": DataLoader(TensorDataset(TENSORS, torch.tensor(CLASSES)), batch_size=2),
    "a loader of a stream": DataLoader(
        Stream(TENSOR_PAIRS), batch_size=2
    ),
    "a loader of dicts": DataLoader(
        [{"image": image, "label": label} for image, label in TENSOR_PAIRS],  # type: ignore[arg-type]  # a list is one
        batch_size=3,
    ),
    "a loader of lists": DataLoader(
        PAIRS, batch_size=2, collate_fn=lambda batch: tuple(map(list, zip(*batch, strict=True)))  # type: ignore[arg-type]  # a list is one
    ),
    "triples": [(array, label, {"id": i}) for i, (array, label) in enumerate(ARRAY_PAIRS)],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_images_and_labels(kind: str) -> None:
    found = read(KINDS[kind])
    assert torch.equal(found.images, SAMPLE.images)
    assert found.digest == SAMPLE.digest
    assert found.names == SAMPLE.names


@pytest.mark.parametrize("kind", [list, iter])
def test_pictures_alone(kind: Any) -> None:
    found = read(kind(PICTURES))
    assert found.digests == SAMPLE.digests and found.labels is None


class TestDicts:
    def test_columns_that_are_named(self) -> None:
        given = [{"x": e["image"], "y": e["label"], "other": e["image"]} for e in rows()]
        assert read(given, image="x", label="y").digest == SAMPLE.digest
        assert read(given, image="x", label=None).labels is None

    def test_a_column_of_groups(self) -> None:
        found = read(rows(writer=["a", "a", "b", "b", "c"]), groups="writer", limit=4)
        assert found.groups == ("a", "a", "b", "b")
        streamed = read(iter(rows(writer=[7, 7, 8, 9, 9])), groups="writer", limit=3)
        assert streamed.groups == ("7", "7", "8")

    @pytest.mark.parametrize(
        ("more", "settings", "message"),
        [
            ({"mask": PICTURES}, {}, "image and mask look like images; give image=<the name"),
            ({"class": CLASSES}, {}, "label and class look like labels; give label=<the name"),
            ({}, {"image": "photo"}, "image='photo' names no column.* it has image, label"),
            ({}, {"label": "y"}, "label='y' names no column"),
            ({}, {"groups": "writer"}, "groups='writer' names no column"),
        ],
    )
    def test_what_may_mean_two_things(self, more: Any, settings: Any, message: str) -> None:
        with pytest.raises(ReferenceSampleError, match=message):
            read(rows(**more), **settings)

    def test_columns_of_which_none_is_a_label(self) -> None:
        given = [{"image": each["image"], "caption": "a cat"} for each in rows()]
        message = "columns image, caption, and none is called label, .*label=None for the model"
        with pytest.raises(ReferenceSampleError, match=message):
            read(given)
        assert read(given, label=None).digests == SAMPLE.digests

    def test_items_that_differ(self) -> None:
        with pytest.raises(ReferenceSampleError, match="image 1 has the columns image, and not"):
            read([rows()[0], {"image": PICTURES[0]}])
        with pytest.raises(ReferenceSampleError, match=r"image 1 is a tuple, but the first item"):
            read([rows()[0], PAIRS[0]])
        with pytest.raises(ReferenceSampleError, match=r"image 1 is a dict, but the first item"):
            read([PAIRS[0], rows()[0]])

    def test_arrays_in_lists_and_pictures_that_are_not_decoded(self) -> None:
        nested = [{"image": ARRAYS[0].tolist(), "label": 1}]
        with pytest.raises(ReferenceSampleError, match=r"with_format\('numpy'\)"):
            read(nested)
        with pytest.raises(ReferenceSampleError, match="not decoded"):
            read([{"image": {"bytes": b"", "path": "a.png"}, "label": 1}])


class TestTuples:
    def test_places_that_are_named(self) -> None:
        given = [(f"{i}.png", label, image) for i, (image, label) in enumerate(PAIRS)]
        assert read(given, image=2, label=1).digest == SAMPLE.digest
        assert read(given, image=2, label=None).labels is None
        with pytest.raises(ReferenceSampleError, match="image=3 is no place in a tuple of 3 parts"):
            read(given, image=3, label=1)
        with pytest.raises(ReferenceSampleError, match="image='x' is no place in a tuple"):
            read(given, image="x", label=1)

    def test_an_image_alone_has_no_parts(self) -> None:
        with pytest.raises(ReferenceSampleError, match="are of type Image and have no parts"):
            read(PICTURES, label="label")


class TestMaite:
    """Triples (image, target, metadata), as MAITE's protocol of image classification has them."""

    def test_targets_are_distributions_and_ids_are_names(self) -> None:
        given = [
            (array, target, {"id": f"photo-{i}"})
            for i, (array, target) in enumerate(zip(ARRAYS, ONE_HOT, strict=True))
        ]
        found = read(given)
        assert found.label_kind == "soft" and found.labels is not None
        assert np.array_equal(found.labels.numpy(), ONE_HOT)
        assert found.names == tuple(f"photo-{i}" for i in range(COUNT))

    def test_a_target_of_a_detector(self) -> None:
        class Target:
            boxes = scores = labels = None

        with pytest.raises(ReferenceSampleError, match="label of image 0 is a Target; expected a"):
            read([(ARRAYS[0], Target(), {"id": 0})])


class TestStreams:
    def test_only_what_is_taken_is_read(self) -> None:
        stream = Stream(PAIRS)
        assert read(stream, limit=2).digests == SAMPLE.digests[:2]
        assert stream.read == 2
        endless = (PAIRS[i % COUNT] for i in iter(int, 1))
        assert len(read(endless, limit=7)) == 7

    def test_nothing_is_drawn_from_them(self) -> None:
        with pytest.raises(ReferenceSampleError, match="generator is read from its beginning"):
            read((each for each in PAIRS), limit=2, seed=1)
        with pytest.raises(ReferenceSampleError, match="how many images a list_iterator has"):
            read(iter(PAIRS), groups=["a"] * COUNT)
        assert read(iter(PAIRS), groups=lambda i: i // 2).groups == ("0", "0", "1", "1", "2")

    def test_one_that_was_used(self) -> None:
        used = iter(PAIRS)
        assert len(read(used)) == COUNT
        with pytest.raises(ReferenceSampleError, match=r"empty.*used before has none left"):
            read(used)

    def test_one_that_fails(self) -> None:
        def failing() -> Iterator[Any]:
            yield PAIRS[0]
            raise OSError("no more")

        with pytest.raises(ReferenceSampleError, match=r"generator failed at item 1 .*no more"):
            read(failing(), on_error="skip")

    @pytest.mark.parametrize("labels", [3, torch.tensor(3), torch.tensor([3, 1, 4])])
    def test_a_batch_with_other_labels_than_images(self, labels: Any) -> None:
        with pytest.raises(ReferenceSampleError, match="a batch has 2 images, but its labels are"):
            read(iter([(TENSORS[:2], labels)]))

    def test_a_loader_that_shuffles(self) -> None:
        loader = DataLoader(TensorDataset(TENSORS), shuffle=True)
        with pytest.raises(ReferenceSampleError, match=r"shuffles.*loader\.dataset"):
            read(loader)


class Kept(dict[str, Any]):
    """Called as the class of Hugging Face's library is."""


Kept.__name__ = "DatasetDict"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Kept(train=PAIRS, test=PAIRS), r"splits train, test; give one of them: dataset\['train"),
        ({"image": ARRAYS, "label": CLASSES}, "dict with the keys image, label is no dataset"),
        ("photos", "dataset='photos' is a str; load the dataset first"),
        (Path("photos"), "from_folder or .from_csv"),
        ({1, 2}, "a set has no order"),
    ],
)
def test_what_is_no_dataset_of_images(given: Any, message: str) -> None:
    with pytest.raises(ReferenceSampleError, match=message):
        read(given)


def test_a_table() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ReferenceSampleError, match=r"table; give its rows.*to_dict\('records'\)"):
        read(pandas.DataFrame({"image": [1]}))
    table = pandas.DataFrame(rows())
    assert read(table.to_dict("records")).digest == SAMPLE.digest


class Broken(list[Any]):
    """A dataset of which some items cannot be read."""

    def __getitem__(self, index: Any) -> Any:
        if index in (1, 3):
            raise OSError(f"block {index} is gone")
        return super().__getitem__(index)


class TestErrors:
    def test_an_item_that_cannot_be_read_is_named(self) -> None:
        with pytest.raises(ReferenceSampleError, match=r"image 1 cannot be read .*block 1 is gone"):
            read(Broken(PAIRS))

    def test_it_is_skipped_and_told(self) -> None:
        found = read(Broken(PAIRS), on_error="skip", groups=list("abcde"))
        assert found.names == ("image 0", "image 2", "image 4")
        assert found.digests == SAMPLE.digests[::2] and found.groups == ("a", "c", "e")
        assert found.labels is not None and found.labels.tolist() == [3, 4, 5]
        (note,) = found.notes
        assert note.startswith("2 of 5 images could not be read and were skipped: image 1 cannot")
        assert "image 3 cannot be read (OSError: block 3 is gone)" in note
        assert found.take([2, 0]).notes == found.with_labels(None).notes == (note,)
        # What stays is as large as it should be, also in memory and in another process.
        assert found.images.untyped_storage().nbytes() == 3 * 3 * SIDE * SIDE

    def test_a_picture_that_is_decoded_late(self, tmp_path: Path) -> None:
        PICTURES[0].resize((40, 40)).save(tmp_path / "a.png")
        content = (tmp_path / "a.png").read_bytes()
        (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
        with Image.open(tmp_path / "a.png") as half:
            given = [half, PICTURES[0].resize((40, 40))]
            with pytest.raises(ReferenceSampleError, match="image 0 cannot be read"):
                read(given)
            assert read(given, on_error="skip").names == ("image 1",)

    def test_nothing_left(self) -> None:
        with pytest.raises(ReferenceSampleError, match="none of 1 images can be read: image 0"):
            read(BrokenAll([0]), on_error="skip")

    def test_a_word_that_is_unknown(self) -> None:
        with pytest.raises(SettingsError, match="on_error='ignore' is unknown; use one of raise"):
            read(PAIRS, on_error="ignore")  # type: ignore[arg-type]  # the point

    def test_what_is_no_picture_is_never_skipped(self) -> None:
        with pytest.raises(ReferenceSampleError, match=r"image 1 is torch\.int64"):
            read([torch.zeros(1, 2, 2), torch.zeros(1, 2, 2).long()], on_error="skip")


class BrokenAll(list[Any]):
    """A dataset that holds nothing that can be read."""

    def __getitem__(self, index: Any) -> Any:
        raise OSError("gone")


def test_sizes_channels_and_crops_of_pictures() -> None:
    wide = [picture.resize((9 + i, 8)) for i, picture in enumerate(PICTURES)]
    with pytest.raises(ReferenceSampleError, match=r"image 1 is 3×8×10 uint8 .*resize and crop"):
        read(wide)
    found = read(wide, resize=8, crop=7)
    assert found.shape == (3, 7, 7)
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    tensor = functional.pil_to_tensor(wide[2])
    assert torch.equal(found.images[2], functional.center_crop(tensor, [7, 7]))
    mixed = [PICTURES[0], PICTURES[1].convert("L")]
    with pytest.raises(ReferenceSampleError, match=r"image 1 is 1×6×6.*give channels=1 or 3"):
        read(mixed)
    assert torch.equal(read(mixed, channels=3).images[1, 0], read(mixed, channels=1).images[1, 0])
    assert read(mixed, channels=4).shape == (4, SIDE, SIDE)
    with pytest.raises(SettingsError, match="channels=2 cannot be made of pictures; use 1"):
        read(mixed, channels=2)  # type: ignore[arg-type]  # the point


class TestHuggingFace:
    """The library itself, on files that it wrote."""

    @pytest.fixture
    def library(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pytest.importorskip("datasets")

    @pytest.fixture
    def photos(self, library: Any) -> Any:
        features = library.Features(
            {
                "img": library.Image(),
                "fine": library.ClassLabel(names=list("abcdefg")),
                "writer": library.Value("string"),
            }
        )
        columns = {"img": PICTURES, "fine": CLASSES, "writer": list("vvwwx")}
        return library.Dataset.from_dict(columns, features=features)

    def test_columns_are_known_by_their_types(self, photos: Any) -> None:
        assert read(photos).digest == SAMPLE.digest
        assert read(photos, groups="writer").groups == tuple("vvwwx")
        drawn = read(photos, limit=2, seed=3)
        assert drawn.digests == tuple(SAMPLE.digests[int(name[6:])] for name in drawn.names)

    def test_streams_and_tensors(self, photos: Any) -> None:
        assert read(photos.to_iterable_dataset()).digest == SAMPLE.digest
        assert read(photos.to_iterable_dataset(), limit=2).digests == SAMPLE.digests[:2]
        assert read(photos.with_format("torch")).digest == SAMPLE.digest
        assert read(photos.with_format("numpy"), channels_last=True).digest == SAMPLE.digest

    def test_splits(self, library: Any, photos: Any) -> None:
        both = library.DatasetDict(train=photos, test=photos)
        with pytest.raises(ReferenceSampleError, match="DatasetDict holds the splits train, test"):
            read(both)
        assert read(both["test"]).digest == SAMPLE.digest

    def test_two_columns_of_classes(self, library: Any, photos: Any) -> None:
        two = photos.add_column("coarse", CLASSES, feature=library.ClassLabel(num_classes=7))
        with pytest.raises(ReferenceSampleError, match="fine and coarse look like labels"):
            read(two)
        assert read(two, label="coarse").digest == SAMPLE.digest


def test_torchvision(tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    for i, (picture, label) in enumerate(PAIRS):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        picture.save(tmp_path / str(label) / f"{i}.png")
    found = read(datasets.ImageFolder(tmp_path))
    order = [1, 3, 0, 2, 4]
    assert found.digests == tuple(SAMPLE.digests[i] for i in order)
    assert found.labels is not None and found.labels.tolist() == [0, 0, 1, 2, 3]
    assert read(datasets.FakeData(4, (3, 8, 8), 10)).shape == (3, 8, 8)


def test_a_loader_whose_batches_are_drawn_is_refused() -> None:
    items = TensorDataset(torch.rand(6, 1, 8, 8), torch.arange(6))
    drawn = BatchSampler(RandomSampler(items), 2, drop_last=False)
    with pytest.raises(ReferenceSampleError, match="the DataLoader shuffles"):
        ReferenceSample.from_dataset(DataLoader(items, batch_sampler=drawn))


class Shuffled:
    """A sampler or batch sampler of somebody's own."""

    def __init__(self, seed: int | None = None, batches: int = 0) -> None:
        self.seed, self.batches = seed, batches

    def __iter__(self) -> Iterator[Any]:
        generator = np.random.default_rng(self.seed)
        order = generator.permutation(COUNT).tolist()
        yield from ([order[:2], order[2:]] if self.batches else order)

    def __len__(self) -> int:
        return COUNT


class Augmented(TensorDataset):
    """A dataset that flips pixels at random, as for training."""

    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return image ^ torch.randint(0, 2, image.shape, dtype=torch.uint8), label


class TestOtherImagesEachTime:
    whole = TensorDataset(TENSORS, torch.tensor(CLASSES))

    @pytest.mark.parametrize(
        "more", [{"sampler": Shuffled()}, {"batch_sampler": Shuffled(batches=2)}]
    )
    def test_samplers_that_shuffle_are_found(self, more: Any) -> None:
        with pytest.raises(ReferenceSampleError, match=r"the DataLoader shuffles, .*shuffle=False"):
            read(DataLoader(self.whole, **more))

    def test_one_order_is_as_good_as_another(self) -> None:
        order = np.random.default_rng(3).permutation(COUNT).tolist()
        for more in ({"sampler": Shuffled(3)}, {"sampler": order}):
            loader: Any = DataLoader(self.whole, **more)
            assert read(loader).digests == SAMPLE.take(order).digests

    def test_random_transforms_are_found(self) -> None:
        augmented = Augmented(TENSORS, torch.tensor(CLASSES))
        message = "image 0 was another image when it was read a second time; .*those of evaluation"
        with pytest.raises(ReferenceSampleError, match=message):
            read(augmented)
        with pytest.raises(ReferenceSampleError, match="image 4 was another image"):
            read(augmented, limit=1, seed=1)

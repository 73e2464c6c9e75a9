"""Groups of a reference sample: where they come from, how they are kept, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_iaside import ReferenceSample
from pytest_iaside.errors import ReferenceSampleError

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 12, 12), dtype=np.uint8))
PAIRS = ["a", "a", "b", "b", "c", "c"]


def sample(groups=PAIRS, **more):
    return ReferenceSample(IMAGES, [0, 1, 2, 0, 1, 2], groups=groups, **more)


def test_groups_are_kept_and_shown_and_do_not_enter_the_digest():
    found = sample()
    assert found.groups == tuple(PAIRS) and found.group_count == 3
    assert found.group_numbers.tolist() == [0, 0, 1, 1, 2, 2]
    assert repr(found).startswith("ReferenceSample(6 images in 3 groups of 3×12×12")
    assert found.digest == sample(None).digest
    assert sample(None).groups is None and sample(None).group_count == 6
    assert "group" not in repr(sample(None))
    part = found.take([5, 0, 1]).with_labels(None)
    assert part.groups == ("c", "a", "a") and part.group_numbers.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "groups", [[1, 1, 2, 2, 3, 3], np.array([1, 1, 2, 2, 3, 3]), torch.tensor([1, 1, 2, 2, 3, 3])]
)
def test_whole_numbers_are_groups_too(groups):
    assert sample(groups).groups == ("1", "1", "2", "2", "3", "3")


def test_every_image_by_itself_is_no_group_but_was_said():
    found = sample(list("abcdef"))
    assert found.group_numbers is None and found.group_count == 6
    assert "6 images in 6 groups" in repr(found)


def test_exact_copies_are_together_whatever_is_said():
    images = IMAGES.clone()
    images[2] = images[0]
    found = ReferenceSample(images, groups=PAIRS)
    assert found.group_numbers.tolist() == [0, 0, 0, 0, 1, 1]
    assert ReferenceSample(images, groups=list("abcdef")).group_count == 5


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["a"] * 5, "5 groups for 6 images; give one for each image"),
        ("aabbcc", "groups='aabbcc' cannot be used; expected one string or whole number"),
        (7, "groups=7 cannot be used"),
        ([1, 1, 2, 2, 3, None], "the group of image 5 is None; expected one string"),
        ([1.0, 1, 2, 2, 3, 3], r"the group of image 0 is 1\.0;"),
        ([float("nan"), 1, 2, 2, 3, 3], "the group of image 0 is nan;"),
        ([True, 1, 2, 2, 3, 3], "the group of image 0 is True;"),
        (["a", "a", " ", "b", "c", "c"], "the group of image 2 is empty;"),
        (["1", 1, 2, 2, 3, 3], r"some groups are strings \('1'\), others numbers \(1\)"),
        ([["a"]] * 6, r"the group of image 0 is \['a'\]"),
    ],
)
def test_what_is_no_group_is_refused(groups, message):
    with pytest.raises(ReferenceSampleError, match=message):
        sample(groups)


@pytest.fixture
def folder(tmp_path):
    for number, image in enumerate(IMAGES):
        path = tmp_path / f"class{number % 2}" / f"video{number // 4}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    files = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png"))
    rows = [f"{file},{file[5]},writer {file[-5]}" for file in files]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,writer", *rows]), "utf-8")
    return tmp_path


def read(folder, **more):
    return ReferenceSample.from_folder(folder, resize=None, crop=None, **more)


def test_groups_from_a_folder(folder):
    found = read(folder, groups="folder")
    assert found.names[0] == "class0/video0/0.png"
    folders = [file.rpartition("/")[0] for file in found.names]
    assert found.groups == tuple(folders) and sorted(set(folders)) == [
        "class0/video0",
        "class0/video1",
        "class1/video0",
        "class1/video1",
    ]
    assert read(folder).groups is None
    by_stem = read(folder, groups=lambda path: int(path[-5]) // 2, limit=3)
    assert by_stem.groups == ("0", "1", "2")
    with pytest.raises(ReferenceSampleError, match="the function given as groups failed"):
        read(folder, groups=lambda path: path.nothing)


def test_groups_from_a_column(folder):
    found = read(folder, labels=folder / "labels.csv", groups="writer", limit=2)
    assert found.groups == ("writer 0", "writer 2")
    # The classes themselves, where they are the groups.
    assert read(folder, labels=folder / "labels.csv", groups="label").group_count == 2
    with pytest.raises(ReferenceSampleError, match="groups='patient' names none of them"):
        read(folder, labels=folder / "labels.csv", groups="patient")
    with pytest.raises(ReferenceSampleError, match="names a column, but labels='folder' names no"):
        read(folder, groups="writer")
    with pytest.raises(ReferenceSampleError, match="groups=3 cannot be used"):
        read(folder, groups=3)
    text = (folder / "labels.csv").read_text("utf-8").replace("writer 2", "")
    (folder / "labels.csv").write_text(text, "utf-8")
    with pytest.raises(ReferenceSampleError, match=r"line 3: .* has writer '', and no group"):
        read(folder, labels=folder / "labels.csv", groups="writer")


def test_the_column_of_files_and_two_of_one_name_are_refused(folder):
    with pytest.raises(ReferenceSampleError, match="every image into a group of its own"):
        read(folder, labels=folder / "labels.csv", groups="file")
    text = (folder / "labels.csv").read_text("utf-8").replace("label,writer", "label,label")
    (folder / "labels.csv").write_text(text, "utf-8")
    with pytest.raises(ReferenceSampleError, match="more than one column label"):
        read(folder, labels=folder / "labels.csv", groups="label")


def test_groups_from_a_dataset():
    dataset = [(image, 0) for image in IMAGES]
    given = ReferenceSample.from_dataset(dataset, groups=PAIRS, limit=3, seed=1)
    asked = ReferenceSample.from_dataset(dataset, groups=lambda i: PAIRS[i], limit=3, seed=1)
    places = [int(name.split()[1]) for name in given.names]
    assert given.groups == asked.groups == tuple(PAIRS[place] for place in places)
    with pytest.raises(ReferenceSampleError, match="groups are 5 of them, but the dataset has 6"):
        ReferenceSample.from_dataset(dataset, groups=PAIRS[:5])
    with pytest.raises(ReferenceSampleError, match="groups are 'folder', but the dataset"):
        ReferenceSample.from_dataset(dataset, groups="folder")

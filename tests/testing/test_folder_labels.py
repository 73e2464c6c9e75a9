"""Class folders that are fewer than the model's classes: told, and refused where they mislead."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pytest_iaside.cli.main import main
from pytest_iaside.errors import BaselineError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import measure_answers
from pytest_iaside.testing.folder_labels import fewer_folders, refuse_wrong_folders

CLASSES = 6
SIDE = 8


def model(images: Tensor) -> Tensor:
    """Class c of images whose brightness is c / 6."""
    centres = torch.arange(CLASSES) / CLASSES
    return -300 * (images.mean(dim=(1, 2, 3))[:, None] - centres) ** 2


def folders(root: Path, classes: tuple[int, ...]) -> ReferenceSample:
    """Four images of each of ``classes``, in a folder named for it."""
    random = np.random.default_rng(0)
    for each in classes:
        (root / f"class{each}").mkdir()
        for number in range(4):
            level = 255 * each / CLASSES
            pixels = np.clip(level + random.normal(0, 4, (SIDE, SIDE)), 0, 255)
            Image.fromarray(pixels.astype("uint8")).save(root / f"class{each}" / f"{number}.png")
    return ReferenceSample.from_folder(root, resize=None, crop=None, channels=1)


def answered(sample: ReferenceSample) -> Measurement:
    return measure_answers(model, sample, "none")


def test_a_part_of_the_classes_is_refused_before_the_bands_are_measured(tmp_path: Path) -> None:
    answers = answered(folders(tmp_path, (2, 3, 5)))
    assert answers["accuracy, clean"].mean() == 0
    with pytest.raises(BaselineError) as told:
        refuse_wrong_folders(answers)
    assert str(told.value) == (
        'this measurement makes no baseline, nothing was written: labels="folder" took the 3 '
        "folders, in the order of their names, for the first 3 of the model's 6 classes (class5 is "
        "class 2), and the model answers 0.0% of the images right; write the model's class of each "
        "image into a CSV file with the columns file and label, and give its path as labels="
    )


def test_the_first_classes_alone_are_told_and_not_refused(tmp_path: Path) -> None:
    answers = answered(folders(tmp_path, (0, 1, 2)))
    assert answers["accuracy, clean"].mean() == 1
    refuse_wrong_folders(answers)
    assert "the first 3 of the model's 6 classes (class2 is class 2)" in fewer_folders(answers)


def test_most_classes_are_told_and_not_refused(tmp_path: Path) -> None:
    """One folder is missing: the model answers those before it right, and none after it."""
    answers = answered(folders(tmp_path, (0, 1, 2, 4, 5)))
    assert answers["accuracy, clean"].mean() == pytest.approx(0.6)
    refuse_wrong_folders(answers)
    assert "the first 5 of the model's 6 classes (class5 is class 4)" in fewer_folders(answers)


def test_nothing_is_told_of_all_classes_or_of_labels_from_elsewhere(tmp_path: Path) -> None:
    sample = folders(tmp_path, tuple(range(CLASSES)))
    assert fewer_folders(answered(sample)) == ""
    assert fewer_folders(answered(sample.take(list(range(4, 12))))) == ""
    few = sample.take(list(range(8, 16)))  # Classes 2 and 3, as a CSV file would say.
    assert fewer_folders(answered(few)) == ""
    unlabelled = ReferenceSample(few.images, None, names=few.names)
    assert fewer_folders(answered(unlabelled)) == ""


def test_the_command_refuses_them_before_the_bands_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    folders(tmp_path / "images", (2, 3, 5))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "six_classes", raising=False)
    (tmp_path / "six_classes.py").write_text(
        "import torch\nplayed = []\ndef model():\n    return answers\n"
        "def answers(images):\n    played.append(len(images))\n"
        "    light = images.mean(dim=(1, 2, 3))[:, None]\n"
        f"    return -300 * (light - torch.arange({CLASSES}) / {CLASSES}) ** 2\n"
    )
    how = ["--resize=none", "--crop=none", "--channels=1", "--bands=3", "--output=x.yaml"]
    assert main(["measure", "six_classes:model", "images", *how]) == 2
    assert "the first 3 of the model's 6 classes" in capsys.readouterr().err
    # Nothing but each image as it is, and what tells whether the model can be asked at all.
    import six_classes  # type: ignore[import-not-found]

    assert sum(six_classes.played) < 5 * 12
    assert not (tmp_path / "x.yaml").exists()

"""Reference samples named by text: CSV files of paths, saved datasets, and hf://."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.images.hub import NAMED
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.testing.factories import named_reference

Image = pytest.importorskip("PIL.Image")

ARRAYS = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
PICTURES = [Image.fromarray(each.transpose(1, 2, 0)) for each in ARRAYS]
SAMPLE = ReferenceSample(ARRAYS, [0, 1, 1, 0])


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Hugging Face's library, offline and with a cache of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pytest.importorskip("datasets")
    monkeypatch.setattr(found.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(found.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found.disable_progress_bars()
    return found


@pytest.fixture
def photos(datasets: Any) -> Any:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "writer": datasets.Value("string"),
        }
    )
    columns = {"image": PICTURES, "label": [0, 1, 1, 0], "writer": list("aabb")}
    return datasets.Dataset.from_dict(columns, features=features)


class TestHub:
    @pytest.fixture
    def hub(self, photos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder that the library takes for a repository of this name."""
        (tmp_path / "team" / "photos").mkdir(parents=True)
        photos.to_parquet(tmp_path / "team/photos/test-00000.parquet")
        photos.select([0, 1]).to_parquet(tmp_path / "team/photos/train-00000.parquet")
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def test_a_split(self, hub: Path) -> None:
        found = named_reference("hf://team/photos/test", hub)
        assert found.digest == SAMPLE.digest
        train = named_reference("hf://team/photos/train", hub, labels="none", groups="writer")
        assert train.digests == SAMPLE.digests[:2] and train.groups == ("a", "a")
        assert train.label_kind == "predicted"
        few = named_reference("hf://team/photos/test", hub, limit=3, resize=6, crop=5, channels=1)
        assert few.shape == (1, 5, 5) and len(few) == 3

    def test_a_split_or_name_that_is_not_there(self, hub: Path) -> None:
        for text in ("hf://team/photos/validation", "hf://team/nothing/test"):
            with pytest.raises(ReferenceSampleError, match=f"{text} cannot be loaded .*; check"):
                named_reference(text, hub)

    def test_a_column_that_is_not_there(self, hub: Path) -> None:
        message = r"label='class' names no column.*image, label"
        with pytest.raises(ReferenceSampleError, match=message):
            named_reference("hf://team/photos/test", hub, labels="class")

    @pytest.mark.parametrize("text", ["hf://photos", "hf://", "hf://a b/c/d"])
    def test_what_names_none(self, text: str, tmp_path: Path) -> None:
        with pytest.raises(ReferenceSampleError, match=r"names no .*hf://owner/name\[@revision\]"):
            named_reference(text, tmp_path)

    def test_no_split(self, tmp_path: Path) -> None:
        message = "'hf://team/photos' names no split; .* such as hf://team/photos/test"
        with pytest.raises(ReferenceSampleError, match=message):
            named_reference("hf://team/photos", tmp_path)

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("hf://a/b/test", ("a/b", None, None, "test")),
            ("hf://a/b:small/test", ("a/b", None, "small", "test")),
            ("hf://a/b@v1.0:small/test[:50]", ("a/b", "v1.0", "small", "test[:50]")),
            ("hf://a-1/b.c@0123abc/train", ("a-1/b.c", "0123abc", None, "train")),
        ],
    )
    def test_its_parts(self, text: str, parts: tuple[str | None, ...]) -> None:
        named = NAMED.fullmatch(text)
        assert named is not None
        assert tuple(named[key] for key in ("name", "revision", "config", "split")) == parts

    def test_without_the_library(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "datasets", None)
        message = r"datasets is needed to read hf://a/b/test .*pip install 'pytest-iaside\[datasets"
        with pytest.raises(ReferenceSampleError, match=message):
            named_reference("hf://a/b/test", tmp_path)


class TestSaved:
    def test_a_dataset(self, photos: Any, tmp_path: Path) -> None:
        photos.save_to_disk(tmp_path / "saved")
        assert named_reference("saved", tmp_path).digest == SAMPLE.digest

    def test_splits(self, datasets: Any, photos: Any, tmp_path: Path) -> None:
        datasets.DatasetDict(test=photos, train=photos).save_to_disk(tmp_path / "saved")
        message = "saved holds a DatasetDict with the splits test, train; name one of them: .*test"
        with pytest.raises(ReferenceSampleError, match=message):
            named_reference("saved", tmp_path)
        assert named_reference("saved/test", tmp_path).digest == SAMPLE.digest


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for at, picture in enumerate(PICTURES):
            picture.save(tmp_path / f"{at}.png")
        text = "".join(f"{at}.png,{label},w{at // 2}\n" for at, label in enumerate([0, 1, 1, 0]))
        (tmp_path / "list.csv").write_text(f"path,label,group\n{text}")
        return tmp_path

    def test_a_csv_file_of_paths(self, folder: Path) -> None:
        how: dict[str, Any] = {"resize": None, "crop": None}
        found = named_reference("list.csv", folder, **how)
        assert found.digest == SAMPLE.digest and found.groups == ("w0", "w0", "w1", "w1")
        assert named_reference("list.csv", folder, labels="none", **how).labels is None
        other = named_reference("list.csv", folder, labels="label", groups="label", **how)
        assert other.groups == ("0", "1", "1", "0")

    def test_how_files_are_read(self, folder: Path) -> None:
        (folder / "4.png").write_text("no picture")
        how: dict[str, Any] = {"resize": None, "crop": None, "labels": "none"}
        with pytest.raises(ReferenceSampleError, match=r"4\.png cannot be read"):
            named_reference(".", folder, **how)
        found = named_reference(".", folder, on_error="skip", channels=1, **how)
        assert found.shape == (1, 8, 8) and len(found.notes) == 1

    def test_a_factory_reads_as_it_likes(self, folder: Path) -> None:
        with pytest.raises(SettingsError, match="zoo:sample makes its own sample"):
            named_reference("zoo:sample", folder, on_error="skip")


INI = {
    "labels": "none",
    "resize": "none",
    "crop": "6",
    "channels": "1",
    "range": "0, 65535",
    "on_error": "skip",
}


def ini(**changes: str) -> str:
    lines = [f"iaside_reference_{key} = {value}" for key, value in (INI | changes).items()]
    return "\n".join(["[pytest]", "iaside_reference = photos", *lines])


class TestIni:
    @pytest.fixture
    def project(self, pytester: pytest.Pytester) -> pytest.Pytester:
        (pytester.path / "photos").mkdir()
        for at in range(3):
            deep = Image.fromarray(ARRAYS[at, 0].astype(np.uint16) * 257)
            deep.save(pytester.path / "photos" / f"{at}.png")
        (pytester.path / "photos" / "3.png").write_text("no picture")
        pytester.makepyfile(
            """
            def test_it(spectral_reference):
                sample = spectral_reference
                assert sample.shape == (1, 6, 6) and len(sample) == 3
                assert str(sample.images.dtype) == "torch.float32"
                assert sample.notes[0].startswith("1 of 4 images could not be read")
            """
        )
        return pytester

    def test_every_key(self, project: pytest.Pytester) -> None:
        project.makeini(ini())
        project.runpytest_subprocess().assert_outcomes(passed=1)

    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("channels", "2", "1, 3 or 4"),
            ("range", "5", "two numbers"),
            ("range", "5 1", "two numbers"),
            ("on_error", "ignore", "one of raise, skip"),
            ("crop", "0", "a whole number, at least 1, or none"),
        ],
    )
    def test_what_is_wrong(
        self, project: pytest.Pytester, key: str, value: str, expected: str
    ) -> None:
        project.makeini(ini(**{key: value}))
        done = project.runpytest_subprocess()
        message = f"*iaside_reference_{key}: '{value}' cannot be used; expected {expected}*"
        (done.stderr if done.ret == 4 else done.stdout).fnmatch_lines([message])

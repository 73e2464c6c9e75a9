"""What becomes of each kind of picture file, by value; broken files; CSV files of paths."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.images.reference import ReferenceSample

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("torchvision")

AS_IT_IS: dict[str, Any] = {"labels": None, "resize": None, "crop": None}
GREY = np.array([[0, 100], [200, 255]], dtype=np.uint8)
COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], dtype=np.uint8)


def read(folder: Path, **settings: Any) -> ReferenceSample:
    return ReferenceSample.from_folder(folder, **{**AS_IT_IS, **settings})


def pixels(folder: Path, **settings: Any) -> list[Any]:
    """The only image of ``folder``, as (H, W, C)."""
    found: list[Any] = read(folder, **settings).images[0].permute(1, 2, 0).tolist()
    return found


def mode(path: Path) -> str:
    with Image.open(path) as picture:
        return str(picture.mode)


class TestModes:
    def test_grey(self, tmp_path: Path) -> None:
        Image.fromarray(GREY).save(tmp_path / "a.png")
        assert pixels(tmp_path) == [[[0] * 3, [100] * 3], [[200] * 3, [255] * 3]]
        assert pixels(tmp_path, channels=1) == [[[0], [100]], [[200], [255]]]

    def test_one_bit(self, tmp_path: Path) -> None:
        Image.fromarray(GREY > 150).save(tmp_path / "a.png")
        assert mode(tmp_path / "a.png") == "1"
        assert pixels(tmp_path) == [[[0] * 3, [0] * 3], [[255] * 3, [255] * 3]]

    def test_transparency_is_dropped_and_the_stored_colour_stays(self, tmp_path: Path) -> None:
        alpha = np.array([[0, 255], [128, 1]], dtype=np.uint8)
        Image.fromarray(np.dstack([COLOURS, alpha])).save(tmp_path / "a.png")
        assert pixels(tmp_path) == COLOURS.tolist()
        assert pixels(tmp_path, channels=4) == np.dstack([COLOURS, alpha]).tolist()
        Image.fromarray(np.dstack([GREY, alpha]), mode="LA").save(tmp_path / "a.png")
        assert mode(tmp_path / "a.png") == "LA"
        assert pixels(tmp_path, channels=1) == GREY[..., None].tolist()

    def test_palettes(self, tmp_path: Path) -> None:
        picture = Image.fromarray(np.array([[0, 1], [2, 3]], dtype=np.uint8))
        picture = picture.convert("P")
        picture.putpalette(COLOURS.reshape(-1).tolist())
        # The second colour is transparent: it is seen all the same.
        picture.save(tmp_path / "a.png", transparency=1)
        with Image.open(tmp_path / "a.png") as stored:
            assert stored.mode == "P" and stored.info["transparency"] is not None
        assert pixels(tmp_path) == COLOURS.tolist()

    def test_printing_colours(self, tmp_path: Path) -> None:
        inks = np.zeros((1, 4, 4), dtype=np.uint8)
        inks[0, 1, 0] = 255  # Cyan takes red away,
        inks[0, 2, 3] = 255  # black takes everything,
        inks[0, 3] = (0, 128, 255, 51)  # and the rest is (255 − ink)·(255 − black) / 255.
        Image.fromarray(inks, mode="CMYK").save(tmp_path / "a.tif")
        assert pixels(tmp_path) == [[[255, 255, 255], [0, 255, 255], [0, 0, 0], [204, 102, 0]]]

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
    def test_sixteen_bits(self, tmp_path: Path, name: str) -> None:
        """Divided by 257 and rounded; not cut off at 255, which is white."""
        deep = np.array([[0, 128], [257 * 100, 65535]], dtype=np.uint16)
        if name.endswith("pgm"):  # Which the oldest Pillow reads, and does not write.
            (tmp_path / name).write_bytes(b"P5 2 2 65535\n" + deep.astype(">u2").tobytes())
        else:
            Image.fromarray(deep).save(tmp_path / name)
        assert pixels(tmp_path, channels=1) == [[[0], [0]], [[100], [255]]]
        assert pixels(tmp_path) == [[[0] * 3, [0] * 3], [[100] * 3, [255] * 3]]

    def test_sixteen_bits_by_their_range(self, tmp_path: Path) -> None:
        Image.fromarray(np.array([[0, 1024], [2048, 4095]], np.uint16)).save(tmp_path / "a.png")
        found = read(tmp_path, range=(0, 4095), channels=1)
        assert found.images.flatten().tolist() == [
            np.float32(value) for value in (0, 1024 / 4095, 2048 / 4095, 1)
        ]
        message = r"a\.png has values from 0 to 4095, outside range=\(0, 1000\); give the range"
        with pytest.raises(ReferenceSampleError, match=message):
            read(tmp_path, range=(0, 1000))
        Image.fromarray(GREY).save(tmp_path / "b.png")
        with pytest.raises(ReferenceSampleError, match=r"b\.png is a picture of 8 bits .*\(L\)"):
            read(tmp_path, range=(0, 4095))

    def test_fractions_need_a_range(self, tmp_path: Path) -> None:
        values = np.array([[-1000, 0], [1000, 3000]], np.float32)
        Image.fromarray(values).save(tmp_path / "a.tif")
        with pytest.raises(ReferenceSampleError, match=r"a\.tif holds fractions.*give range="):
            read(tmp_path)
        found = read(tmp_path, range=(-1000, 3000))
        assert found.images[0].flatten(1).tolist() == [[0, 0.25, 0.5, 1]] * 3

    @pytest.mark.parametrize("turn", range(1, 9))
    def test_turned_as_the_camera_was_held(self, tmp_path: Path, turn: int) -> None:
        seen = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
        # How the camera has to store a picture so that its note makes it upright (EXIF 2.3).
        stored = {
            1: seen,
            2: seen[:, ::-1],
            3: seen[::-1, ::-1],
            4: seen[::-1],
            5: seen.T,
            6: np.rot90(seen),
            7: seen[::-1, ::-1].T,
            8: np.rot90(seen, -1),
        }[turn]
        exif = Image.Exif()
        exif[274] = turn
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
        assert pixels(tmp_path, channels=1) == seen[..., None].tolist()

    def test_channels_that_pictures_do_not_have(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="channels=2 cannot be made of pictures"):
            read(tmp_path, channels=2)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Five pictures in two folders, of which one is cut short and one is text."""
    for seed, name in enumerate(("cat/a.png", "cat/b.png", "dog/c.png", "dog/d.png", "dog/e.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(values).save(path)
    content = (tmp_path / "photos/cat/b.png").read_bytes()
    (tmp_path / "photos/cat/b.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "photos/dog/d.png").write_text("no picture")
    return tmp_path / "photos"


class TestBroken:
    def test_the_first_is_named(self, broken: Path) -> None:
        with pytest.raises(ReferenceSampleError, match=r'cat/b\.png cannot.*on_error="skip"'):
            read(broken)

    def test_skipped_ones_are_told(self, broken: Path) -> None:
        found = read(broken, labels="folder", groups="folder", on_error="skip")
        assert found.names == ("cat/a.png", "dog/c.png", "dog/e.png")
        assert found.labels is not None and found.labels.tolist() == [0, 1, 1]
        assert found.groups == ("cat", "dog", "dog")
        (note,) = found.notes
        assert note.startswith("2 of 5 images could not be read and were skipped: cat/b.png cannot")
        assert "dog/d.png cannot be read as an image (UnidentifiedImageError" in note

    def test_the_rest_are_those_of_a_folder_without_them(self, broken: Path) -> None:
        found = read(broken, on_error="skip")
        for name in ("cat/b.png", "dog/d.png"):
            (broken / name).unlink()
        clean = read(broken)
        assert clean.digests == found.digests and clean.notes == ()

    def test_a_measurement_says_so(self, broken: Path) -> None:
        torch = pytest.importorskip("torch")
        from pytest_iaside import measure

        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1200, 3))
        found = measure(net, read(broken, on_error="skip"), bands=2, cache=False)
        assert sum(note.startswith("2 of 5 images could not") for note in found.notes) == 1

    def test_a_baseline_of_all_images_does_not_fit_what_is_left(self, broken: Path) -> None:
        torch = pytest.importorskip("torch")
        from pytest_iaside import BaselineError, compare, measure

        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1200, 3))
        (broken / "dog/d.png").unlink()
        found = measure(net, read(broken, on_error="skip"), bands=2, cache=False)
        values = np.random.default_rng(8).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(values).save(broken / "cat/b.png")
        whole = measure(net, read(broken, on_error="skip"), bands=2, cache=False)
        assert (len(found), len(whole)) == (3, 4)
        with pytest.raises(
            BaselineError, match=r"reference sample: candidate 3 images .*baseline 4"
        ):
            compare(found, whole)

    def test_what_is_too_small_is_no_broken_file(self, broken: Path) -> None:
        with pytest.raises(ReferenceSampleError, match=r"cat/a\.png is 20×20.*too small for crop"):
            read(broken, crop=21, on_error="skip")

    def test_nothing_left(self, broken: Path) -> None:
        for name in ("cat/a.png", "dog/c.png", "dog/e.png"):
            (broken / name).unlink()
        with pytest.raises(ReferenceSampleError, match=r"none of 2 images can be read: cat/b\.png"):
            read(broken, on_error="skip")


class TestCsvOfPaths:
    @pytest.fixture
    def folder(self, broken: Path) -> Path:
        for name in ("cat/b.png", "dog/d.png"):
            (broken / name).unlink()
        return broken

    def listed(self, folder: Path, text: str, **settings: Any) -> ReferenceSample:
        (folder / "list.csv").write_text(text, encoding="utf-8")
        given = {"resize": None, "crop": None, **settings}
        return ReferenceSample.from_csv(folder / "list.csv", **given)

    @pytest.mark.parametrize(
        "column", ["file", "path", "filename", "file_name", "filepath", "image", "Path", "FileName"]
    )
    def test_columns_of_paths_in_any_case(self, folder: Path, column: str) -> None:
        found = self.listed(folder, f"{column},Label,GROUP\ndog/c.png,7,x\ncat/a.png,3,y\n")
        assert found.names == ("dog/c.png", "cat/a.png")
        assert found.labels is not None and found.labels.tolist() == [7, 3]
        assert found.groups == ("x", "y")
        assert found.digests == read(folder).take([1, 0]).digests
        labels = ReferenceSample.from_folder(
            folder, labels="list.csv", groups="GROUP", resize=None, crop=None
        )
        assert labels.digest == found.digest and labels.groups == found.groups

    def test_paths_alone_and_columns_that_are_named(self, folder: Path) -> None:
        alone = self.listed(folder, "path\ncat/a.png\ndog/c.png\n")
        assert alone.label_kind == "predicted" and alone.groups is None
        text = "path,group,fine,coarse,place\ncat/a.png,a,1,0,p\ndog/c.png,b,2,0,p\n"
        found = self.listed(folder, text, labels="fine", groups="place")
        assert found.labels is not None and found.labels.tolist() == [1, 2]
        assert found.groups == ("p", "p")
        none = self.listed(folder, text, labels=None, groups=None)
        assert none.labels is None and none.groups is None
        by = self.listed(folder, text, labels=None, groups=lambda path: path.split("/")[0])
        assert by.groups == ("cat", "dog")

    def test_another_root(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "lists").mkdir()
        (tmp_path / "lists" / "a.csv").write_text("path,label\ncat/a.png,1\n")
        given: dict[str, Any] = {"resize": None, "crop": None}
        found = ReferenceSample.from_csv(tmp_path / "lists/a.csv", root=folder, **given)
        assert found.names == ("cat/a.png",)
        with pytest.raises(ReferenceSampleError, match=r"names 1 image \(cat/a\.png\) not found"):
            ReferenceSample.from_csv(tmp_path / "lists/a.csv", **given)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("path,caption\ncat/a.png,cat\n", "columns path, caption, and none is called label"),
            ("path,image,label\na,b,1\n", "columns path and image, and either may be meant"),
            ("path,Class,Label\na,1,2\n", "columns Class and Label, and either may be meant"),
            ("path;label\ncat/a.png;1\n", "columns path;label; .*, separated by commas"),
            ("x,label\ncat/a.png,1\n", r"columns x, label; expected .* file \(or path, filename"),
            ("path,label\n/etc/a.png,1\n", "leaves the folder"),
        ],
    )
    def test_what_is_wrong_is_said(self, folder: Path, text: str, message: str) -> None:
        with pytest.raises(ReferenceSampleError, match=message):
            self.listed(folder, text)

    def test_columns_that_are_not_there(self, folder: Path) -> None:
        text = "path,label\ncat/a.png,1\n"
        with pytest.raises(ReferenceSampleError, match="labels='fine' names none of them"):
            self.listed(folder, text, labels="fine")
        with pytest.raises(ReferenceSampleError, match="groups='writer' names none of them"):
            self.listed(folder, text, groups="writer")

    def test_another_encoding(self, folder: Path) -> None:
        (folder / "list.csv").write_bytes("path,label\nna\xefve.png,1\n".encode("latin-1"))
        message = r"not UTF-8 \(byte 13 is 0xef, which is 'ï' in Latin-1 and Windows-1252\); save"
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample.from_csv(folder / "list.csv")
        (folder / "list.csv").write_bytes("path,label\ncat/a.png,1\n".encode("utf-16"))
        with pytest.raises(ReferenceSampleError, match=r"\(it begins as UTF-16 does\); save it as"):
            ReferenceSample.from_csv(folder / "list.csv")

    def test_two_columns_of_classes_that_differ(self, folder: Path) -> None:
        text = "path,label,class\ncat/a.png,3,3\ndog/c.png,7,5\n"
        message = "line 3: 'dog/c.png' has label 7 and class 5, and either may be meant; say which"
        with pytest.raises(ReferenceSampleError, match=message):
            self.listed(folder, text)
        with pytest.raises(ReferenceSampleError, match=message):
            ReferenceSample.from_folder(folder, labels="list.csv", resize=None, crop=None)
        for column, expected in (("label", [3, 7]), ("class", [3, 5])):
            found = self.listed(folder, text, labels=column)
            assert found.labels is not None and found.labels.tolist() == expected
        # A name beside the index of the same class, and the same index twice, are no question.
        for beside in (["cat", "dog"], [" 3", "7 "]):
            lines = [f"cat/a.png,3,{beside[0]}", f"dog/c.png,7,{beside[1]}"]
            found = self.listed(folder, "\n".join(["path,label,class", *lines]))
            assert found.labels is not None and found.labels.tolist() == [3, 7]

    def test_broken_files_are_skipped(self, folder: Path) -> None:
        (folder / "dog/c.png").write_text("no picture")
        text = "path,label\ndog/c.png,7\ncat/a.png,3\n"
        with pytest.raises(ReferenceSampleError, match=r"dog/c\.png cannot be read"):
            self.listed(folder, text)
        found = self.listed(folder, text, on_error="skip")
        assert found.names == ("cat/a.png",) and len(found.notes) == 1
        assert found.labels is not None and found.labels.tolist() == [3]

    def test_copies_are_told_of_where_the_call_stands(self, folder: Path) -> None:
        (folder / "dog/f.png").write_bytes((folder / "cat/a.png").read_bytes())
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            (folder / "list.csv").write_text("path\ncat/a.png\ndog/f.png\n")
            ReferenceSample.from_csv(folder / "list.csv", resize=None, crop=None)
        (told,) = (each for each in seen if issubclass(each.category, UserWarning))
        assert "1 exact copy (dog/f.png of cat/a.png)" in str(told.message)
        assert Path(told.filename).name == Path(__file__).name

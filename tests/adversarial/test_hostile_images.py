"""Picture files and lists of labels that somebody made to hang, to exhaust, or to mislead."""

from __future__ import annotations

import io
import os
import re
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import tamed

from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.images.pictures import MOST_PIXELS
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.perturb.stored import stored_corruption

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("torchvision")
AS_IT_IS: dict[str, Any] = {"labels": None, "resize": None, "crop": None}


def pixels(seed: int, height: int = 10, width: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def photo(path: Path, seed: int = 0, height: int = 10, width: int = 12, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, height, width)).save(path, **how)
    return path


def encoded(kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(0)).save(file, kind, **how)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(
        ">I", zlib.crc32(name + content)
    )  # fmt: skip


def png(width: int, height: int, data: bytes = b"", *more: bytes, depth: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(data, 1))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + body + chunk(b"IEND", b"")
    )


def _zeros(height: int, width: int) -> bytes:
    return png(width, height, bytes(height * (width + 1)))


FILES: dict[str, Callable[[Path], Any]] = {
    "169 megapixels": lambda path: path.write_bytes(_zeros(13_000, 13_000)),
    "a gigapixel": lambda path: path.write_bytes(png(30_000, 40_000)),
    "a single row of 2 billion": lambda path: path.write_bytes(png(2**31 - 1, 1)),
    "a size of nothing": lambda path: path.write_bytes(png(0, 0)),
    "a bomb of text": lambda path: path.write_bytes(
        png(2, 2, bytes(6), chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(300 * 10**6), 1)))
    ),
    "PostScript": lambda path: path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) print\nshowpage\n"
    ),
    "a page of PDF": lambda path: path.write_bytes(b"%PDF-1.4\n1 0 obj <<>> endobj\n"),
    "Photoshop's": lambda path: path.write_bytes(b"8BPS\0\1" + bytes(40)),
    "a font": lambda path: path.write_bytes(encoded("SGI")),
    "an icon": lambda path: path.write_bytes(encoded("ICO")),
    "JPEG 2000": lambda path: path.write_bytes(encoded("JPEG2000")),
    "a vector drawing": lambda path: path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "a pipe": os.mkfifo,
    "a device that never ends": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "nothing": lambda path: path.touch(),
    "half of it": lambda path: path.write_bytes(encoded("PNG")[:300]),
    "half of a JPEG": lambda path: path.write_bytes(encoded("JPEG")[:400]),
    "a terabyte of nothing": lambda path: os.truncate(photo(path), 2**40),
    "numbers with fractions": lambda path: Image.fromarray(np.ones((4, 4), np.float32)).save(
        path, "TIFF"
    ),
    "32 bits a pixel": lambda path: Image.fromarray(np.full((4, 4), 2**20, np.int32)).save(
        path, "TIFF"
    ),
}


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("trick", list(FILES))
def test_a_file_that_is_no_picture(tmp_path: Path, trick: str, suffix: str) -> None:
    path = tmp_path / f"odd{suffix}"
    FILES[trick](path)
    csv = tmp_path / "labels.csv"
    csv.write_text(f"file,label\n{path.name},1\n")
    with pytest.raises(ReferenceSampleError) as raised:
        tamed(lambda: ReferenceSample.from_folder(tmp_path, **{**AS_IT_IS, "labels": csv}))
    message = str(raised.value)
    assert path.name in message and len(message) < 700
    assert any(word in message for word in ("restore", "leave it out", "add the images", "save it"))


def test_the_size_is_told_before_anything_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_zeros(13_000, 13_000))
    with pytest.raises(ReferenceSampleError, match=r"13000×13000 pixels, 169 million; expected at"):
        tamed(lambda: ReferenceSample.from_folder(tmp_path, **AS_IT_IS), megabytes=100)
    assert MOST_PIXELS >= 48e6  # What telephones take.


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_formats_that_are_read_exactly(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.png").write_bytes(encoded(kind))
    found = ReferenceSample.from_folder(tmp_path, **AS_IT_IS).images[0]
    np.testing.assert_array_equal(found.permute(1, 2, 0), pixels(0))


def test_formats_that_are_read_nearly(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    for kind in ("JPEG", "WEBP"):
        Image.fromarray(smooth).save(tmp_path / f"{kind}.jpg", kind, quality=95)
    for found in ReferenceSample.from_folder(tmp_path, **AS_IT_IS).images:
        assert np.abs(found.permute(1, 2, 0).numpy().astype(int) - smooth).max() < 16


def test_of_several_frames_the_first_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.tif", save_all=True, append_images=frames[1:])
    (tmp_path / "l.csv").write_text("file,label\na.gif,0\nb.tif,0\n")
    with pytest.warns(UserWarning, match="exact copy"):
        found = ReferenceSample.from_folder(tmp_path, **{**AS_IT_IS, "labels": "l.csv"})
    assert found.images[:, :, 0, 0].tolist() == [[255, 0, 0]] * 2


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_not_white(tmp_path: Path, suffix: str) -> None:
    grey = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / f"a{suffix}")
    (found,) = ReferenceSample.from_folder(tmp_path, **AS_IT_IS).images
    for channel in found:
        np.testing.assert_array_equal(channel, np.rint(grey / 257))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_the_camera_was_held(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo(tmp_path / "a.png", 3, exif=exif.tobytes())
    (found,) = ReferenceSample.from_folder(tmp_path, **AS_IT_IS).images
    turned: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, 1),
    }
    np.testing.assert_array_equal(found.permute(1, 2, 0), turned[orientation](pixels(3)))


def test_a_damaged_note_of_the_camera_is_no_reason_to_stop(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", 3, exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert len(ReferenceSample.from_folder(tmp_path, **AS_IT_IS)) == 1


class TestLinks:
    def test_circles_end(self, tmp_path: Path) -> None:
        root = tmp_path / "photos"
        for seed, name in enumerate(("cat", "dog")):
            photo(root / name / "a.png", seed)
            for link in ("up", "again"):
                (root / name / link).symlink_to(root)
            (root / name / "self").symlink_to(root / name)
        (root / "cat" / "dog").symlink_to(root / "dog")
        (root / "dog" / "cat").symlink_to(root / "cat")

        def names() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ReferenceSample.from_folder(root, **AS_IT_IS).names

        assert tamed(names) == ("cat/a.png", "cat/dog/a.png", "dog/a.png", "dog/cat/a.png")
        with (
            pytest.warns(UserWarning, match="2 exact copies"),
            pytest.warns(UserWarning, match="is a link to a folder that it lies in"),
        ):
            ReferenceSample.from_folder(root, **AS_IT_IS)

    def test_the_whole_disk_is_not_searched(self, tmp_path: Path) -> None:
        photo(tmp_path / "photos" / "a.png")
        (tmp_path / "photos" / "all").symlink_to("/")
        with pytest.warns(UserWarning, match="all is a link to a folder that it lies in"):
            found = ReferenceSample.from_folder(tmp_path / "photos", **AS_IT_IS)
        assert found.names == ("a.png",)

    def test_links_to_a_store_are_followed_and_told(self, tmp_path: Path) -> None:
        """As DVC, git-annex and Hugging Face lay data sets."""
        photo(tmp_path / "store" / "0a1b", 1, format="PNG")
        photo(tmp_path / "store" / "folder" / "b.png", 2)
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.png").symlink_to(tmp_path / "store" / "0a1b")
        (tmp_path / "photos" / "cat").symlink_to(tmp_path / "store" / "folder")
        with pytest.warns(UserWarning, match="and 1 more .* are links to somewhere else"):
            found = ReferenceSample.from_folder(tmp_path / "photos", **AS_IT_IS)
        assert found.names == ("a.png", "cat/b.png")

    def test_links_within_the_folder_are_not_told(self, tmp_path: Path) -> None:
        photo(tmp_path / "photos" / "a.png", 1)
        (tmp_path / "photos" / "b.png").symlink_to("a.png")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=".*same image.*|.*cop(y|ies).*")
            found = ReferenceSample.from_folder(tmp_path / "photos", **AS_IT_IS)
        assert found.names == ("a.png", "b.png")


CSVS: dict[str, tuple[bytes, str]] = {
    "Latin-1": (b"file,label\nna\xefve.png,1\n", r"is not UTF-8 \(byte 13 is 0xef, .*\); save it"),
    "UTF-16": ("file,label\na.png,1\n".encode("utf-16"), "is not UTF-8"),
    "zero bytes": (b"file,label\na\0.png,1\n", "a"),
    "a field of a megabyte": (b"file,label\n" + b"a" * 10**6 + b",1\n", "cannot be read: .*field"),
    "an open quote": (b'file,label\n"a.png,1\n' + b"b.png,2\n" * 40_000, "cannot be read: .*field"),
    "a label of 5,000 digits": (b"file,label\na.png," + b"9" * 5000, "line 2: file 'a.png'"),
    "a label of 30 digits": (b"file,label\na.png," + b"9" * 30 + b"\n", "labels are|label"),
    "a label that is none": (b"file,label\na.png,nan\n", "line 2: file 'a.png' has label 'nan'"),
    "a path out of the folder": (b"file,label\n../a.png,1\n", "'../a.png' leaves the folder"),
    "a path from the root": (b"file,label\n/etc/passwd,1\n", "'/etc/passwd' leaves the folder"),
    "a path around": (b"file,label\nb/../../a.png,1\n", "leaves the folder"),
    "a name of 5,000 letters": (b"file,label\n" + b"a" * 5000 + b",1\n", "not found"),
    "a folder": (b"file,label\n.,1\n", "not found"),
    "no file": (b"file,label\n,1\n", "not found"),
    "two labels": (b"file,label\na.png,1\na.png,2\n", r"'a.png' has label 2, and 1 above; leave"),
    "two labels, written otherwise": (b"file,label\na.png,1\n./a.png,2\n", "has label 2, and 1"),
    "a column twice": (b"file,file,label\na.png,b.png,1\n", "more than one column file"),
    "escapes of a terminal": (b"file,label\n\x1b[31mred.png,x\n", r"\\x1b\[31mred"),
}  # fmt: skip


@pytest.mark.parametrize("trick", list(CSVS))
def test_a_list_of_labels_that_is_none(tmp_path: Path, trick: str) -> None:
    content, message = CSVS[trick]
    photo(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_bytes(content)
    settings = {**AS_IT_IS, "labels": "labels.csv"}
    with pytest.raises(ReferenceSampleError, match=message) as raised:
        tamed(lambda: ReferenceSample.from_folder(tmp_path, **settings))
    assert str(raised.value).isprintable() and len(str(raised.value)) < 700


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/dev/zero"), Path.mkdir])
def test_a_list_of_labels_that_is_no_file(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    photo(tmp_path / "a.png")
    make(tmp_path / "labels.csv")
    settings = {**AS_IT_IS, "labels": "labels.csv"}
    with pytest.raises(ReferenceSampleError, match=r"labels\.csv"):
        tamed(lambda: ReferenceSample.from_folder(tmp_path, **settings))


class TestCopies:
    def test_a_file_that_is_named_twice_is_taken_once(self, tmp_path: Path) -> None:
        photo(tmp_path / "a.png")
        (tmp_path / "l.csv").write_text("file,label\na.png,1\n./a.png,1\n")
        with pytest.warns(UserWarning, match=r"1 image \(a.png\) more than once; each was") as seen:
            found = ReferenceSample.from_folder(tmp_path, **{**AS_IT_IS, "labels": "l.csv"})
        assert found.names == ("a.png",)
        assert [Path(each.filename).name for each in seen] == [Path(__file__).name]

    def test_copies_under_two_labels_are_told_of(self, tmp_path: Path) -> None:
        for name in ("cat/a.png", "cat/b.png", "dog/c.png"):
            photo(tmp_path / name, 1)
        photo(tmp_path / "dog/d.png", 2)
        expected = (
            r"2 exact copies \(cat/b.png of cat/a.png, dog/c.png of cat/a.png\) count as one image"
            "; 1 of them with another label, one of which is wrong; leave the copies out"
        )
        with pytest.warns(UserWarning, match=expected) as seen:
            found = ReferenceSample.from_folder(tmp_path, resize=None, crop=None)
        assert len(found) == 4
        assert [Path(each.filename).name for each in seen] == [Path(__file__).name]


class TestSmallImages:
    def test_what_is_enlarged_is_told_once(self, tmp_path: Path) -> None:
        for seed, side in enumerate((32, 40, 300)):
            photo(tmp_path / f"{seed}.png", seed, side, side)
        expected = (
            "2 of 3 images in .* are smaller than resize=256 and were enlarged "
            r"\(the smallest, 0.png, has 32 pixels\).*give resize=32, crop=32 or less"
        )
        with pytest.warns(UserWarning, match=expected) as seen:
            ReferenceSample.from_folder(tmp_path, labels=None)
        assert [Path(each.filename).name for each in seen] == [Path(__file__).name]

    def test_what_is_not_enlarged_is_not(self, tmp_path: Path) -> None:
        photo(tmp_path / "a.png", 1, 256, 300)
        ReferenceSample.from_folder(tmp_path, labels=None)
        photo(tmp_path / "a.png", 1, 20, 30)
        ReferenceSample.from_folder(tmp_path, **AS_IT_IS)


def npz(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, a=array)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


STORED: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a pipe": ("fog.npy", os.mkfifo),
    "a device that never ends": ("labels.npy", lambda path: path.symlink_to("/dev/zero")),
    "nothing": ("fog.npy", Path.touch),
    "text": ("fog.npy", lambda path: path.write_text("fog")),
    "objects": ("fog.npy", lambda path: np.save(path, np.array([{}] * 5))),
    "an archive": ("fog.npy", lambda path: path.write_bytes(npz(np.zeros(3)))),
    "a shape larger than the file": (
        "fog.npy",
        lambda path: path.write_bytes(npy(np.zeros((5, 8, 8, 3), np.uint8))[:200]),
    ),
    "labels with fractions": ("labels.npy", lambda path: np.save(path, np.array([np.nan]))),
    "labels that are text": ("labels.npy", lambda path: np.save(path, np.array(["cat"]))),
}


@pytest.mark.parametrize("trick", list(STORED))
def test_stored_arrays_that_are_none(tmp_path: Path, trick: str) -> None:
    np.save(tmp_path / "fog.npy", np.zeros((5, 8, 8, 3), np.uint8))
    np.save(tmp_path / "labels.npy", np.zeros(1, np.int64))
    assert len(stored_corruption(tmp_path, "fog", 1)) == 1
    name, make = STORED[trick]
    (tmp_path / name).unlink()
    if trick == "a device that never ends":  # Not a file: no such arrays at all.
        make(tmp_path / name)
        with pytest.raises(ReferenceSampleError, match=re.escape(str(tmp_path))):
            tamed(lambda: stored_corruption(tmp_path, "fog", 1))
        return
    make(tmp_path / name)
    with pytest.raises(ReferenceSampleError, match=re.escape(name)):
        tamed(lambda: stored_corruption(tmp_path, "fog", 1))


def test_a_path_longer_than_any(tmp_path: Path) -> None:
    assert sys.getrecursionlimit() >= 1000
    folder = tmp_path
    for _ in range(60):
        folder = folder / ("d" * 30)
    folder.mkdir(parents=True)
    photo(folder / "a.png")
    assert len(tamed(lambda: ReferenceSample.from_folder(tmp_path, **AS_IT_IS).names)) == 1

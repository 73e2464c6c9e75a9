"""Files of every kind that is read, damaged at random, and what their readers may do about it."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from profiles import make_profile

from pytest_iaside import ReferenceSample, stored_corruption
from pytest_iaside.cli.ini_file import written_to
from pytest_iaside.errors import (
    BaselineError,
    ModelError,
    ReferenceSampleError,
    SettingsError,
    SpectralRobustnessError,
)
from pytest_iaside.images.label_lists import read_list
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.settings import INI_ONLY, SETTINGS, read_text
from pytest_iaside.store import baselines, machine
from pytest_iaside.store.cache import Entry, Found, ResultCache
from pytest_iaside.track.checkpoints import find_checkpoints, read_checkpoint
from pytest_iaside.track.history import History, Point

CODE = b"cos\nsystem\n(S'true'\ntR."
PIECES: tuple[bytes, ...] = (
    *(b"", b"\0", b"\xff" * 8, b"\x80" * 3, b"\n", b" " * 300, b"[" * 2000, b"{a: " * 500),
    *(b"&a [*a]", b"!!python/object/apply:os.system ['true']", b"<<: *a", b"- " * 999, b"1e999"),
    *(b".nan", b"-.inf", b"9" * 400, b"1:59:59:59", b"\xef\xbb\xbf", b"\x1b[31m", b"\xe2\x80\xae"),
    *(b"PK\x01\x02", b"PK\x05\x06", b"\x93NUMPY\x01\0", b"'|O'", b"(99999999999, 9)", b"'<f8'"),
    *(b"SQLite format 3\0", b"CREATE TRIGGER", b"zeroblob(999999999)", b"\x7f\xff\xff\xff"),
    *(CODE, b"\x80\x04" + CODE, pickle.dumps(os.getcwd), b"../../../../etc/passwd", b"/dev/zero"),
    *(
        b"\x89PNG\r\n\x1a\n",
        b"IHDR\x7f\xff\xff\xff\x7f\xff\xff\xff",
        b"\xff\xd8\xff\xda",
        b"GIF89a",
    ),
    *(b'"', b"'", b",,,,", b";", b"\t", b"file,label\n", b"true", b"null", b"{}", b"[]", b"0x1p9"),
)
"""What has deceived readers of such files before."""
RUNS_CODE = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen")
REACHES_OUT = ("socket.connect", "pickle.find_class", "shutil.rmtree", "urllib.Request")
_watching = False


class CodeWasRun(BaseException):
    """A reader started something, or unpickled it."""


def _hook(event: str, _: Any) -> None:
    if _watching and event in (*RUNS_CODE, *REACHES_OUT):
        raise CodeWasRun(event)


@contextmanager
def no_code() -> Iterator[None]:
    """Raise CodeWasRun where something is started, unpickled or connected in here."""
    global _watching
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    _watching = True
    try:
        yield
    finally:
        _watching = False


_hooked: list[bool] = []


@dataclass(frozen=True)
class Reader:
    """What reads one kind of file, whole files of it, and the errors that it may raise.

    ``read(content, folder)`` puts ``content`` into ``folder`` and reads it as the package does.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], Any]
    errors: tuple[type[SpectralRobustnessError], ...]


@cache
def _saved() -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = make_profile(images=6).save(
            Path(folder) / "net.yaml", test={"node_id": "test_a.py::t", "name": None}
        )
        return path.read_bytes(), path.with_suffix(".npz").read_bytes()


def _read_text_of_baseline(content: bytes, folder: Path) -> None:
    path = folder / "net.yaml"
    path.write_bytes(content)
    path.with_suffix(".npz").write_bytes(_saved()[1])
    baselines.unused([path], used=(), tests={}, files=())
    SpectralProfile.load(path)


def _read_arrays_of_baseline(content: bytes, folder: Path) -> None:
    path, (text, arrays) = folder / "net.yaml", _saved()
    old, new = (hashlib.sha256(each).hexdigest().encode() for each in (arrays, content))
    path.write_bytes(text.replace(old, new))
    path.with_suffix(".npz").write_bytes(content)
    SpectralProfile.load(path)


def _database_of(make: Callable[[Path], Path]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder))
        # As many pages as there are with a schema and a row or two; none that are free.
        with closing(sqlite3.connect(path)) as database:
            database.execute("VACUUM")
        return path.read_bytes()


def _one_cache(folder: Path) -> Path:
    kept = ResultCache(folder)
    found = Found({"x": np.arange(40.0)}, {"number": 1})
    kept.put("game", "title", [Entry("a", "0"), Entry("b", "0")], ["0", "0"], [found, found])
    return kept.path


def _read_cache(content: bytes, folder: Path) -> None:
    kept = ResultCache(folder)
    kept.path.write_bytes(content)
    for entry in kept.get("game", [Entry("a", "0"), Entry("b", None)]):
        assert entry is None or np.array_equal(entry.arrays["x"], np.arange(40.0)), "a stale row"
    kept.contents()
    found = Found({"x": np.arange(40.0)}, {"number": 1})
    kept.put("game", "title", [Entry("c", "0")], ["0"], [found])


def _one_history(folder: Path) -> Path:
    history = History(folder / "h.sqlite")
    for step in (1, 2):
        profile = make_profile(images=4, seed=step)
        history.add(Point(step=step, name=f"{step}.pt", profile=profile))
    return history.path


def _read_history(content: bytes, folder: Path) -> None:
    history = History(folder / "h.sqlite")
    history.path.write_bytes(content)
    history.runs()
    history.points()


def _read_choice(content: bytes, folder: Path) -> None:
    before = os.environ.get(machine.FOLDER_VARIABLE)
    os.environ[machine.FOLDER_VARIABLE] = str(folder)
    try:
        (folder / "backends").mkdir(exist_ok=True)
        (folder / "backends" / "key.json").write_bytes(content)
        machine.recall("key")
    finally:
        os.environ.pop(machine.FOLDER_VARIABLE)
        if before is not None:
            os.environ[machine.FOLDER_VARIABLE] = before


INI = b"[pytest]\niaside_bands = 6  # of eight\naddopts = -q\n[other]\nx = 1\n"
TOML = b'[tool.pytest.ini_options]\niaside_bands = "6"\naddopts = ["-q"]\n[tool.other]\nx = 1\n'


def _read_ini(name: str) -> Callable[[bytes, Path], None]:
    def read(content: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(content)
        written_to(path, {"iaside_max_src_drop": "0.1"})

    return read


def _read_settings(content: bytes, folder: Path) -> None:
    name, _, value = content.decode("utf-8", "replace").partition("=")
    read_text(name if name in SETTINGS | INI_ONLY else "bands", value, "tox.ini")


def _settings() -> list[bytes]:
    usual = {"panel": "white_noise 3, contrast 2", "budget": "60s", "executor": "process:4?x=2"}
    return [f"{name}={usual.get(name, '4')}".encode() for name in SETTINGS | INI_ONLY]


def _torch_files() -> list[bytes]:
    found = []
    for new in (True, False):
        packed = io.BytesIO()
        state = {"epoch": 3, "state_dict": {"weight": torch.zeros(2)}, "metrics": {"loss": 0.5}}
        torch.save(state, packed, _use_new_zipfile_serialization=new)
        found.append(packed.getvalue())
    return found


def _safetensors() -> list[bytes]:
    from safetensors.torch import save

    return [save({"weight": torch.zeros(2)}, metadata={"epoch": "3"})]


def _read_checkpoint(suffix: str) -> Callable[[bytes, Path], None]:
    def read(content: bytes, folder: Path) -> None:
        path = folder / f"epoch3{suffix}"
        path.write_bytes(content)
        find_checkpoints([str(path)])
        read_checkpoint(path)

    return read


def _pictures() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    found = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        packed = io.BytesIO()
        Image.fromarray(pixels).save(packed, kind)
        found.append(packed.getvalue())
    return found


def _read_picture(content: bytes, folder: Path) -> None:
    (folder / "a.png").write_bytes(content)
    ReferenceSample.from_folder(folder, labels=None, resize=8, crop=8)


def _read_csv(content: bytes, folder: Path) -> None:
    path = folder / "labels.csv"
    path.write_bytes(content)
    read_list(path, path)


def _stored() -> list[bytes]:
    packed = io.BytesIO()
    np.save(packed, np.zeros((5, 8, 8, 3), np.uint8))
    return [packed.getvalue()]


def _read_stored(content: bytes, folder: Path) -> None:
    (folder / "fog.npy").write_bytes(content)
    np.save(folder / "labels.npy", np.zeros(5, np.int64))
    stored_corruption(folder, "fog", 3, crop=None)


BASELINE, SAMPLE = (BaselineError,), (ReferenceSampleError,)
READERS: dict[str, Reader] = {
    "baseline YAML": Reader(lambda: [_saved()[0]], _read_text_of_baseline, BASELINE),
    "baseline NPZ": Reader(lambda: [_saved()[1]], _read_arrays_of_baseline, BASELINE),
    "cache": Reader(lambda: [_database_of(_one_cache)], _read_cache, ()),
    "history": Reader(lambda: [_database_of(_one_history)], _read_history, BASELINE),
    "choice of a back end (JSON)": Reader(
        lambda: [b'{"setups": [{"backend": "eager", "batch_size": 8}], "note": ""}'],
        _read_choice,
        (),
    ),
    "ini file": Reader(lambda: [INI], _read_ini("tox.ini"), (SettingsError,)),
    "pyproject.toml": Reader(lambda: [TOML], _read_ini("pyproject.toml"), (SettingsError,)),
    "values of settings": Reader(_settings, _read_settings, (SettingsError,)),
    "checkpoint of PyTorch": Reader(_torch_files, _read_checkpoint(".pt"), (ModelError,)),
    "checkpoint of safetensors": Reader(
        _safetensors, _read_checkpoint(".safetensors"), (ModelError,)
    ),
    "picture": Reader(_pictures, _read_picture, SAMPLE),
    "list of labels (CSV)": Reader(
        lambda: [b"file,label,group\na.png,0,x\nb.png,1,y\n", b"path,class\na.png,1\n"],
        _read_csv,
        SAMPLE,
    ),
    "stored perturbed images (NPY)": Reader(_stored, _read_stored, (*SAMPLE, SettingsError)),
}
LONGEST_MESSAGE = 4000


def try_reading(reader: Reader, content: bytes) -> str:
    """How ``content`` is read: "read", or the kind of error; anything else is raised."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with no_code():
                reader.read(content, Path(folder))
        except reader.errors as error:
            assert 10 < len(str(error)) < LONGEST_MESSAGE, str(error)[:200]
            return type(error).__name__
        finally:
            with suppress(OSError):
                (Path(folder) / "net.yaml").chmod(0o600)
    return "read"


def damaged(content: bytes, changes: list[tuple[int, int, int, int]]) -> bytes:
    """``content`` with some ``changes``: what, where and how far (of 2^16), and of which piece."""
    for what, where, length, piece in changes:
        at = where * (len(content) + 1) >> 16
        end = min(len(content), at + 1 + (length * min(64, len(content)) >> 16))
        new = PIECES[piece % len(PIECES)]
        if what == 0:  # other bytes
            content = content[:at] + new + content[at + len(new) :]
        elif what == 1:
            content = content[:at] + new + content[at:]
        elif what == 2:
            content = content[:at] + content[end:]
        elif what == 3:  # a bit
            flipped = bytes([content[at] ^ (1 << piece % 8)]) if at < len(content) else b""
            content = content[:at] + flipped + content[at + 1 :]
        elif what == 4:  # the same once more
            content = content[:end] + content[at:end] + content[end:]
        else:
            content = content[:at]
    return content

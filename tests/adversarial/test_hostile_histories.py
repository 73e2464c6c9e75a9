"""Histories and checkpoints that somebody made to hang, to crash, or to exhaust their reader."""

from __future__ import annotations

import io
import json
import os
import pickle
import sqlite3
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile import ENDLESS, sql, tamed
from profiles import make_profile

from pytest_iaside import BaselineError
from pytest_iaside.errors import ModelError
from pytest_iaside.track.checkpoints import find_checkpoints, read_checkpoint
from pytest_iaside.track.history import APPLICATION, TABLE, History, Point, pack


def point(step: int, **changes: Any) -> Point:
    given = {"name": f"epoch{step}.pt", "profile": make_profile(images=4, seed=step), **changes}
    return Point(step=step, **given)


@pytest.fixture
def history(tmp_path: Path) -> History:
    found = History(tmp_path / "history.sqlite")
    for step in (1, 2):
        found.add(point(step))
    return found


def refused(path: Path, *words: str) -> None:
    for use in (
        History(path).points,
        lambda: History(path).find("k") or History(path).points("run"),
    ):
        with pytest.raises(BaselineError) as raised:
            tamed(use)
        message = str(raised.value)
        assert path.name in message
        assert (
            "restore" in message or "choose another path" in message or "add that point" in message
        )
        assert len(message) < 1500
        for word in words:
            assert word in message


def instead(view: str) -> Callable[[Path], None]:
    """The table moved away, and ``view`` in its place."""
    return sql("ALTER TABLE points RENAME TO real_points", view)


def schema(statement: str) -> Callable[[Path], None]:
    """The schema's own words replaced."""
    return sql(
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = '"
        + statement.replace("'", "''")
        + "' WHERE name = 'points'",
    )


def npz(**arrays: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return packed.getvalue()


def bomb() -> bytes:
    packed = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (90_000_000,)}
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("values.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(720):
            file.write(bytes(10**6))
    return packed.getvalue()


def facts(**changes: Any) -> str:
    return json.dumps(json.loads(pack(make_profile(images=4))[0]) | changes)


def row(column: str, value: Any) -> Callable[[Path], None]:
    return sql(f"UPDATE points SET {column} = ? WHERE step = 2", values=(value,))


def arrays(**changes: np.ndarray) -> bytes:
    with np.load(io.BytesIO(pack(make_profile(images=4))[1])) as packed:
        return npz(**(dict(packed) | changes))


HOSTILE: dict[str, Callable[[Path], None]] = {
    "a view that never ends": instead(f"CREATE VIEW points AS {ENDLESS} x run FROM n"),
    "a view of all columns that never ends": instead(
        f"CREATE VIEW points AS {ENDLESS} 'run' run, x step, 'n' name, 'k' key, 0 accuracy, "
        "0 loss, '{}' facts, x'' arrays FROM n"
    ),
    "a view of random blobs": instead(
        "CREATE VIEW points AS SELECT 'run' run, 1 step, 'n' name, 'k' key, 0 accuracy, 0 loss, "
        "'{}' facts, randomblob(900000000) arrays"
    ),
    "a trigger": sql(
        "CREATE TRIGGER t AFTER INSERT ON points BEGIN DELETE FROM points; END"
    ),
    "another table": sql("CREATE TABLE more (x)"),
    "another index": sql("CREATE INDEX more ON points (hex(arrays))"),
    "a virtual table": sql("CREATE VIRTUAL TABLE more USING fts5(x)"),
    "a generated column": sql("ALTER TABLE points ADD COLUMN g AS (hex(zeroblob(100000000)))"),
    "a column more": sql("ALTER TABLE points ADD COLUMN g"),
    "a schema that is none": schema("CREATE TABLE points (run"),
    "a schema of another table": schema("CREATE TABLE points (run, step, name)"),
    "a blob of 900 MB": sql("UPDATE points SET arrays = zeroblob(900000000) WHERE step = 2"),
    "text of 100 MB": sql("UPDATE points SET facts = hex(zeroblob(50000000)) WHERE step = 2"),
    "an archive that is a bomb": row("arrays", bomb()),
    "arrays that are text": row("arrays", "text"),
    "arrays that are a number": row("arrays", 3),
    "arrays that are empty": row("arrays", b""),
    "arrays that are a pickle": row("arrays", pickle.dumps([1])),
    "arrays of objects": row("arrays", arrays(labels=np.array([{}] * 4))),
    "ψ of 1e300": row("arrays", arrays(values=np.full((4, 8), 1e300))),
    "ψ that are none": row("arrays", arrays(values=np.full((4, 8), np.nan))),
    "ψ that do not add up": row("arrays", arrays(values=np.ones((4, 8)))),
    "fewer ψ": row("arrays", arrays(values=np.ones((3, 8)))),
    "an array more": row("arrays", arrays(more=np.ones(3))),
    "facts that are a blob": row("facts", b"{}"),
    "facts that are a number": row("facts", 3),
    "facts that are no JSON": row("facts", "{"),
    "facts that are a list": row("facts", "[]"),
    "facts that are null": row("facts", "null"),
    "100,000 lists in each other": row("facts", "[" * 100_000),
    "a number of 100,000 digits": row("facts", '{"format": ' + "9" * 100_000 + "}"),
    "facts that are not UTF-8": sql(
        "UPDATE points SET facts = CAST(x'7bff' AS TEXT) WHERE step = 2"
    ),
    "no model": row("facts", facts(model=None)),
    "a model that is a list": row("facts", facts(model=["net"])),
    "bands that are infinite": row("facts", facts(settings={"bands": float("inf")})),
    "images as large as a city": row(
        "facts", facts(reference=dict(digest="f" * 32, images=4, channels=3, height=10**9,
                                      width=10**9, labels="dataset"))
    ),
    "a format that is a list": row("facts", facts(format=[])),
    "a run that is a number": sql("UPDATE points SET run = CAST(x'' AS TEXT) WHERE step = 2"),
    "a name that is empty": row("name", ""),
    "a step that is text": row("step", "later"),
    "a step that is a fraction": row("step", 1.5),
    "an accuracy that is text": row("accuracy", "high"),
    "a loss that is a blob": row("loss", b"\x00"),
}  # fmt: skip


@pytest.mark.parametrize("trick", list(HOSTILE))
def test_a_history_that_is_none(history: History, trick: str) -> None:
    if trick == "a blob of 900 MB" and sys.version_info < (3, 11):
        pytest.skip("Python 3.10's sqlite3 cannot limit the size of a value (docs/floors.md)")
    HOSTILE[trick](history.path)
    if trick == "a run that is a number":
        with pytest.raises(BaselineError, match="run=''"):
            tamed(history.points)
    else:
        refused(history.path)


def _sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2**40)


def _other(path: Path, make: Callable[[Path], Any]) -> None:
    path.unlink()
    make(path)


FILES: dict[str, Callable[[Path], None]] = {
    "a pipe": lambda path: _other(path, os.mkfifo),
    "a device that never ends": lambda path: _other(path, lambda p: p.symlink_to("/dev/zero")),
    "a folder": lambda path: _other(path, Path.mkdir),
    "a terabyte of nothing": _sparse,
    "damaged in the middle": lambda path: (
        path.write_bytes(path.read_bytes()[:4000] + b"\xff" * 3000 + path.read_bytes()[7000:])
        and None
    ),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]) and None,
    "a header alone": lambda path: path.write_bytes(path.read_bytes()[:100]) and None,
}


@pytest.mark.parametrize("kind", list(FILES))
def test_something_else_than_a_history(history: History, kind: str) -> None:
    FILES[kind](history.path)
    refused(history.path)
    with pytest.raises(BaselineError):
        tamed(lambda: history.add(point(3)))


def test_a_trigger_of_the_file_is_never_run(history: History) -> None:
    sql("CREATE TRIGGER t BEFORE INSERT ON points BEGIN DELETE FROM points; END")(history.path)
    with pytest.raises(BaselineError, match="the trigger 't', which no history has"):
        history.add(point(3))
    with closing(sqlite3.connect(history.path)) as database:
        assert database.execute("SELECT COUNT(*) FROM points").fetchone() == (2,)


def test_the_table_is_told_by_its_words_alone(tmp_path: Path) -> None:
    """One line or several: it is the same table."""
    path = tmp_path / "h.sqlite"
    sql(" ".join(TABLE.split()), f"PRAGMA application_id = {APPLICATION}")(path)
    History(path).add(point(1))
    assert len(History(path).points()) == 1


def test_a_name_that_is_not_utf_8(history: History) -> None:
    name = os.fsdecode(b"epoch\xff.pt")
    history.add(point(7, name=name, run=name))
    assert [each.step for each in history.points(name)] == [7]
    found = history.at(name, 7)
    assert found is not None and found.name == "epoch\\udcff.pt"


STATE = {"weight": torch.zeros(2)}


def zipped(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _bomb(path: Path) -> None:
    """A tensor of 800 MB of zeros, packed into one."""
    torch.save({"weight": torch.zeros(2)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (data,) = [name for name in members if name.endswith("data/0")]
    zipped(path, members | {data: bytes(800 * 10**6)})


def saved(**content: Any) -> Callable[[Path], None]:
    return lambda path: torch.save({**content, "state_dict": STATE}, path)


def _deep() -> Any:
    deep: Any = 1.0
    for _ in range(400):
        deep = {"metrics": deep}
    return deep


CHECKPOINTS: dict[str, Callable[[Path], None]] = {
    "an epoch of 400 digits": saved(epoch=10**400),
    "an epoch of 30,000 digits": saved(epoch=10**30_000),
    "an epoch that is infinite": saved(epoch=float("inf")),
    "an epoch that is none": saved(epoch=float("nan")),
    "an epoch without a value": saved(epoch=torch.zeros(1, device="meta")),
    "an epoch of many values": saved(epoch=torch.zeros(3)),
    "a sparse epoch": saved(epoch=torch.zeros(1).to_sparse()),
    "an epoch that is text": saved(epoch="last"),
    "metrics in each other": saved(metrics=_deep()),
    "metrics that are a list": saved(metrics=[1, 2]),
    "numbers of 400 digits everywhere": saved(meta={"loss": 10**400, "acc": -(10**400)}),
    "a pipe": os.mkfifo,
    "a device that never ends": lambda path: path.symlink_to("/dev/zero"),
    "a bomb": _bomb,
    "a pickle of code": lambda path: path.write_bytes(pickle.dumps(os.getcwd)) and None,
    "an empty file": lambda path: path.touch(),
    "text": lambda path: path.write_text("weights" * 100) and None,
    "a tensor alone": lambda path: torch.save(torch.zeros(2), path),
    "an archive that is none": lambda path: zipped(path, {"x": b"1"}),
    "a pickle that is cut": lambda path: path.write_bytes(b"\x80\x02}q\x00(X") and None,
    "a pickle of many lists": lambda path: (
        path.write_bytes(b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".") and None
    ),
}


@pytest.mark.parametrize("checkpoint", list(CHECKPOINTS))
def test_one_checkpoint_does_not_end_the_others(tmp_path: Path, checkpoint: str) -> None:
    CHECKPOINTS[checkpoint](tmp_path / "epoch2.pt")
    for epoch in (1, 3):
        torch.save({"epoch": epoch, "state_dict": STATE}, tmp_path / f"epoch{epoch}.pt")

    def look() -> list[tuple[str, int, str]]:
        found = find_checkpoints([f"{tmp_path}/*.pt"])
        return [(each.path.name, each.step, each.unreadable) for each in found]

    found = tamed(look)
    assert [name for name, *_ in found] == ["epoch1.pt", "epoch2.pt", "epoch3.pt"]
    # The others keep their epochs; this one has its place, or the epoch of its name.
    assert [(step, why) for _, step, why in found][::2] == [(1, ""), (3, "")]
    _, _, why = found[1]
    if why:
        assert "epoch2.pt" in why and len(why) < 600

        def read() -> None:
            read_checkpoint(tmp_path / "epoch2.pt")

        with pytest.raises(ModelError, match="epoch2"):
            tamed(read)


def test_a_checkpoint_of_safetensors_with_odd_numbers(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    for epoch, text in enumerate(("1", "9" * 400, "nan", "1e999", "last")):
        safetensors.save_file(STATE, tmp_path / f"e{epoch}.safetensors", metadata={"epoch": text})
    found = tamed(lambda: [each.unreadable for each in find_checkpoints([f"{tmp_path}/*"])])
    assert found == [""] * 5


def test_profiles_that_are_kept_are_those_that_were_added(history: History) -> None:
    profile = replace(make_profile(images=4), seconds=2.0)
    history.add(point(9, profile=profile))
    np.testing.assert_array_equal(history.points()[-1].profile.values, profile.values)

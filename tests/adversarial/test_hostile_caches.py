"""Caches and remembered choices that somebody damaged: never an error, never a wrong number."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile import ENDLESS, sql, tamed
from torch import nn

from pytest_iaside import ReferenceSample, measure
from pytest_iaside.models.backends import probe
from pytest_iaside.models.backends.base import Setup
from pytest_iaside.store import machine
from pytest_iaside.store.cache import Entry, Found, ResultCache

ENTRIES = [Entry("a", "0"), Entry("b", "0"), Entry("c", "0")]


def kept(seed: int) -> Found:
    return Found({"psi": np.random.default_rng(seed).normal(size=9)}, {"passes": seed})


@pytest.fixture
def cache(tmp_path: Path) -> ResultCache:
    found = ResultCache(tmp_path)
    found.put("game", "title", ENTRIES, ["0"] * 3, [kept(i) for i in range(3)])
    return found


def row(**columns: Any) -> Callable[[Path], None]:
    """Row b with other values, and a checksum that fits them where it can."""
    names = ", ".join(f"{name} = ?" for name in columns)
    return sql(f"UPDATE found SET {names} WHERE image = 'b'", values=tuple(columns.values()))


def facts(text: str, content: bytes = b"") -> Callable[[Path], None]:
    return row(facts=text, content=content, checksum=zlib.crc32(text.encode() + content))


def instead(table: str, view: str) -> Callable[[Path], None]:
    return sql(f"ALTER TABLE {table} RENAME TO other_{table}", f"CREATE VIEW {table} AS {view}")


def _other(path: Path, make: Callable[[Path], Any]) -> None:
    path.unlink()
    make(path)


ROWS: dict[str, Callable[[Path], None]] = {
    "facts that are nothing": row(facts=None),
    "facts that are a blob": row(facts=b"\xff"),
    "facts that are a number": row(facts=7),
    "facts that are not UTF-8": sql("UPDATE found SET facts = CAST(x'ff' AS TEXT) WHERE image='b'"),
    "content that is nothing": row(content=None),
    "content that is text": row(content="numbers"),
    "content that is a number": row(content=3.5),
    "a checksum that is text": row(checksum="none"),
    "facts that are no JSON": facts("{"),
    "facts that are a list": facts("[1]"),
    "facts without columns": facts('{"values": {}}'),
    "facts 90,000 deep": facts("[" * 90_000),
    "columns that are text": facts('{"columns": {"psi": "9"}, "values": {}}', bytes(72)),
    "columns that are a list": facts('{"columns": [9], "values": {}}', bytes(72)),
    "columns below zero": facts('{"columns": {"psi": -1, "x": 10}, "values": {}}', bytes(72)),
    "more columns than numbers": facts('{"columns": {"psi": 900}, "values": {}}', bytes(72)),
    "columns as many as stars": facts('{"columns": {"psi": 1e300}, "values": {}}', bytes(72)),
    "half a number": facts('{"columns": {"psi": 1}, "values": {}}', bytes(7)),
    "values that are a list": facts('{"columns": {"psi": 9}, "values": [1]}', bytes(72)),
    "a blob of 900 MB": sql("UPDATE found SET content = zeroblob(900000000) WHERE image = 'b'"),
}


@pytest.mark.parametrize("trick", list(ROWS))
def test_a_row_of_other_types_is_measured_again(cache: ResultCache, trick: str) -> None:
    ROWS[trick](cache.path)
    found = tamed(lambda: ResultCache(cache.path.parent).get("game", ENTRIES))
    for image in (0, 2):
        if found[image] is not None:
            np.testing.assert_array_equal(found[image].arrays["psi"], kept(image).arrays["psi"])
    assert found[1] is None
    cache.put("game", "title", ENTRIES[1:2], ["0"], [kept(1)])
    again = cache.get("game", ENTRIES[1:2])[0]
    assert again is not None and again.values == {"passes": 1}


FILES: dict[str, Callable[[Path], None]] = {
    "a view that never ends": instead(
        "found",
        f"{ENDLESS} 'game' game, 'a' image, x label, '0' predicted, 0 used, 1 size, '' facts, "
        "0 checksum, x'' content FROM n",
    ),
    "a view of titles that never ends": instead("games", f"{ENDLESS} 'game' game, x title FROM n"),
    "a trigger that never ends": sql(
        "CREATE TRIGGER t AFTER UPDATE ON found BEGIN INSERT INTO games SELECT x, x FROM "
        "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n); END"
    ),
    "a trigger that forges": sql(
        "CREATE TRIGGER t AFTER INSERT ON found BEGIN UPDATE found SET content = x''; END"
    ),
    "another table": sql("CREATE TABLE more (x)"),
    "tables of other columns": sql("DROP TABLE found", "CREATE TABLE found (game, image)"),
    "an index of blobs": sql("CREATE INDEX more ON found (hex(content))"),
    "a pipe": lambda path: _other(path, os.mkfifo),
    "a device that never ends": lambda path: _other(path, lambda p: p.symlink_to("/dev/zero")),
    "a folder": lambda path: _other(path, Path.mkdir),
    "text": lambda path: path.write_text("no database " * 500) and None,
    "an empty file": lambda path: path.write_bytes(b"") and None,
    "damaged in the middle": lambda path: path.write_bytes(
        path.read_bytes()[:3000] + b"\xff" * 9000 + path.read_bytes()[12000:]
    )
    and None,
    "another program's": lambda path: _other(path, sql("CREATE TABLE t (x)")),
}  # fmt: skip


@pytest.mark.parametrize("trick", list(FILES))
def test_a_file_that_is_no_cache(cache: ResultCache, trick: str) -> None:
    FILES[trick](cache.path)
    found = tamed(lambda: ResultCache(cache.path.parent).get("game", ENTRIES))
    for image, one in enumerate(found):
        assert one is None or np.array_equal(one.arrays["psi"], kept(image).arrays["psi"])

    def put() -> Any:
        cache.put("game", "title", ENTRIES, ["0"] * 3, [kept(i) for i in range(3)])
        cache.contents()
        return cache.broken

    for _ in range(2):
        broken = tamed(put)
    # Either it began anew, or it says why it cannot.
    again = tamed(lambda: cache.get("game", ENTRIES))
    assert all(one is None for one in again) == bool(broken)
    assert len(broken) < 200


def test_titles_of_other_types_are_not_listed(cache: ResultCache) -> None:
    sql("UPDATE games SET title = x'00ff'")(cache.path)
    assert tamed(lambda: cache.contents()) == []


REMEMBERED: dict[str, str | bytes] = {
    "no JSON": "{",
    "a list": "[]",
    "null": "null",
    "a number": "3",
    "90,000 lists in each other": "[" * 90_000,
    "not UTF-8": b"\xff\xfe",
    "2 MB": " " * 2_000_000,
    "no setups": '{"note": ""}',
    "setups that are empty": '{"setups": [], "note": ""}',
    "setups that are a number": '{"setups": 3, "note": ""}',
    "a setup of other fields": '{"setups": [{"speed": 3}], "note": ""}',
    "a note that is a list": json.dumps(
        {"setups": [{"backend": "eager", "batch_size": 8, "channels_last": True}], "note": [1]}
    ),
    **{
        f"{name} of {value!r}": json.dumps(
            {
                "setups": [
                    {"backend": "eager", "batch_size": 8, "channels_last": True, name: value}
                ],
                "note": "",
            }
        )
        for name, value in (
            ("backend", "nothing"),
            ("backend", 3),
            ("backend", "compile"),
            ("batch_size", "many"),
            ("batch_size", 0),
            ("batch_size", -4),
            ("batch_size", 2.5),
            ("batch_size", True),
            ("batch_size", 10**12),
            ("channels_last", "yes"),
        )
    },
}


@pytest.mark.parametrize("content", list(REMEMBERED))
def test_a_choice_that_this_version_did_not_remember(
    cache_folder: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = REMEMBERED[content]
    monkeypatch.setattr(probe, "WORTHWHILE", 0.0)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    inputs = torch.rand(4, 3, 4, 4)

    def choice() -> Setup:
        workshop = probe.Workshop(network, torch.device("cpu"), "net", "float32", inputs)
        key = probe._key(workshop, inputs, ["eager"], "auto")
        file = cache_folder / "backends" / f"{key}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(given if isinstance(given, bytes) else given.encode())
        return probe.choose(workshop, "eager", "auto", 10**6).setup

    found = tamed(choice, megabytes=2000)
    assert found == Setup("eager", 1024, True)


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/dev/zero"), Path.mkdir])
def test_nothing_is_remembered_where_there_is_no_file(
    cache_folder: Path, make: Callable[[Path], Any]
) -> None:
    (cache_folder / "backends").mkdir()
    make(cache_folder / "backends" / "key.json")
    assert tamed(lambda: machine.recall("key")) is None


def test_what_killed_writers_left_goes(cache_folder: Path) -> None:
    assert machine.remember("key", 1) == 1
    left = [cache_folder / "backends" / f".iaside-{i}.tmp" for i in range(2)]
    for each in left:
        each.touch()
    os.utime(left[0], (0, 0))
    assert machine.remember("other", 2) == 2
    assert [each.exists() for each in left] == [False, True]  # A new one may be in use.


def test_a_measurement_goes_on_whatever_the_cache_is(cache_folder: Path) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    sample = ReferenceSample(torch.rand(6, 3, 8, 8), [0, 1, 2, 3, 4, 0])
    expected = measure(network, sample, bands=3, cache=True)
    path = cache_folder / "results.sqlite"
    for change in ("facts = NULL", "content = 'text'", "facts = '[]', checksum = 0"):
        sql(f"UPDATE found SET {change}")(path)
        found = measure(network, sample, bands=3, cache=True)
        assert found.passes_from_cache == 0
        np.testing.assert_allclose(found.values, expected.values, atol=1e-6)

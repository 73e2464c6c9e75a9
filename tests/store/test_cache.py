"""The cache: what comes back is what was kept, whoever else uses it, whatever happened to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pytest_iaside.errors import SettingsError
from pytest_iaside.store.cache import Entry, Found, ResultCache, game_key

CLASSES = 6


NAMES = {"image_psi": 3, "by_size": 4, "log_likelihood": 8, "log_probabilities": CLASSES}


def rows(seed: int, count: int = 1, *, predicted: int | None = None) -> list[Found]:
    """What was found for so many images."""
    generator = np.random.default_rng(seed)
    columns = {name: generator.normal(size=(count, width)) for name, width in NAMES.items()}
    if predicted is not None:
        columns["log_probabilities"][:, predicted] = 9.0
    values = {"forward_passes": 9, "environment": {"device": "cpu", "backend": "eager"}}
    return [Found({name: c[i] for name, c in columns.items()}, values) for i in range(count)]


def put(
    cache: ResultCache, game: str, title: str, entries: list[Entry], found: list[Found]
) -> None:
    predicted = [str(int(one.arrays["log_probabilities"].argmax())) for one in found]
    cache.put(game, title, entries, predicted, found)


def same(found: Found | None, kept: Found) -> bool:
    return (
        found is not None
        and list(found.arrays) == list(NAMES)
        and all(np.array_equal(found.arrays[name], kept.arrays[name]) for name in NAMES)
        and found.values == kept.values
    )


def test_what_comes_back_is_what_was_kept(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "new")
    kept = rows(0, 2)
    entries = [Entry("a", "3"), Entry("b", "0")]
    assert cache.get("game", entries) == [None, None]
    assert not cache.path.exists()  # Looking makes nothing.
    put(cache, "game", "a model", entries, kept)
    found = ResultCache(tmp_path / "new").get("game", [*entries, Entry("c", "0")])
    assert found[2] is None
    assert all(same(one, other) for one, other in zip(found, kept, strict=False))
    assert cache.broken == ""


def test_another_game_image_or_label_is_another_row(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    put(cache, "game", "", [Entry("a", "3")], rows(0))
    others = [Entry("b", "3"), Entry("a", "4"), Entry("a", "soft 3")]
    assert cache.get("game", others) == [None] * 3
    assert cache.get("another", [Entry("a", "3")]) == [None]


def test_a_prediction_is_a_label_and_back(tmp_path: Path) -> None:
    """A baseline was measured with the labels it predicts; its own gate names them."""
    cache = ResultCache(tmp_path)
    (kept,) = found = rows(0, predicted=4)
    put(cache, "game", "", [Entry("a", None)], found)
    assert same(cache.get("game", [Entry("a", "4")])[0], kept)
    assert same(cache.get("game", [Entry("a", None)])[0], kept)
    assert cache.get("game", [Entry("a", "3")]) == [None]
    # Held against another label than the predicted one, it says nothing of the prediction.
    put(cache, "game", "", [Entry("b", "3")], rows(1, predicted=4))
    assert cache.get("game", [Entry("b", None)]) == [None]


def test_a_key_depends_on_every_fact() -> None:
    keys = {game_key(facts) for facts in ({}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"})}
    assert len(keys) == 5
    assert game_key({"a": 1, "b": 2}) == game_key({"b": 2, "a": 1})


def test_it_stays_within_its_limit_and_forgets_what_was_used_least(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    put(cache, "first", "first", [Entry("0", "0")], rows(0))
    (contents,) = cache.contents()
    small = ResultCache(tmp_path, limit=10 * contents.size)
    put(small, "game", "game", [Entry(str(i), "0") for i in range(1, 10)], rows(1, 9))
    assert sum(c.images for c in small.contents()) == 10
    assert small.get("first", [Entry("0", "0")]) != [None]  # Used again, it is the latest.
    put(small, "game", "game", [Entry("10", "0")], rows(2))
    kept = {c.title: c.images for c in small.contents()}
    # A tenth goes at once, and what did not fit.
    assert kept == {"first": 1, "game": 8}
    assert small.get("game", [Entry("1", "0")]) == [None]
    assert sum(c.size for c in small.contents()) <= 10 * contents.size


def test_the_limit_is_set_in_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ResultCache(tmp_path).limit == 500e6
    monkeypatch.setenv("IASIDE_CACHE_MB", "1.5")
    assert ResultCache(tmp_path).limit == 1.5e6
    monkeypatch.setenv("IASIDE_CACHE_MB", "much")
    with pytest.raises(SettingsError, match="IASIDE_CACHE_MB is 'much'; expected the megabytes"):
        ResultCache(tmp_path)


@pytest.mark.parametrize("damage", ["text", "header", "truncated"])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, damage: str) -> None:
    cache = ResultCache(tmp_path)
    entries = [Entry(str(i), "0") for i in range(50)]
    put(cache, "game", "", entries, rows(0, 50))
    content = cache.path.read_bytes()
    cache.path.write_bytes(
        {
            "text": b"this was never a database, whatever it is called " * 40,
            "header": b"\x00" * 100 + content[100:],
            "truncated": content[: len(content) // 2],
        }[damage]
    )
    assert ResultCache(tmp_path).get("game", entries) == [None] * 50
    put(cache, "game", "", entries[:1], rows(1))
    again = ResultCache(tmp_path)
    assert same(again.get("game", entries[:1])[0], rows(1)[0])
    assert again.broken == ""


def test_a_row_that_was_altered_is_not_taken(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    entries = [Entry("a", "0"), Entry("b", "0")]
    put(cache, "game", "", entries, rows(0, 2))
    with sqlite3.connect(cache.path) as database:
        database.execute(
            "UPDATE found SET content = CAST(zeroblob(LENGTH(content)) AS BLOB) WHERE image = 'a'"
        )
    database.close()
    found = cache.get("game", entries)
    assert found[0] is None
    assert found[1] is not None
    assert [c.images for c in cache.contents()] == [1]


def test_where_nothing_can_be_kept_the_measurement_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ResultCache(tmp_path / "file")
    put(cache, "game", "", [Entry("a", "0")], rows(0))
    assert cache.broken
    assert cache.get("game", [Entry("a", "0")]) == [None]
    assert cache.contents() == []
    assert (tmp_path / "file").read_text() == "in the way"


def test_clear_forgets_all(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    cache.clear()
    put(cache, "game", "", [Entry("a", "0")], rows(0))
    cache.clear()
    assert not cache.path.exists()
    assert cache.contents() == []


def _write(folder: str, writer: int, count: int) -> None:
    cache = ResultCache(Path(folder))
    for i in range(count):
        put(cache, "game", "", [Entry(f"{writer}-{i}", "0"), Entry("same", "0")], rows(i, 2))
    assert cache.broken == ""


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(str(tmp_path), w, 25)) for w in range(3)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(300)
    assert [process.exitcode for process in writers] == [0] * 3
    cache = ResultCache(tmp_path)
    entries = [Entry(f"{w}-{i}", "0") for w in range(3) for i in range(25)]
    for entry, found in zip(entries, cache.get("game", entries), strict=True):
        assert same(found, rows(int(entry.image.partition("-")[2]), 2)[0])
    assert [c.images for c in cache.contents()] == [76]


# Writes one row after another, and says so of each once it is kept.
WRITER = """
import sys
from pathlib import Path
from pytest_iaside.store.cache import Entry, ResultCache
sys.path.insert(0, sys.argv[2])
from test_cache import put, rows
cache = ResultCache(Path(sys.argv[1]))
for i in range(10**6):
    put(cache, "game", "", [Entry(str(i), "0")], rows(i))
    print(i, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a signal that nobody can catch")
def test_a_writer_that_is_killed_leaves_what_it_had_kept(tmp_path: Path) -> None:
    kept = 0
    for delay in (0.0, 0.003, 0.011, 0.02):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        kept = max(kept, 5, *(int(line) + 1 for line in process.communicate()[0].split()))
    cache = ResultCache(tmp_path)
    found = cache.get("game", [Entry(str(i), "0") for i in range(kept)])
    assert all(same(each, rows(i)[0]) for i, each in enumerate(found))
    assert cache.broken == ""

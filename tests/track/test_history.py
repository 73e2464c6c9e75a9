"""The history: what is added comes back, whoever else adds, and whatever lies at its path."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import make_profile

from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.track.history import History, Point, key_of, pack, unpack

DATA = Path(__file__).parents[1] / "data" / "version_0_1_0"
SPAWN = multiprocessing.get_context("spawn")


def point(step: int = 0, name: str = "", **changes: Any) -> Point:
    profile = changes.pop("profile", make_profile(images=4, seed=abs(step)))
    return Point(step=step, name=name or f"epoch{step}.pt", profile=profile, **changes)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "runs" / "history.sqlite")


def test_what_is_added_comes_back(history: History) -> None:
    profile = make_profile(
        images=5,
        environment={"torch": "2"},
        log_likelihood=np.zeros((5, 256)),
        passes_from_cache=3,
        seconds=1.5,
        names=tuple("äb\n'測"),
    )
    history.add(Point(run="a", step=7, name="x.pt", profile=profile, accuracy=0.5, loss=0.25))
    (found,) = history.points()
    assert (found.run, found.step, found.name) == ("a", 7, "x.pt")
    assert (found.accuracy, found.loss) == (0.5, 0.25)
    for what in ("image_psi", "by_size", "information", "labels"):
        np.testing.assert_array_equal(getattr(found.profile, what), getattr(profile, what))
    plain = ("digests", "names", "rules", "reference", "model", "environment", "forward_passes")
    for what in (*plain, "passes_from_cache", "seconds"):
        assert getattr(found.profile, what) == getattr(profile, what)
    # Too large to be kept for every checkpoint, as for a baseline.
    assert found.profile.log_likelihood is None


def test_points_come_by_step_and_runs_by_name(history: History) -> None:
    for run, step in (("b", 10), ("a", 2), ("b", -1), ("b", 9)):
        history.add(point(step, run=run))
    assert [each.step for each in history.points("b")] == [-1, 9, 10]
    assert [(each.run, each.step) for each in history.points()] == [
        ("a", 2),
        ("b", -1),
        ("b", 9),
        ("b", 10),
    ]
    assert history.runs() == ["a", "b"]
    assert history.points("c") == []
    assert repr(history) == f"History('{history.path}')"


def test_the_same_step_or_the_same_name_replaces(history: History) -> None:
    for step, name, run in (
        (1, "a.pt", "run"),
        (2, "b.pt", "run"),
        (1, "a.pt", "other"),
        (1, "c.pt", "run"),  # takes a.pt's step
        (5, "b.pt", "run"),  # b.pt moved on
    ):
        history.add(point(step, name, run=run))
    assert [(each.step, each.name) for each in history.points("run")] == [(1, "c.pt"), (5, "b.pt")]
    assert [(each.step, each.name) for each in history.points("other")] == [(1, "a.pt")]


def test_points_are_found_by_their_key(history: History) -> None:
    history.add(point(1), key="k")
    history.add(point(2), key="k")
    history.add(point(3))
    assert [each.step for each in history.find("k")] == [1, 2]
    assert history.find("other") == []
    found = history.at("run", 3)
    assert found is not None
    assert found.name == "epoch3.pt"
    assert history.at("run", 4) is None


def test_nothing_is_made_by_looking(history: History) -> None:
    assert history.points() == history.runs() == history.find("k") == []
    assert history.at("run", 0) is None
    assert not history.path.parent.exists()


def test_a_key_is_of_the_weights_the_rules_the_sample_and_its_images() -> None:
    profile = make_profile(images=3)
    reference = profile.reference
    same = ("weights", profile.rules, reference, profile.digests)
    others = [
        ("other", profile.rules, reference, profile.digests),
        ("weights", Rules(bands=8, seed=1), reference, profile.digests),
        ("weights", profile.rules, replace(reference, digest="0" * 32), profile.digests),
        ("weights", profile.rules, replace(reference, labels="predicted"), profile.digests),
        ("weights", profile.rules, reference, profile.digests[:2]),
    ]
    keys = {key_of(*same), *(key_of(*other) for other in others)}
    assert len(keys) == 6
    assert key_of(*same) in keys
    assert all(len(key) == 32 for key in keys)


def test_numbers_that_do_not_exist_are_unknown(history: History) -> None:
    history.add(point(0, accuracy=np.float32(0.5), loss=float("nan")))
    history.add(point(1, accuracy=None, loss=float("inf")))
    assert [(p.accuracy, p.loss) for p in history.points()] == [(0.5, None), (None, None)]


@given(step=st.integers(-(2**63), 2**63 - 1), name=st.text(min_size=1).filter(str.isprintable))
def test_any_step_and_any_name(
    tmp_path_factory: pytest.TempPathFactory, step: int, name: str
) -> None:
    history = History(tmp_path_factory.mktemp("h") / "h.sqlite")
    history.add(point(step, name, profile=make_profile(images=2)))
    (found,) = history.points()
    assert (found.step, found.name) == (step, name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 1.5}, r"step=1\.5 cannot be used; expected a whole number"),
        ({"step": True}, "step=True cannot be used"),
        ({"step": 2**63}, "expected a whole number of 64 bits"),
        ({"name": None}, "name=None cannot be used; expected text"),
        ({"run": ""}, "run='' cannot be used; expected text"),
        ({"loss": "low"}, "loss='low' cannot be used; expected a number or None"),
    ],
)
def test_a_point_that_is_none(changes: dict[str, Any], message: str) -> None:
    arguments = {"step": 0, "name": "a.pt", "profile": make_profile(images=2), **changes}
    with pytest.raises(SettingsError, match=message):
        Point(**arguments)


class TestWhatIsNoHistory:
    def refused(self, path: Path, message: str) -> None:
        before = path.read_bytes()
        for use in (
            lambda: History(path).add(point()),
            lambda: History(path).points(),
            lambda: History(path).runs(),
        ):
            with pytest.raises(BaselineError, match=message):
                use()
        assert path.read_bytes() == before

    def test_text(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("nothing to see here, and rather more than a header's worth of it " * 9)
        self.refused(path, "is no history, or a damaged one.*was not touched")

    def test_another_database(self, tmp_path: Path) -> None:
        path = tmp_path / "other.sqlite"
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE points (x)")
        database.close()
        self.refused(path, "another program's database, expected a history")

    def test_a_newer_version(self, history: History) -> None:
        history.add(point())
        with sqlite3.connect(history.path) as database:
            database.execute("PRAGMA user_version = 3")
        database.close()
        message = "is a history of version 3, this pytest-iaside reads those up to 2; update"
        self.refused(history.path, message)

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BaselineError, match="cannot use the history"):
            History(tmp_path).add(point())
        (tmp_path / "file").touch()
        with pytest.raises(BaselineError, match=r"cannot use the history.*choose another path"):
            History(tmp_path / "file" / "h.sqlite").add(point())

    def test_an_empty_file_becomes_one(self, tmp_path: Path) -> None:
        path = tmp_path / "h.sqlite"
        path.touch()
        assert History(path).points() == []
        History(path).add(point(3))
        assert [each.step for each in History(path).points()] == [3]


@pytest.mark.parametrize("damage", ["facts = '{'", "arrays = X'00'", "facts = '{}'"])
def test_a_damaged_point_is_named(history: History, damage: str) -> None:
    history.add(point(1))
    history.add(point(2))
    with sqlite3.connect(history.path) as database:
        database.execute(f"UPDATE points SET {damage} WHERE step = 2")
    database.close()
    with pytest.raises(BaselineError, match=r"step 2 of run 'run' \(epoch2\.pt\) is damaged"):
        history.points()
    history.add(point(2))
    assert [each.step for each in history.points()] == [1, 2]


def user_version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        return int(version)


def test_a_history_of_version_1_is_read_and_becomes_one_of_version_2(tmp_path: Path) -> None:
    """0.1.0 reads what it can, and refuses the rows of today with "update"."""
    path = tmp_path / "h.sqlite"
    shutil.copy(DATA / "history.sqlite", path)
    assert user_version(path) == 1
    before = [(each.run, each.step) for each in History(path).points()]
    assert before
    assert user_version(path) == 1  # Reading changes nothing.
    History(path).add(point(10**6, run="today"))
    assert user_version(path) == 2
    after = [(each.run, each.step) for each in History(path).points()]
    assert sorted(after) == sorted([*before, ("today", 10**6)])


@pytest.mark.parametrize("found", ["iaside-measurement/2", "iaside-profile/1", None])
def test_a_row_of_another_format_is_refused(history: History, found: str | None) -> None:
    history.add(point(1))
    with sqlite3.connect(history.path) as database:
        (facts,) = database.execute("SELECT facts FROM points").fetchone()
        changed = json.dumps({**json.loads(facts), "format": found})
        database.execute("UPDATE points SET facts = ?", (changed,))
    database.close()
    with pytest.raises(BaselineError) as raised:
        history.points()
    assert str(raised.value) == (
        f"{history.path}: step 1 of run 'run' (epoch1.pt) has format {found!r}; expected "
        "'iaside-measurement/1' or, of version 0.1.0, none; install the version of pytest-iaside "
        "that wrote it, or add that point again"
    )


def test_pickled_arrays_are_not_loaded(history: History, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    profile = make_profile(images=2, labels="dataset")
    facts, _ = pack(profile)
    trapped = pack(replace(profile, labels=np.array([Trap(), Trap()], dtype=object)))[1]
    with pytest.raises(BaselineError, match="allow_pickle=False"):
        unpack(facts, trapped)
    assert not (tmp_path / "sprung").exists()


def _add_some(path: Path, first: int) -> None:
    for step in range(first, first + 10):
        History(path).add(point(step, profile=make_profile(images=2)))


def test_several_processes_may_add_at_once(history: History) -> None:
    workers = [SPAWN.Process(target=_add_some, args=(history.path, first)) for first in (0, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert [each.step for each in history.points()] == list(range(20))


DIES_ADDING = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
database.execute("PRAGMA cache_size = 1")  # so that pages reach the file before the commit
database.execute("UPDATE points SET name = 'new.pt', arrays = zeroblob(3000000)")
os._exit(9)
"""


def test_who_is_killed_while_adding_leaves_what_was_there(history: History) -> None:
    history.add(point(1, "old.pt"))
    killed = subprocess.run([sys.executable, "-c", DIES_ADDING, str(history.path)])
    assert killed.returncode == 9
    (found,) = history.points()
    assert found.name == "old.pt"
    history.add(point(2))
    assert [each.step for each in history.points()] == [1, 2]
    assert [path.name for path in history.path.parent.iterdir()] == ["history.sqlite"]


def test_a_history_reads_where_it_may_not_be_written(history: History) -> None:
    history.add(point(4))
    history.path.chmod(0o444)
    history.path.parent.chmod(0o555)
    try:
        assert [each.step for each in history.points()] == [4]
    finally:
        history.path.parent.chmod(0o755)


def test_one_whose_first_add_was_cut_holds_nothing_yet(tmp_path: Path) -> None:
    """SQLite puts the file back to nothing as it is opened, which is after it was looked at."""
    path = tmp_path / "h.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE points (x)")
        database.execute("DROP TABLE points")
    database.close()
    assert path.stat().st_size > 0
    history = History(path)
    assert (history.points(), history.runs(), history.at("run", 1)) == ([], [], None)

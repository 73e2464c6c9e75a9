"""Several writers of one file, writers that are killed, and what readers find meanwhile."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_iaside.errors import BaselineError, SpectralRobustnessError
from pytest_iaside.report.writing import write_text
from pytest_iaside.store import archive, files
from pytest_iaside.testing.session import REPORT

SPAWN = multiprocessing.get_context("spawn")


def record(number: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return {"which": number}, {"a": np.full(50, float(number))}


def read(path: Path) -> int:
    """Which record stands; its two files are each other's."""
    document, arrays = archive.read(path)
    assert (arrays["a"] == document["which"]).all()
    return int(document["which"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "__iaside__" / "test_it" / "record.yaml"
    archive.write(path, *record(0))
    return path


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks, as some that are shared over a network."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def between(monkeypatch: pytest.MonkeyPatch, step: int, work: Callable[[], None]) -> None:
    """Do ``work`` before the replacement number ``step`` of the next writer, once."""
    replace, steps = os.replace, iter(range(1000))

    def replacing(*names: Any) -> None:
        if next(steps) == step:
            monkeypatch.setattr(os, "replace", replace)
            work()
            monkeypatch.setattr(os, "replace", replacing)
        replace(*names)

    monkeypatch.setattr(os, "replace", replacing)


@pytest.mark.parametrize("second", [0, 2])
@pytest.mark.parametrize("step", range(4))
def test_another_writer_comes_in_between(
    path: Path, step: int, second: int, no_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record that stands in the end is a whole one, also of the same content as the first."""
    between(monkeypatch, step, lambda: archive.write(path, *record(second)))
    archive.write(path, *record(1))
    monkeypatch.undo()
    assert read(path) in (1, second)
    archive.write(path, *record(3))
    assert read(path) == 3
    assert sorted(each.name for each in path.parent.iterdir()) == ["record.npz", "record.yaml"]


@pytest.mark.parametrize("step", range(3))
def test_a_reader_comes_in_between(path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    between(monkeypatch, step, lambda: found.append(read(path)))
    archive.write(path, *record(1))
    assert found == [0 if step < 2 else 1]


@pytest.mark.parametrize("step", range(4))
def test_a_writer_comes_between_the_two_files_of_a_reader(
    path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader looks again where the arrays are not those that it was told of."""
    parsed, count = archive._document, iter(range(1000))

    def slow(path: Path) -> Any:
        found = parsed(path)
        if next(count) <= step and threading.current_thread() is threading.main_thread():
            monkeypatch.setattr(archive, "_document", parsed)
            archive.write(path, *record(step + 1))
            monkeypatch.setattr(archive, "_document", slow)
        return found

    monkeypatch.setattr(archive, "_document", slow)
    assert read(path) == step + 1


def test_neither_hard_links_nor_locks_are_needed(
    path: Path, no_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "symlink", refuse)
    for number in (1, 2):
        archive.write(path, *record(number))
        assert read(path) == number


def test_the_old_arrays_stay_until_the_new_text_is_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, before = path.with_suffix(".npz"), path.with_suffix(".npz").read_bytes()

    def full(draft: Any, target: Any) -> None:
        if Path(target) == path:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(draft, target)

    replace = os.replace
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BaselineError, match=r"No space left.*nothing was overwritten"):
        archive.write(path, *record(1))
    assert store.read_bytes() == before
    assert read(path) == 0


def test_a_writer_that_never_ends_is_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.2)
    with (
        files.locked(path.parent),
        pytest.raises(BaselineError, match=r"another process has been writing.*nothing was over"),
    ):
        archive.write(path, *record(1))
    assert read(path) == 0


def test_what_killed_writers_left_goes_with_the_next(path: Path) -> None:
    for name in (".iaside-00.tmp", ".record.npz.0123456789abcdef", ".record.npz.old"):
        (path.parent / name).touch()
    archive.write(path, *record(1))
    assert sorted(each.name for each in path.parent.iterdir()) == ["record.npz", "record.yaml"]


def test_without_locks_only_what_is_old_goes(path: Path, no_locks: None) -> None:
    new, old = (path.parent / f".record.npz.{digit * 16}" for digit in "01")
    for each in (new, old):
        each.touch()
    os.utime(old, (0, 0))
    archive.write(path, *record(1))
    assert (new.exists(), old.exists()) == (True, False)


def test_git_does_not_see_what_is_hidden(path: Path) -> None:
    root = path.parents[2]
    (path.parent / ".iaside-00.tmp").touch()
    (path.parent / ".record.npz.0123").touch()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    command = ["git", "status", "--porcelain", "-uall"]
    seen = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    assert sorted(line.rpartition("/")[2] for line in seen.splitlines()) == [
        "record.npz",
        "record.yaml",
    ]


def test_folders_that_are_empty_go_with_their_baseline(path: Path) -> None:
    archive.remove(path)
    assert list(path.parents[2].iterdir()) == []


def test_a_record_that_could_not_be_read_is_not_written(path: Path) -> None:
    for document, arrays in (({"text": "x" * 2_000_000}, {}), ({}, {"a": np.zeros(40_000_000)})):
        with pytest.raises(BaselineError, match="nothing was overwritten"):
            archive.write(path, document, arrays)
    assert read(path) == 0


def _write(path: Path, first: int) -> None:
    for number in range(first, first + 25):
        archive.write(path, *record(number))


def test_several_processes_write_and_read_at_once(path: Path) -> None:
    writers = [SPAWN.Process(target=_write, args=(path, 100 * n)) for n in range(3)]
    for writer in writers:
        writer.start()
    looks = 0
    while any(writer.is_alive() for writer in writers):
        read(path)
        looks += 1
    assert [writer.exitcode for writer in writers] == [0] * 3
    assert looks > 10
    assert read(path) in (24, 124, 224)
    assert sorted(each.name for each in path.parent.iterdir()) == ["record.npz", "record.yaml"]


class TestExports:
    def test_one_that_fails_leaves_the_old_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_text("old", tmp_path / "out" / "page.html", "")

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(SpectralRobustnessError, match="No space left on device"):
            write_text("new", path, "choose another")
        assert path.read_text() == "old"
        assert [each.name for each in path.parent.iterdir()] == ["page.html"]

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "real.json").write_text("old")
        (tmp_path / "link.json").symlink_to("real.json")
        write_text("new", tmp_path / "link.json", "")
        assert (tmp_path / "link.json").is_symlink()
        assert (tmp_path / "real.json").read_text() == "new"

    def test_a_pipe_is_written_as_it_is(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        write_text("text", tmp_path / "pipe", "")
        assert os.read(reader, 100) == b"text"
        os.close(reader)
        assert [each.name for each in tmp_path.iterdir()] == ["pipe"]

    def test_a_folder_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(SpectralRobustnessError, match="directory"):
            write_text("text", tmp_path, "")

    def test_a_name_of_255_bytes(self, tmp_path: Path) -> None:
        name = "測" * 83 + ".html"
        assert write_text("text", tmp_path / name, "").read_text() == "text"


EXPORTS = {"--iaside-json": "s.json", "--iaside-markdown": "c.md", "--iaside-report": "r.html"}


@pytest.mark.parametrize("body", ["def test_other(): pass", "", "import nowhere"])
def test_an_earlier_session_s_exports_do_not_pass_for_this_one_s(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    pytester.makepyfile(test_it=body)
    for name in EXPORTS.values():
        (pytester.path / name).write_text("2 gates, none failed")
    options = [f"{option}={name}" for option, name in EXPORTS.items()]
    pytester.runpytest_inprocess("-p", "no:hypothesispytest", "-p", "no:anyio", *options)
    document = json.loads((pytester.path / "s.json").read_text())
    assert document["gates"] == [] and document["counts"] == {}
    assert "no gate ran" in (pytester.path / "c.md").read_text()
    assert "no gate ran" in (pytester.path / "r.html").read_text()


def test_nothing_is_written_where_nothing_was_asked_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_other(): pass")
    pytester.runpytest_inprocess("-p", "no:hypothesispytest", "-p", "no:anyio")
    assert not (pytester.path / REPORT).exists()

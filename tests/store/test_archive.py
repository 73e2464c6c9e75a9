"""Two files as one record: what is read is what was written, whole, or an error."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from pytest_iaside.errors import BaselineError
from pytest_iaside.store import archive

OLD = {"a": np.arange(6.0).reshape(2, 3), "names": np.array(["x", "größe"])}
NEW = {"a": np.ones(4)}


def same(found: dict[str, object], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], expected[name]) for name in expected
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "record.yaml"
    archive.write(path, {"which": "old"}, OLD)
    return path


def test_what_is_written_is_read(path: Path) -> None:
    document, arrays = archive.read(path)
    assert document["which"] == "old"
    assert same(arrays, OLD)
    assert sorted(file.name for file in path.parent.iterdir()) == ["record.npz", "record.yaml"]


def test_the_same_record_makes_the_same_bytes(path: Path) -> None:
    before = [file.read_bytes() for file in sorted(path.parent.iterdir())]
    archive.write(path, {"which": "old"}, OLD)
    assert [file.read_bytes() for file in sorted(path.parent.iterdir())] == before


KILLED = """
import os, sys, numpy
from pathlib import Path
from pytest_iaside.store import archive

done = 0
replace = os.replace
def dying(*arguments):
    global done
    if done == {survived}:
        os._exit(9)
    done += 1
    replace(*arguments)
os.replace = dying
archive.write(Path(sys.argv[1]), {{"which": "new"}}, {{"a": numpy.ones(4)}})
"""


@pytest.mark.parametrize(("survived", "which"), [(0, "old"), (1, "old"), (2, "new"), (3, "new")])
def test_killed_at_any_replacement_one_of_the_two_stands(
    path: Path, survived: int, which: str
) -> None:
    code = KILLED.format(survived=survived)
    process = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert process.returncode == (0 if survived == 3 else 9)
    document, arrays = archive.read(path)
    assert document["which"] == which
    assert same(arrays, OLD if which == "old" else NEW)
    # And the next writing is not in the way of what the killed one left.
    archive.write(path, {"which": "next"}, NEW)
    assert archive.read(path)[0]["which"] == "next"


@pytest.mark.parametrize("failing", [0, 1])
def test_a_replacement_that_fails_leaves_the_old_record(
    path: Path, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, calls = os.replace, []

    def failing_replace(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == failing + 1:
            raise OSError(28, "No space left on device")
        replace(*arguments)

    monkeypatch.setattr(os, "replace", failing_replace)
    with pytest.raises(BaselineError, match=r"No space left on device.*nothing was overwritten"):
        archive.write(path, {"which": "new"}, NEW)
    document, arrays = archive.read(path)
    assert document["which"] == "old"
    assert same(arrays, OLD)
    assert not [file for file in path.parent.iterdir() if file.name.startswith(".record.yaml.")]


def test_damage_is_told(path: Path) -> None:
    store = path.with_suffix(".npz")
    whole, text = store.read_bytes(), path.read_text()
    store.write_bytes(whole[:-1])
    with pytest.raises(BaselineError, match=r"record\.npz is not the file that record\.yaml"):
        archive.read(path)
    store.unlink()
    with pytest.raises(BaselineError, match=r"record\.npz is missing"):
        archive.read(path)
    path.write_text(text[: text.index("sha256")])
    with pytest.raises(BaselineError, match="was not written by pytest-iaside"):
        archive.read(path)
    path.write_text("a: [")
    with pytest.raises(BaselineError, match="is not valid YAML"):
        archive.read(path)
    path.unlink()
    with pytest.raises(BaselineError, match=r"cannot read .*No such file"):
        archive.read(path)


def test_pickles_are_not_loaded(path: Path) -> None:
    store = path.with_suffix(".npz")
    np.savez_compressed(store, a=np.array([object()], dtype=object))
    document = yaml.safe_load(path.read_text())
    document["arrays"]["sha256"] = hashlib.sha256(store.read_bytes()).hexdigest()
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(BaselineError, match=r"cannot be unpacked .ValueError: Object arrays"):
        archive.read(path)


def test_removing_takes_both_files_and_empty_folders(tmp_path: Path) -> None:
    path = tmp_path / "store" / "module" / "record.yaml"
    archive.write(path, {}, NEW)
    other = path.with_name("other.yaml")
    archive.write(other, {}, NEW)
    archive.remove(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["other.npz", "other.yaml"]
    archive.remove(other)
    assert list(tmp_path.iterdir()) == []

"""Where baselines lie, whatever a test is called: below their folder, and each in its own file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_iaside.store import archive
from pytest_iaside.store.baselines import Owner, path_for
from pytest_iaside.store.files import STORE

ODD = (
    *("..", "../../etc/passwd", "/etc/passwd", "\\\\server\\share", "C:\\x", "~", "a\0b", "."),
    *("CON", "nul", "com1.txt", "aux", "x" * 5000, "ü" * 300, "\u202egnp", "a:b", "a*?<>|", ""),
    *("-rf", "$HOME", "`true`", "%TEMP%", "a\nb", " ", "trailing. ", "\ud800"),
)
NAMES = st.sampled_from(ODD) | st.text(max_size=60)
# What Windows has for itself, whatever comes after a dot.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


@given(NAMES, st.none() | NAMES)
def test_no_name_leads_out_of_the_folder(test: str, name: str | None) -> None:
    path = path_for(Path("/tests/test_a.py"), Owner(f"test_a.py::{test}", name))
    assert path.parent == Path("/tests") / STORE / "test_a"
    assert os.path.normpath(path) == str(path)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*\.yaml", path.name)
    assert len(path.name) < 80 and not RESERVED.match(path.name)


@given(NAMES, NAMES)
def test_names_that_differ_in_case_alone_have_their_own_files(one: str, other: str) -> None:
    owners = {Owner(f"test_a.py::{each}") for each in (one, other, one.upper(), one.lower())}
    paths = {path_for(Path("test_a.py"), owner).name.lower() for owner in owners}
    assert len(paths) == len({owner.key for owner in owners})


def test_a_link_in_the_place_of_a_baseline_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    path = tmp_path / STORE / "test_a" / "x.yaml"
    path.parent.mkdir(parents=True)
    for each in (path, path.with_suffix(".npz")):
        each.symlink_to(outside)
    archive.write(path, {"which": 1}, {"a": np.zeros(2)})
    assert outside.read_text() == "theirs"
    assert archive.read(path)[0]["which"] == 1 and not path.is_symlink()
    path.unlink()
    path.symlink_to(outside)
    archive.remove(path)
    assert outside.read_text() == "theirs" and not path.exists()


@pytest.mark.parametrize("label", ["../../outside.npz", "/etc/passwd", "a\\0b", "NUL", "x" * 300])
def test_the_name_that_a_file_says_of_its_arrays_is_never_opened(
    tmp_path: Path, label: str
) -> None:
    path = tmp_path / "x.yaml"
    archive.write(path, {"which": 1}, {"a": np.zeros(2)})
    path.write_text(path.read_text().replace("file: x.npz", f'file: "{label}"'))
    document, arrays = archive.read(path)
    assert document["arrays"]["file"] != "x.npz" and arrays["a"].shape == (2,)

"""Keys written to an ini file: what else stands in it stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_iaside.cli.ini_file import written_to
from pytest_iaside.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOML = """[project]
name = "mine"  # a comment

[tool.pytest.ini_options]  # ours
addopts = "-q"
iaside_max_src_drop = 0.1  # narrow
testpaths = [
    "tests",
]

[tool.other]
iaside_max_src_drop = 7
"""


def test_a_key_is_replaced_in_its_section_and_others_are_added(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(TOML)
    written_to(path, {"iaside_max_src_drop": "0.5", "iaside_max_value_drop": "none"})
    found = tomllib.loads(path.read_text())
    before = tomllib.loads(TOML)
    options = before["tool"]["pytest"]["ini_options"]
    options |= {"iaside_max_src_drop": "0.5", "iaside_max_value_drop": "none"}
    assert found == before
    kept = [line for line in TOML.splitlines() if "narrow" not in line]
    assert [line for line in path.read_text().splitlines() if line in kept] == kept


@pytest.mark.parametrize(
    ("name", "section"),
    [("pytest.ini", "pytest"), ("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")],
)
def test_ini_files(tmp_path: Path, name: str, section: str) -> None:
    path = tmp_path / name
    path.write_text(f"# top\n[{section}]\naddopts = -q\n[other]\nx = 1")
    written_to(path, {"iaside_max_src_drop": "0.5"})
    text = f"# top\n[{section}]\niaside_max_src_drop = 0.5\naddopts = -q\n[other]\nx = 1"
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("other.toml", "", "is no ini file of pytest"),
        ("pyproject.toml", "[project]\n", r"has no section \[tool.pytest.ini_options\]"),
        ("pyproject.toml", "[project\n", "cannot read"),
        ("pytest.ini", "no section\n", "cannot read"),
        (
            "pyproject.toml",
            "[tool.pytest]\nini_options = {iaside_max_src_drop = 1}\n",
            "has no section",
        ),
        ("pyproject.toml", '[tool.pytest.ini_options]\n"iaside_max_src_drop" = 1\n', "cannot"),
    ],
)
def test_what_cannot_be_written_is_left_alone(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SettingsError, match=said):
        written_to(path, {"iaside_max_src_drop": "0.5"})
    assert path.read_text() == text


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        written_to(tmp_path / "pytest.ini", {"iaside_level": "0.9"})

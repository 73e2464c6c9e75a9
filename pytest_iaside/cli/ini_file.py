"""Keys of a pytest ini file, changed in place: every other line stays as it is."""

from __future__ import annotations

import configparser
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_iaside.errors import SettingsError
from pytest_iaside.report.writing import write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SECTIONS = {
    "pyproject.toml": "tool.pytest.ini_options",
    "setup.cfg": "tool:pytest",
    "tox.ini": "pytest",
    "pytest.ini": "pytest",
    ".pytest.ini": "pytest",
}


def written_to(path: Path, values: Mapping[str, str]) -> None:
    """Set ``values`` in pytest's section of the ini file ``path``; atomic.

    Raises SettingsError where it is no such file, has no such section, or where what is written
    could not be read back; it is left as it was then.
    """
    section = SECTIONS.get(path.name)
    if section is None:
        raise SettingsError(f"{path} is no ini file of pytest; give {', '.join(SECTIONS)}")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from None
    before = _read(path, text, section)
    lines = text.splitlines(keepends=True)
    header = re.compile(rf"^\[{re.escape(section)}\]\s*(#.*)?$")
    at = next((n for n, line in enumerate(lines) if header.match(line.strip())), None)
    if at is None:
        raise SettingsError(f"{path} has no section [{section}]; add it, and run this again")
    following = (n for n in range(at + 1, len(lines)) if lines[n].startswith("["))
    end = next(following, len(lines))
    missing = dict(values)
    for number in range(at + 1, end):
        key = re.match(r"\s*([\w-]+)\s*=", lines[number])
        if key and key[1] in missing:
            lines[number] = _line(path, key[1], missing.pop(key[1]))
    lines[at] = lines[at].rstrip("\n") + "\n"
    lines[at + 1 : at + 1] = [_line(path, *pair) for pair in missing.items()]
    changed = "".join(lines)
    after = _read(path, changed, section)
    if {k: str(v) for k, v in after.items()} != {
        k: str(v) for k, v in {**before, **values}.items()
    }:
        told = "".join(_line(path, *pair) for pair in values.items())
        raise SettingsError(
            f"{path} is written in a way that cannot be changed here; add these lines to "
            f"[{section}] yourself:\n{told}"
        )
    write_text(changed, str(path), "make it writable")


def _line(path: Path, key: str, value: str) -> str:
    shown = f'"{value}"' if path.suffix == ".toml" else value
    return f"{key} = {shown}\n"


def _read(path: Path, text: str, section: str) -> dict[str, Any]:
    """What pytest's section holds; raises SettingsError where the file cannot be read."""
    try:
        if path.suffix == ".toml":
            found: Any = tomllib.loads(text)
            for part in section.split("."):
                found = found.get(part, {})
            return dict(found)
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
        return dict(parser[section]) if parser.has_section(section) else {}
    except (tomllib.TOMLDecodeError, configparser.Error) as error:
        raise SettingsError(f"cannot read {path}: {error}") from None

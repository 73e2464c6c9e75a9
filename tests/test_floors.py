"""The house has floors: a file imports from floors below its own, and nothing imports a wing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pytest_iaside"

# From the ground up; what stands on one floor does not need its neighbours.
FLOORS = (
    ("errors",),
    ("checks",),
    ("thresholds", "stats"),
    ("store",),
    ("images",),
    ("models", "train"),
    ("perturb", "execute"),
    ("measure",),
    ("compare", "settings"),
    ("report",),
    ("testing",),
    ("cli", "plugin"),
    ("explain", "track"),
    ("study",),
)
CORE = ("stats", "images", "models", "perturb", "execute", "measure", "compare", "store", "report")
WINGS = ("explain", "track", "study")
HEIGHT = {name: height for height, names in enumerate(FLOORS) for name in names}
FILES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE or path.name != "__init__.py"  # The public face names every room.
)


def room(path: Path) -> str:
    """The folder or file at the top of the package that ``path`` belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module(path: Path) -> str:
    """The dotted name of the file ``path``."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import from the package, also of those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # A name may be a module of its own.
            names = [f"{node.module}.{each.name}" for each in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.startswith("pytest_iaside."))


def targets(path: Path) -> Iterator[tuple[int, str]]:
    """Line and file of every import from the package."""
    for line, name in imported(path):
        while name not in MODULES and "." in name:
            name = name.rpartition(".")[0]
        yield line, name


MODULES = {module(path): path for path in PACKAGE.rglob("*.py")}


def test_every_room_has_its_floor() -> None:
    assert {room(path) for path in FILES} == set(HEIGHT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_imported_from_above(path: Path) -> None:
    here = room(path)
    for line, name in imported(path):
        other = name.split(".")[1]
        # A name straight from the package may be of any floor.
        assert other in HEIGHT, f"line {line} of {path.name}: import {name} from its own file"
        allowed = other == here or HEIGHT[other] < HEIGHT[here]
        assert allowed, f"line {line} of {path.name} imports {other}, which is not below {here}"


def test_the_core_knows_no_wing() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in FILES
        if room(path) in (*CORE, "testing", "cli", "plugin", "settings")
        for line, name in imported(path)
        if name.split(".")[1] in WINGS
    ]
    assert found == []


def test_no_files_import_each_other_in_a_circle() -> None:
    needs = {module(path): {name for _, name in targets(path)} for path in FILES}
    standing: set[str] = set()
    while True:
        # What needs only what stands already stands as well; a circle never does.
        free = {name for name, wanted in needs.items() if name not in standing}
        free = {n for n in free if (needs[n] - {n}) & set(needs) <= standing}
        if not free:
            break
        standing |= free
    assert set(needs) - standing == set()


def test_the_top_of_the_package_is_seen_at_a_glance() -> None:
    found = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(found) <= 23

"""The house has floors: a file imports only from floors below its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pytest_iaside"

# From the ground up; what stands on one floor does not need its neighbours.
FLOORS = (
    ("errors",),
    ("archive", "intervals", "spectrum"),
    ("game",),
    ("data", "environment"),
    ("models",),
    ("execute",),
    ("facts", "score", "shares", "structure"),
    ("profile",),
    ("readings",),
    ("measure",),
    ("gate",),
    ("perturb",),
    ("diagnose",),
    ("track",),
    ("study",),
    ("report",),
    ("settings",),
    ("session",),
    ("running", "named"),
    ("assertions",),
    ("fixtures",),
    ("commands",),
    ("cli", "plugin"),
)
HEIGHT = {name: height for height, names in enumerate(FLOORS) for name in names}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE) + sorted(
    path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"
)


def room(path: Path) -> str:
    """The folder or file at the top of the package that ``path`` belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and room of every import from the package, also of those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            package, _, rest = node.module.partition(".")
            if package == "pytest_iaside":
                names = [rest.partition(".")[0]] if rest else [each.name for each in node.names]
                yield from ((node.lineno, name) for name in names)


def test_every_room_has_its_floor() -> None:
    assert {room(path) for path in FILES} == set(HEIGHT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_imported_from_above(path: Path) -> None:
    here = room(path)
    for line, name in imported(path):
        allowed = name == here or HEIGHT[name] < HEIGHT[here]
        assert allowed, f"line {line} of {path.name} imports {name}, which is not below {here}"

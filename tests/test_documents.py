"""README, CONTRIBUTING and the decisions: the files that they name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "example_project/README.md")),
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]
BASES = (ROOT, ROOT / "pytest_iaside", ROOT / "example_project")
NAMED = re.compile(r"`((?:\w+/)+[\w.]*\w\.(?:py|json|md|png|yml))`")
LINKED = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = NAMED.findall(text)
    missing = [name for name in named if not any((base / name).exists() for base in BASES)]
    missing += [name for name in LINKED.findall(text) if not (document.parent / name).exists()]
    assert not missing


def test_the_examples_of_contributing_are_short() -> None:
    blocks = re.findall(
        r"```\w*\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(blocks) >= 4
    assert max(len(block.splitlines()) for block in blocks) <= 30

"""docs/tasks.md: every block runs, in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "tasks.md"


def test_every_block_of_the_page_runs() -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))
    assert len(blocks) >= 8
    held: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        line = text[: block.start()].count("\n") + 1
        # Errors name the line of the page.
        exec(compile("\n" * line + block[1], str(PAGE), "exec"), held)
    assert held["comparison"].verdict == "pass"

"""Writes what the README does not type: four numbers of measured.json, and a red gate's message.

``python docs/readme.py``, which ``make docs`` runs. tests/test_readme.py fails where it was not.
"""

from __future__ import annotations

import re

from site_parts import HERE, measured

README = HERE.parent / "README.md"
RED = HERE / "outputs" / "red-first-line.txt"
# The name of a value, and the page that says more of it.
NUMBERS = {
    "late-worse-red-100": "docs/explanation/calibration.md",
    "late-harmless-red-100": "docs/explanation/calibration.md",
    "honest-red-most": "docs/how-to/retraining.md",
    "verdict-lite0-s": "docs/explanation/speed.md",
}


def numbers() -> str:
    """The table of the README's numbers."""
    lines = ["| | | |", "|---|---|---|"]
    for name, page in NUMBERS.items():
        entry = measured()["values"][name]
        link = f"[more]({page}), `{entry['benchmark']}`"
        lines.append(f"| {entry['what']} | {entry['value']} {entry['unit']} | {link} |")
    return "\n".join(lines)


def red_gate() -> str:
    """The first line of a real failure, as a block."""
    return f"```text\n{RED.read_text(encoding='utf-8').strip()}\n```"


def written(text: str) -> str:
    """The README ``text`` with both parts as they must be."""
    for part, content in (("red gate", red_gate()), ("numbers", numbers())):
        pattern = rf"(<!-- {part}: [^\n]*-->\n).*?(<!-- end of {part} -->)"
        places = list(re.finditer(pattern, text, re.DOTALL))
        if len(places) != 1:
            raise ValueError(f"README.md: found {len(places)} parts {part!r}, expected 1")
        (place,) = places
        text = f"{text[: place.end(1)]}{content}\n{text[place.start(2) :]}"
    return text


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"written: {README.name}")

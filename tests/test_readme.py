"""README.md: short, and its numbers and its message are those that were measured and printed."""

from __future__ import annotations

import re
import sys

import pytest
from pages import ROOT

sys.path.append(str(ROOT / "docs"))
import readme
import site_parts

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_its_numbers_and_its_message_are_written_by_the_script() -> None:
    assert readme.written(TEXT) == TEXT, "run: python docs/readme.py"
    assert len(readme.NUMBERS) == 4
    for name, page in readme.NUMBERS.items():
        entry = site_parts.measured()["values"][name]
        assert f"| {entry['what']} | {entry['value']} {entry['unit']} | [more]({page})" in TEXT


@pytest.mark.parametrize("part", ["red gate", "numbers"])
def test_a_readme_without_its_markers_is_refused(part: str) -> None:
    without = TEXT.replace(f"<!-- end of {part} -->", "")
    with pytest.raises(ValueError, match=f"found 0 parts '{part}', expected 1"):
        readme.written(without)


def test_a_number_that_was_typed_is_found() -> None:
    (line,) = [line for line in TEXT.splitlines() if "time_to_verdict" in line]
    typed = line.replace(site_parts.measured()["values"]["verdict-lite0-s"]["value"], "1.0")
    assert typed != line
    assert readme.written(TEXT.replace(line, typed)) == TEXT


def test_no_number_of_a_measurement_is_typed_beside_them() -> None:
    prose = TEXT.replace(readme.red_gate(), "").replace(readme.numbers(), "")
    prose = re.sub(r"```.*?```", "", prose, flags=re.DOTALL)
    # Versions, how many images are a good start, and how many networks are trained are no results.
    assert set(re.findall(r"(?<!\w)\d+(?:\.\d+)*", prose)) == {"3.10", "3.13", "2.6", "50", "71"}

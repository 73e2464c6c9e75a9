"""docs/reliability.md says what was found, and nothing of it was wrong."""

from __future__ import annotations

import json

from reliability import PAGE, SAVED, SECTIONS, page


def test_the_page_is_that_of_the_saved_outcome() -> None:
    assert PAGE.read_text("utf-8") == page(json.loads(SAVED.read_text("utf-8")))


def test_every_part_was_run_and_nothing_was_wrong() -> None:
    known = json.loads(SAVED.read_text("utf-8"))
    assert set(known) == set(SECTIONS)
    assert {name: found["wrong"] for name, found in known.items()} == {name: [] for name in known}
    assert sum(sum(each.values()) for each in known["faults"]["outcomes"].values()) > 2000


def test_a_table_adds_up() -> None:
    outcomes = {"a | b": {"killed": 3, "written": 1200}}
    found = {"outcomes": outcomes, "wrong": ["x"], "versions": {"python": "3"}, "date": "today"}
    text = page({"faults": found})
    assert "| a | b | 1,203 | 3 killed, 1,200 written |" in text
    assert "**1,203 in all, 1 of them wrong.** today; python 3." in text
    assert text.count("Not run yet.") == len(SECTIONS) - 1

"""What fits into a report, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest
from gate_records import META

from pytest_iaside.report.html import render
from pytest_iaside.report.record import GateRecord


def pictured(record: GateRecord, size: int, test: str) -> dict[str, Any]:
    """``record`` with a thumbnail of each image and examples of ``size`` characters."""
    images = record["comparison"]["image_changes"]["images"]
    return {
        **record,
        "test": f"tests/test_it.py::{test}",
        "pictures": {
            "thumbnails": {image["digest"]: "T" * 1000 for image in images},
            "examples": [{"digest": "", "name": "image", "pictures": {"whole": "E" * size}}],
            "parts": {"low": [0]},
            "size": [112, 112],
            "cropped": True,
        },
    }


def test_everything_is_shown_where_it_fits(red: GateRecord, green: GateRecord) -> None:
    source = render([pictured(red, 10_000, "test_red"), green], meta=META)
    assert "Left out" not in source
    assert source.count("E" * 10_000) == 1
    assert source.count("T" * 1000) == 12


def test_examples_go_first_and_the_report_says_so(red: GateRecord) -> None:
    records = [pictured(red, 300_000, f"test_{i}") for i in range(4)]
    source = render(records, meta=META, limit=1.0)
    assert len(source.encode()) <= 1e6
    assert 1 <= source.count("E" * 300_000) < 4
    assert source.count("T" * 1000) == 48
    left = 4 - source.count("E" * 300_000)
    gates = "gate" if left == 1 else "gates"
    assert f"small: the example pictures of {left} {gates}. The numbers" in source


def test_then_small_pictures_and_charts_of_gates_that_matter_least(
    red: GateRecord, green: GateRecord
) -> None:
    reds = [pictured(red, 300_000, f"test_red_{i}") for i in range(2)]
    greens = [{**green, "test": f"tests/test_it.py::test_green_{i}"} for i in range(40)]
    source = render([*greens, *reds], meta=META, limit=0.5)
    assert len(source.encode()) <= 0.5e6
    articles = source.split("<article ")[1:]
    charts = ["<svg xmlns" in article for article in articles]
    # The failed ones stand first, and no better gate has charts where a worse one has none.
    assert charts[:2] == [True, True]
    assert charts == sorted(charts, reverse=True)
    assert not all(charts)
    assert "E" * 300_000 not in source
    assert source.count("T" * 1000) == 24
    missing = charts.count(False)
    assert f"the charts of {missing} gates, the example pictures of 2 gates." in source
    # What is left of them: verdict, checks, and that the charts are not there.
    assert all("signed SRC</th>" in article for article in articles)
    assert source.count("The charts are left out") == missing


@pytest.mark.parametrize("limit", [0.001, 3.0])
def test_verdicts_and_checks_are_always_there(red: GateRecord, limit: float) -> None:
    source = render([red], meta=META, limit=limit)
    assert red["summary"] in source
    assert "▼ fell" in source or limit < 1
    assert red["accept"].replace('"', "&#34;") in source


def test_five_hundred_gates_are_within_the_budget(red: GateRecord, green: GateRecord) -> None:
    records = [pictured(red, 100_000, f"test_red_{i}") for i in range(10)]
    records += [{**green, "test": f"tests/test_it.py::test_{i}"} for i in range(490)]
    source = render(records, meta=META)
    assert len(source.encode()) <= 3e6
    assert source.count("<article ") == 500

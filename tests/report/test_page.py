"""A page of figures: it holds what it was given, escaped, and names no other file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markupsafe import Markup
from test_html import Page as ParsedPage

from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.report.figures import Figure, Table
from pytest_iaside.report.pages import Page, write_page

META = {"created": "2026-11-23", "version": "0", "command": "iaside <study>"}
PAGE = Page(
    title="correlation",
    headline="r = −0.93 over 24 models <of ours>",
    about="How it came about.",
    warnings=["one model was left out"],
    figures=[
        Figure("Drawn", "A chart.", Table(("a",), [["1.5"]]), Markup("<svg></svg>")),
        Figure("Told", "No chart.", Table(("b",), [["<b>"]]), wide=True),
    ],
    settings=Table(("what", "value"), [["models", "24"]]),
)


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = write_page(PAGE, tmp_path / "new" / "page.html", meta=META)
    return path.read_text(encoding="utf-8")


def test_a_page_holds_its_sentence_figures_tables_and_settings(text: str) -> None:
    for found in ("r = −0.93 over 24 models &lt;of ours&gt;", "How it came about.", "1.5", "24"):
        assert found in text
    assert "one model was left out" in text
    assert "iaside &lt;study&gt;" in text
    assert text.count("<svg></svg>") == 1
    assert "&lt;b&gt;" in text
    assert '<figure class="wide">' in text


def test_a_page_runs_no_script_and_loads_nothing(text: str) -> None:
    assert "script-src 'none'" in text
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    ParsedPage(text)  # which also checks that its elements are closed


def test_a_page_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpectralRobustnessError, match=r"cannot write .*file.page\.html"):
        write_page(PAGE, tmp_path / "file" / "page.html", meta=META)

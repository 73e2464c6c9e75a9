"""What scripts add to the report: filters, search, sorting, arrow keys, numbers at the pointer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page

from .conftest import Opened, Report

Open = Callable[..., Opened]


@pytest.fixture
def page(open_report: Open, recorded: Report) -> Page:
    return open_report(recorded.path, viewport={"width": 1280, "height": 900}).page


def overview(page: Page) -> Locator:
    return page.get_by_role("region", name="Table of gates, worst first")


def shown(page: Page) -> list[str]:
    """The verdicts of the rows that are visible, in their order."""
    badges = overview(page).locator("tbody tr:visible .badge")
    return [text.strip() for text in badges.all_inner_texts()]


def test_filters_hide_verdicts(page: Page, recorded: Report) -> None:
    everything = list(recorded.words.values())
    assert shown(page) == everything
    button = page.get_by_role("button", name="refused", exact=True)
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert shown(page) == [word for word in everything if word != "refused"]
    assert page.get_by_text("4 of 6 shown").is_visible()
    button.click()
    assert shown(page) == everything
    assert page.get_by_text("of 6 shown").is_hidden()


def test_search_finds_names(page: Page, recorded: Report) -> None:
    search = page.get_by_role("searchbox", name="Find a gate by its name")
    search.fill("SIXTEEN")
    assert shown(page) == ["drift"]
    assert page.get_by_text("1 of 6 shown").is_visible()
    search.fill("no such gate")
    assert shown(page) == []
    search.fill("")
    assert shown(page) == list(recorded.words.values())


@pytest.mark.parametrize("column", ["gate", "signed SRC", "change (95% CI)", "passes", "time"])
def test_columns_sort_both_ways(page: Page, column: str) -> None:
    head = overview(page).get_by_role("columnheader", name=column)
    index = [text.strip() for text in overview(page).locator("thead th").all_inner_texts()]
    at = index.index(column)

    def values() -> list[str]:
        rows = overview(page).locator("tbody tr").all()
        cells = [row.locator("td, th").nth(at) for row in rows]
        found = [(c.get_attribute("data-order"), c.inner_text().strip().lower()) for c in cells]
        return [text if order is None else order for order, text in found]

    before = values()
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = values()
    assert sorted(up) == sorted(before)
    known = [value for value in up if value]
    if column != "gate":
        numbers = [float(value) for value in known]
        assert numbers == sorted(numbers)
    # What is not known comes last, either way.
    assert up == known + [""] * (len(up) - len(known))
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    down = [value for value in values() if value]
    assert down == known[::-1] or len(set(known)) < len(known)
    other = overview(page).get_by_role("columnheader", name="verdict")
    other.get_by_role("button").press("Enter")
    assert other.get_attribute("aria-sort") == "ascending"
    assert head.get_attribute("aria-sort") is None
    assert values() == before


def test_arrows_go_from_gate_to_gate(page: Page) -> None:
    links = overview(page).get_by_role("link")
    links.first.focus()
    for key, expected in (
        ("ArrowDown", 1),
        ("ArrowDown", 2),
        ("ArrowUp", 1),
        ("End", 5),
        ("ArrowDown", 5),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert links.nth(expected).evaluate("link => link === document.activeElement"), key
    page.get_by_role("searchbox").fill("classifier")
    links.filter(has_text="classifier").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent").startswith("test_classifier")


def test_the_pointer_reads_a_chart(page: Page) -> None:
    figure = page.locator("article.failed figure", has_text="Raw ψ, in nats").nth(1)
    figure.scroll_into_view_if_needed()
    tip = page.locator(".tip")
    assert tip.is_hidden()
    figure.locator('.hit[data-row="5"]').hover()
    row = figure.locator("tbody tr").nth(5)
    cells = [text.strip() for text in row.locator("th, td").all_text_contents()]
    assert tip.is_visible()
    text = tip.inner_text().split("\n")
    assert cells[0] == "5" and "▼ fell" in cells
    assert {cell for cell in cells if cell} <= set(text)
    page.mouse.move(1, 1)
    assert tip.is_hidden()


def test_accessible_while_in_use(open_report: Open, recorded: Report, axe: str) -> None:
    for scheme in ("light", "dark"):
        page = open_report(recorded.path, color_scheme=scheme).page
        page.get_by_role("button", name="drift", exact=True).click()
        page.get_by_role("searchbox").fill("test")
        overview(page).get_by_role("button", name="time").click()
        page.evaluate(axe)
        found = page.evaluate("axe.run('.overview')")["violations"]
        assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == [], scheme

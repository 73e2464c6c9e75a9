"""The report as a browser shows it: alone, in any light, at any width, by keyboard, on paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gate_records import META
from PIL import Image
from playwright.sync_api import expect

from pytest_iaside.report.html import write_html
from pytest_iaside.report.record import GateRecord

from .conftest import HOSTILE, Opened, Report
from .validity import invalid

Open = Callable[..., Opened]

# What reaches beyond the right edge, and is not cut off or scrolled by something that does not.
BEYOND_THE_EDGE = """() => {
  const edge = document.documentElement.clientWidth;
  const beyond = (one) => one.getBoundingClientRect().right > edge + 0.5;
  const kept = (one) => one !== document.documentElement && one !== document.body
    && (getComputedStyle(one).overflowX !== "visible" && !beyond(one)
        || one.parentElement && kept(one.parentElement));
  return [...document.body.querySelectorAll("*")]
    .filter((one) => one.checkVisibility() && beyond(one) && !kept(one.parentElement))
    .map((one) => one.outerHTML.slice(0, 200));
}"""

# Words of a chart of which it shows a part.
CUT_IN_CHARTS = """() => [...document.querySelectorAll("svg[role=img] text")]
  .filter((one) => {
    const chart = one.ownerSVGElement.getBoundingClientRect(), own = one.getBoundingClientRect();
    return own.width > 0 && (own.right > chart.right + 1 || own.left < chart.left - 1
      || own.top < chart.top - 1 || own.bottom > chart.bottom + 1);
  })
  .map((one) => one.textContent)"""

FOCUSED = """() => {
  const one = document.activeElement;
  if (one === document.body) return null;
  const { outlineStyle, outlineWidth } = getComputedStyle(one);
  const { left, right, top, bottom } = one.getBoundingClientRect();
  return {
    text: one.innerText ?? one.textContent,
    target: one.getAttribute("href"),
    inGates: one.closest("main") !== null,
    outline: outlineStyle === "none" ? 0 : parseFloat(outlineWidth),
    inView: right > 0 && bottom > 0 && left < innerWidth && top < innerHeight,
  };
}"""

# Tables and figures that are not laid out, or hidden by something they are in.
UNSEEN = """() => [...document.querySelectorAll("table, figure, svg[role=img], pre")]
  .filter((one) => !one.checkVisibility({ visibilityProperty: true, opacityProperty: true })
    || one.getBoundingClientRect().height === 0)
  .map((one) => one.outerHTML.slice(0, 200))"""

# Headings of columns without their text, and what paper cuts off as nobody can scroll it.
LOST_ON_PAPER = """() => [...document.querySelectorAll("th, .scroll")]
  .filter((one) => one.textContent.trim() && !one.innerText.trim()
    || getComputedStyle(one).overflowX !== "visible" && one.scrollWidth > one.clientWidth)
  .map((one) => one.outerHTML.slice(0, 200))"""


def test_needs_no_network_and_says_nothing(open_report: Open, report: Report) -> None:
    opened = open_report(report.path)
    opened.unfold()
    assert opened.page.title().endswith("spectral robustness")
    assert opened.messages == []
    assert opened.requests == []


def test_is_valid_html(report: Report, tmp_path: Path) -> None:
    assert invalid(report.path) == []
    # And what is not is found.
    wrong = tmp_path / "wrong.html"
    wrong.write_text("<!DOCTYPE html><html lang=en><title>x</title><p><div></p></html>")
    assert invalid(wrong) != []


def test_what_a_page_without_network_would_say(open_report: Open, tmp_path: Path) -> None:
    """The test above can fail."""
    path = tmp_path / "page.html"
    path.write_text('<img src="http://localhost/a.png"><script>console.warn("old")</script>')
    opened = open_report(path)
    assert opened.requests == ["http://localhost/a.png"]
    # Which of the two is told first is open.
    assert sorted(opened.messages) == ["Failed to load resource: net::ERR_FAILED", "old"]


def test_light_and_dark(open_report: Open, report: Report, tmp_path: Path) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        opened = open_report(report.path, color_scheme=scheme)
        for label, word in report.words.items():
            expect(opened.gate(label).get_by_text(word, exact=True).first).to_be_visible()
        file = tmp_path / f"{scheme}.png"
        opened.page.screenshot(path=file)
        with Image.open(file) as image:
            colours = image.convert("RGB").getcolors(image.width * image.height)
        assert colours is not None and len(colours) > 100
        count, grounds[scheme] = max(colours)
        assert count < 0.99 * 1280 * 720
    assert min(grounds["light"]) > 200
    assert max(grounds["dark"]) < 60


def test_by_keyboard(open_report: Open, report: Report) -> None:
    opened = open_report(report.path)
    page = opened.page

    def tab() -> dict[str, Any] | None:
        page.keyboard.press("Tab")
        return page.evaluate(FOCUSED)

    first = tab()
    assert first is not None and first["text"].startswith("Skip to")
    assert first["inView"] and first["outline"] > 0
    page.keyboard.press("Enter")
    labels = []
    while len(labels) < len(report.words):
        stop = tab()
        assert stop is not None, f"Tab reached the links to {labels} only"
        assert stop["inGates"] and stop["inView"] and stop["outline"] > 0, stop
        if stop["target"] and stop["text"] in report.words:
            labels.append(stop["text"])
    assert labels == list(report.words)
    page.keyboard.press("Enter")
    heading = page.get_by_role("heading", name=labels[-1], exact=True)
    expect(heading).to_be_focused()
    expect(heading).to_be_in_viewport()


@pytest.mark.parametrize("width", [320, 1280, 3840])
def test_fits_its_width(open_report: Open, report: Report, width: int) -> None:
    opened = open_report(report.path, viewport={"width": width, "height": 800})
    for unfold in (False, True):
        if unfold:
            opened.unfold()
        assert opened.page.evaluate("() => document.documentElement.scrollWidth") == width
        assert opened.page.evaluate(BEYOND_THE_EDGE) == []
    assert opened.page.evaluate(CUT_IN_CHARTS) == []


def test_accessible(open_report: Open, report: Report, axe: str) -> None:
    opened = open_report(report.path, color_scheme="light")
    opened.unfold()
    opened.page.evaluate(axe)
    assert _severe(opened, "{ resultTypes: ['violations'] }") == []
    opened.page.emulate_media(color_scheme="dark")
    # All that depends on the scheme.
    assert _severe(opened, "{ runOnly: ['color-contrast'], resultTypes: ['violations'] }") == []


def _severe(opened: Opened, options: str) -> list[Any]:
    """What axe calls serious or critical, with the elements."""
    found = opened.page.evaluate(f"() => axe.run({options})")
    assert found["passes"]
    return [
        (one["id"], one["help"], [node["html"][:200] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def test_without_scripts(open_report: Open, report: Report) -> None:
    opened = open_report(report.path, java_script_enabled=False)
    scripted = open_report(report.path)
    for label, word in report.words.items():
        expect(opened.gate(label).get_by_text(word, exact=True).first).to_be_visible()
    for selector in ("table", "svg[role=img]", "details"):
        number = opened.page.locator(selector).count()
        assert number == scripted.page.locator(selector).count() >= len(report.words)
    # Click what a reader would: each summary once it is visible, outer ones first.
    folded = opened.page.locator("details:not([open]) > summary:visible")
    while folded.count():
        folded.first.click()
    assert opened.page.evaluate(UNSEEN) == []


def test_on_paper(open_report: Open, report: Report) -> None:
    # A4 within margins of 1 cm.
    opened = open_report(report.path, viewport={"width": 718, "height": 1047})
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate(LOST_ON_PAPER) == []
    # Of a gate that failed: its sentence, the one picture, its checks, and what to do next.
    for label, word in report.words.items():
        if word != "drift":
            continue
        gate = opened.gate(label)
        for part in (".sentence", ".first", ".next", "table.checks"):
            expect(gate.locator(part).first).to_be_visible()
        expect(gate.locator(".figures").first).to_be_hidden()


def test_a_failed_gate_takes_two_pages(open_report: Open, tmp_path: Path, red: GateRecord) -> None:
    path = write_html([red], tmp_path / "red.html", meta=META)
    opened = open_report(path)
    pages = opened.page.pdf(format="A4").count(b"/Type /Page\n")
    assert 1 <= pages <= 2


def test_the_first_screen_says_what_got_worse_and_what_to_do(
    open_report: Open, tmp_path: Path, red: GateRecord
) -> None:
    path = write_html([red], tmp_path / "red.html", meta=META)
    opened = open_report(path, viewport={"width": 1280, "height": 900})
    gate = opened.page.locator("article.gate")
    told = gate.locator(".sentence").first
    assert told.inner_text() == "The model relies less on structures of medium size (band 5)"
    assert not set("ψ±∞ΔΣ") & set(told.inner_text())
    for part in (told, gate.locator(".first svg[role=img]"), gate.locator(".next h3")):
        expect(part).to_be_in_viewport()
    # Accepting comes last.
    commands = gate.locator(".command > span").all_inner_texts()
    assert commands == ["Reproduce it", "Accept the change, if it is meant to be so"]


def test_a_phone_shows_every_verdict(open_report: Open, report: Report) -> None:
    opened = open_report(report.path, viewport={"width": 360, "height": 740})
    opened.unfold()
    for cell in opened.page.locator("table.checks td[class^=is-], .overview .badge").all():
        box = cell.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 360


def test_no_line_stands_right_of_a_table(open_report: Open, report: Report, tmp_path: Path) -> None:
    """The shadow of a table that can be scrolled is covered where there is nothing to scroll."""
    for width in (1281, 1283, 1367):
        opened = open_report(report.path, viewport={"width": width, "height": 900})
        opened.unfold()
        table = opened.page.locator(".images .scroll").first
        if not table.count():
            continue
        assert table.evaluate("one => one.scrollWidth <= one.clientWidth")
        file = tmp_path / "table.png"
        table.screenshot(path=file)
        with Image.open(file) as image:
            ground = max(image.convert("RGB").getcolors(image.width * image.height) or [])[1]
            for x in range(image.width - 12, image.width):
                column = image.convert("RGB").crop((x, 0, x + 1, image.height))
                found = {colour: count for count, colour in column.getcolors(1000) or []}
                # Lines between rows cross it, and nothing else.
                assert found[ground] > 0.9 * image.height, (width, x)


def test_a_hostile_name_is_text(open_report: Open, report: Report) -> None:
    opened = open_report(report.path)
    (label,) = (label for label in report.words if HOSTILE in label)
    expect(opened.gate(label).get_by_role("heading", name=label, exact=True)).to_be_visible()
    assert opened.page.evaluate("() => window.hacked === undefined")
    assert opened.page.locator("script").count() == 1
    assert opened.messages == []

"""The report as a browser shows it: alone, in any light, at any width, by keyboard, on paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from .conftest import HOSTILE, Opened, Report

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
    assert opened.page.evaluate(UNSEEN) != []
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate(UNSEEN) == []
    assert opened.page.evaluate(LOST_ON_PAPER) == []


def test_a_hostile_name_is_text(open_report: Open, report: Report) -> None:
    opened = open_report(report.path)
    (label,) = (label for label in report.words if HOSTILE in label)
    expect(opened.gate(label).get_by_role("heading", name=label, exact=True)).to_be_visible()
    assert opened.page.evaluate("() => window.hacked === undefined")
    assert opened.page.locator("script").count() == 1
    assert opened.messages == []

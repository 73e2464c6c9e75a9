"""Sections of wings in the report, and gates that are not spectral."""

from __future__ import annotations

from gate_records import META
from test_html import Page

from pytest_iaside.report.html import render
from pytest_iaside.report.numbers import fixed, signed
from pytest_iaside.report.record import GateRecord
from pytest_iaside.report.terminal import terminal_lines


def test_maps_sentences_and_levels_are_shown(diagnosed: GateRecord) -> None:
    page = Page(render([diagnosed], meta=META))
    texts = " ".join(page.texts)
    assert texts.count("The candidate leans on details of 1–2 px around the top right.") == 2
    assert "3.jpg" in texts and "<4>.jpg" in texts
    assert "Over these 2 images the answer's sources moved: details of 1 px 50.0% → 70.0%" in texts
    for cell in ("70.0%", "+20.0%", "+10.0%…+30.0%", "▲ rose", "−9.0%…+11.0%"):
        assert cell in page.texts
    maps = [a["alt"] for tag, a in page.elements if tag == "img" and "WCAM" in (a["alt"] or "")]
    assert len(maps) == 8
    assert maps[0] == "baseline, 3.jpg: WCAM"


def test_the_largest_detail_goes_where_there_is_no_room(diagnosed: GateRecord) -> None:
    heavy = {"image": "A" * 200_000, "candidate": {}, "baseline": {}}
    record = {**diagnosed, "section_pictures": {"explanation": [heavy, heavy]}}
    text = render([record], meta=META, limit=0.2)
    assert len(text.encode()) < 200_000
    assert "the maps of 1 gate" in text
    assert "The candidate leans on details" in text


def test_why_nothing_is_explained_is_said(diagnosed: GateRecord) -> None:
    known = diagnosed["sections"]["explanation"]
    section = {**known, "why_not": "the images are odd", "images": [], "levels": []}
    record = {**diagnosed, "sections": {"explanation": section}, "section_pictures": {}}
    text = render([record], meta=META)
    assert "Not explained: the images are odd." in text


def test_a_gate_on_perturbations_shows_every_change(perturbed: GateRecord) -> None:
    page = Page(render([perturbed], meta=META))
    texts = page.texts
    assert "Change of mPE" in texts and "Change of accuracy" in texts
    assert "Where the perturbations lie" in texts and "Spectrum of the images" in texts
    assert "mPE under white_noise 3 · moved" in texts
    assert "≥ 0.100" in texts  # the bound
    change = perturbed["comparison"]["quantities"][1]
    assert f"{change['change']:+.3f}" in texts


def test_a_trend_shows_its_checkpoints_its_bands_and_its_checks(declined: GateRecord) -> None:
    source = render([declined], meta=META)
    page = Page(source)
    texts = page.texts
    comparison = declined["comparison"]
    assert declined["verdict"] == "drift" and declined["summary"] in texts
    # The five charts of spectral profiles, the heat map of the SIDs and the curves.
    assert source.count("<svg xmlns") == 7
    assert {"Spectral robustness score", "Raw ψ, in nats", "The checkpoints"} <= set(texts)
    assert "Those of run night that the trend is fitted to." in texts
    assert "allowed down to" in texts and "min_src" not in texts
    assert [check["name"] for check in comparison["checks"]] == ["src", "value"]
    for check in comparison["checks"]:
        assert {fixed(check["baseline"]), fixed(check["candidate"])} <= set(texts)
    for role in ("baseline", "candidate"):
        assert fixed(comparison[role]["spectral"]["signed_src"]) in texts
    assert {signed(band["change"]) for band in comparison["quantities"]} <= set(texts)
    for point in declined["sections"]["trend"]["points"]:
        assert {str(point["step"]), point["name"], fixed(point["signed_src"])} <= set(texts)
        assert {fixed(value) for value in point["sid"]} <= set(texts)
    (line,) = terminal_lines([declined], width=120, color=False)[1:2]
    src = comparison["checks"][0]
    assert f"{fixed(src['baseline'])} → {fixed(src['candidate'])}  {signed(src['change'])}" in line


def test_a_section_of_a_wing_that_is_not_installed_is_left_out(green: GateRecord) -> None:
    plain = render([green], meta=META)
    assert render([{**green, "sections": {"another": {"a": 1}}}], meta=META) == plain

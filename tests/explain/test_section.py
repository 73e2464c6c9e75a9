"""The report on explained images, and on gates that are not spectral."""

from __future__ import annotations

import numpy as np
import pytest
from gate_records import META
from PIL import Image
from test_html import Page

from pytest_iaside.report.charts.heat import colours, enlarged, heat, png, reduced
from pytest_iaside.report.html import render
from pytest_iaside.report.record import GateRecord


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


@pytest.mark.parametrize("value", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_colours_grow_lighter(value: float) -> None:
    dark, light = colours(np.array([[value - 0.1, value + 0.1]]).clip(0, 1))[0].astype(int)
    assert light @ (299, 587, 114) > dark @ (299, 587, 114)


def test_a_map_goes_from_nothing_to_its_top() -> None:
    values = np.linspace(0, 2, 101)[None]
    np.testing.assert_array_equal(heat(values, top=2.0)[0, [0, 100]], colours(np.array([0.0, 1.0])))
    np.testing.assert_array_equal(heat(np.zeros((2, 2))), colours(np.zeros((2, 2))))


def test_pictures_keep_what_they_show() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    large = enlarged(pixels, 12)
    assert large.shape == (9, 15, 3)
    np.testing.assert_array_equal(large[::3, ::3], pixels)
    assert reduced(large, 5).shape == (3, 5, 3)
    import io

    with Image.open(io.BytesIO(png(pixels))) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), pixels)

"""The HTML report: right numbers, nothing of a user's taken for markup, one whole file."""

from __future__ import annotations

import os
import re
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from gate_records import META, fallen_band, make_profile, make_record

from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.report.figures import interval_text
from pytest_iaside.report.html import render, write_html
from pytest_iaside.report.numbers import fixed, percent, signed
from pytest_iaside.report.record import GateRecord

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = "<script>alert(1)</script>\"'`</style></script>{{ 7*7 }}\u202e\x00\ud800\n" + "x" * 300


class Page(HTMLParser):
    """Reads a page, checks that every element is closed in order, and keeps what it holds."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] not in ("style", "script"):
            self.texts.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_numbers_of_a_red_gate_are_there(red: GateRecord) -> None:
    page = Page(render([red], meta=META))
    comparison = red["comparison"]
    texts = set(page.texts)
    assert "1 of 1 gate failed" in texts
    assert red["summary"] in texts
    assert {red["accept"], red["reproduce"]} <= texts
    for role in ("baseline", "candidate"):
        profile = comparison[role]["spectral"]
        assert fixed(profile["signed_src"]) in texts
        for what in ("psi", "sid"):
            assert {fixed(value) for value in profile[what]} <= texts
            bounds = profile["intervals"][what]
            assert {
                f"{fixed(low)}…{fixed(high)}"
                for low, high in zip(bounds["low"], bounds["high"], strict=True)
            } <= texts
        assert {fixed(value) for value in profile["by_size"]} <= texts
    assert {signed(band["change"]) for band in comparison["quantities"]} <= texts
    assert texts >= {"▼ fell", "<0.001", "15,360 forward passes", "53 s", "4.750", "−0.230"}
    # ψ −0.05 → −0.23 nats is 2.8 % of the baseline's v(all) of 6.5 nats; 1 % is allowed.
    assert texts >= {"ψ of band 5 (0.31–0.38 cycles/px), nats", "−2.8% of v(all)", "−1.0%"}
    assert texts >= {"2.14.1", "2.15.0", "≠ differs", "1 differs"}


def test_gates_stand_worst_first(
    red: GateRecord, green: GateRecord, new: GateRecord, refused: GateRecord
) -> None:
    page = Page(render([green, new, refused, red], meta=META))
    assert "2 of 4 gates failed" in page.texts
    articles = [one["class"] for one in page.all("article")]
    assert articles == [
        "gate is-drift failed",
        "gate is-refused failed",
        "gate is-created",
        "gate is-pass",
    ]
    targets = {one["href"] for one in page.all("a")} - {"#gates"}
    links = {f"#gate-{number}-name" for number in range(1, 5)}
    # And from a red gate to its own checks.
    assert targets == links | {"#gate-1-checks"}
    assert targets <= {f"#{attributes.get('id')}" for _, attributes in page.elements}


def test_the_two_kinds_of_green_are_told_apart(green: GateRecord) -> None:
    shown = "Pass: shown to be within what is allowed."
    unsure = "Nothing found: not shown to be within what is allowed, but a harmful change would"
    for verdict, told, other in (("pass", shown, unsure), ("nothing found", unsure, shown)):
        source = render([{**green, "verdict": verdict}], meta=META)
        assert told in source and other not in source
        assert f"gate is-{verdict.replace(' ', '-')}" in source


def test_what_the_browser_needs(red: GateRecord, green: GateRecord) -> None:
    source = render([red, green], meta=META)
    page = Page(source)
    assert page.all("html") == [{"lang": "en"}]
    identifiers = [one["id"] for _, one in page.elements if one.get("id")]
    assert len(identifiers) == len(set(identifiers))
    named = [one.get("aria-labelledby") for _, one in page.elements]
    assert {name for names in named for name in (names or "").split()} <= set(identifiers)
    assert all(one["href"].startswith("#") for one in page.all("a") + page.all("use"))  # type: ignore[union-attr]  # every one has it
    sources = [one["src"] or "" for _, one in page.elements if "src" in one]
    assert sources and all(one.startswith("data:image/png;base64,") for one in sources)
    assert not re.search(r"url\(|@import|<link", source)
    charts = re.findall(r"<svg xmlns.*?</svg>", source, flags=re.DOTALL)
    assert len(charts) == 10
    for chart in charts:
        ElementTree.fromstring(chart)


def test_edge_cases_say_none_rather_than_nan(edge_cases: dict[str, GateRecord]) -> None:
    for name, record in edge_cases.items():
        # The sentences are the comparison's own.
        source = render([{**record, "summary": ""}], meta=META)
        texts = Page(source).texts
        assert not any(re.search(r"\b(nan|inf|None)\b", text) for text in texts), name
        assert len(re.findall("<svg xmlns", source)) == 5, name
    source = render([edge_cases["degenerate_new"]], meta=META)
    assert "candidate: all ψ equal, no SID" in source
    assert "The profile is unstructured: ψ differs between bands by 0 nats" in source
    source = render([edge_cases["every_limit"]], meta=META)
    assert {"≥ 0.460", "±0.020", "±5.0%"} <= set(Page(source).texts)


def test_user_text_is_never_markup(red: GateRecord) -> None:
    plain = Page(render([red], meta=META))
    profile = {**red["comparison"]["candidate"], "environment": {HOSTILE: HOSTILE}}
    profile["model"] = {**profile["model"], "name": HOSTILE}
    hostile = {
        **red,
        **dict.fromkeys(("test", "baseline", "summary", "accept", "reproduce"), HOSTILE),
        "name": HOSTILE,
        "comparison": {**red["comparison"], "candidate": profile, "notes": [HOSTILE]},
    }
    source = render([hostile], meta={**META, HOSTILE: HOSTILE})
    page = Page(source)
    assert len(page.all("script")) == 1 and len(page.all("style")) == 1
    assert len(page.all("svg")) == len(plain.all("svg"))
    assert "<script>alert" not in source
    assert {one for one in source if not one.isprintable()} == {"\n"}
    shown = HOSTILE.encode("unicode_escape").decode("ascii")
    assert shown in page.texts


def test_size_without_pictures(red: GateRecord) -> None:
    source = render([red] * 6, meta=META)
    assert len(source.encode()) < 310_000
    script = re.findall(r"<script>(.*?)</script>", source, flags=re.DOTALL)
    assert len(script) == 1 and len(script[0]) < 15_000


def test_images_behind_a_change(red: GateRecord) -> None:
    """Each with its thumbnail, its part of the change and its own ψ."""
    changes = red["comparison"]["image_changes"]
    thumbnails = {image["digest"]: f"png{n}" for n, image in enumerate(changes["images"])}
    pictures = {
        "thumbnails": thumbnails,
        "examples": [{"digest": "", "name": "0.jpg", "pictures": {"whole": "aaa", "low": "bbb"}}],
        "parts": {"low": [0, 1, 2], "middle": [3, 4, 5], "high": [6, 7]},
        "size": [112, 112],
        "cropped": True,
    }
    page = Page(render([{**red, "pictures": pictures}], meta=META))
    texts = page.texts
    assert (
        "The 12 of 60 images that add most to the change of ψ of band 5 (0.31–0.38 cycles/px) "
        f"({signed(changes['change'])} nats), the most harmful first."
    ) in texts
    assert "answered right, probability of the label" not in texts  # Not known of this one.
    for image in changes["images"]:
        assert image["name"] in texts
        assert signed(image["contribution"], 4) in texts
        for before, after in zip(image["baseline_psi"], image["candidate_psi"], strict=True):
            assert f"{fixed(before, 2)} → {fixed(after, 2)}" in texts
    shown = [one["src"] for one in page.all("img")]
    assert shown[:12] == [f"data:image/png;base64,png{n}" for n in range(12)]
    assert shown[20:] == ["data:image/png;base64,aaa", "data:image/png;base64,bbb"]
    labels = red["comparison"]["candidate"]["spectral"]["band_labels"]
    alternatives = [one["alt"] for one in page.all("img")]
    assert alternatives[12:] == [
        *(f"band {band}: {label}" for band, label in enumerate(labels)),
        "0.jpg: all bands",
        "0.jpg: low: bands 0–2",
    ]


def test_images_behind_a_change_with_their_answers(red: GateRecord) -> None:
    told = deepcopy(red)
    for image in told["comparison"]["image_changes"]["images"]:
        image |= {"baseline_right": True, "baseline_probability": 0.934}
        image |= {"candidate_right": False, "candidate_probability": 0.12}
    texts = Page(render([told], meta=META)).texts
    assert "answered right, probability of the label" in texts
    assert "✓ 0.93 → ✗ 0.12" in texts


def test_nothing_measured() -> None:
    assert "No gate ran" in Page(render([], meta=META)).texts


class TestWrite:
    def test_makes_folders_and_replaces(self, tmp_path: Path, new: GateRecord) -> None:
        path = tmp_path / "a" / "b" / "index.html"
        assert write_html([], path, meta=META) == path
        assert write_html([new], path, meta=META) == path
        assert path.read_text(encoding="utf-8") == render([new], meta=META)
        assert [one.name for one in path.parent.iterdir()] == ["index.html"]
        assert path.stat().st_mode & 0o777 == 0o644

    def test_unwritable(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("kept")
        with pytest.raises(SpectralRobustnessError, match="choose another path with --iaside-re"):
            write_html([], tmp_path / "file" / "index.html", meta=META)
        assert (tmp_path / "file").read_text() == "kept"

    def test_killed_while_replacing_keeps_the_old(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "index.html"
        path.write_text("old")

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(SpectralRobustnessError, match="No space left on device"):
            write_html([], path, meta=META)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


def test_a_new_baseline_is_not_compared_with_itself(edge_cases: dict[str, GateRecord]) -> None:
    created = {"status": "created", "verdict": None, "summary": "created a.yaml"}
    record = {**edge_cases["unstructured"], **created}
    page = Page(render([record], meta=META))
    (sentence,) = {text for text in page.texts if text.startswith("created a.yaml")}
    assert "; unstructured: ψ differs between bands by 2e-06 nats" in sentence
    assert not {"Checks", "≠ differs", "paired"} & set(page.texts)


def test_record_without_comparison_or_profile() -> None:
    record = make_record(None, summary="cannot read it", accept="", reproduce="")
    page = Page(render([record], meta=META))
    assert "cannot read it" in page.texts
    assert page.all("figure") == [] and page.all("pre") == []


def test_a_new_baseline_of_another_kind_shows_how_it_was_measured(perturbed: GateRecord) -> None:
    page = Page(
        render([{**perturbed, "status": "created", "verdict": None, "failed": False}], meta=META)
    )
    texts = set(page.texts)
    assert {"created", "settings: temperature", "Spectrum of the images"} <= texts
    assert not {"Checks", "Change of mPE", "≠ differs"} & texts


def test_the_sid_has_the_signs_of_its_sentence() -> None:
    """A table that says what is left below a frequency would turn them round."""
    baseline = make_profile()
    record = make_record(fallen_band(baseline, band=0, by=2.0), baseline)
    assert record["comparison"] is not None
    (sid,) = [check for check in record["comparison"]["checks"] if check["name"] == "sid"]
    text = render([record], meta=META).split("importance above ")[1].partition("</tr>")[0]
    cells = [cell.partition("</td>")[0] for cell in text.split("<td>")[1:]]
    assert sid["sentence"].startswith(cells[2].removeprefix("+"))
    assert cells[2:5] == [
        percent(-(sid["change"] or 0.0)),
        interval_text(-(sid["high"] or 0.0), -(sid["low"] or 0.0), percent),
        "+5.0%",
    ]

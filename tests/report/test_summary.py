"""Terminal table, markdown and JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from gate_records import META
from hypothesis import given
from hypothesis import strategies as st

from pytest_iaside.report.columns import cells, shorten
from pytest_iaside.report.gates import gates
from pytest_iaside.report.json_document import json_document
from pytest_iaside.report.markdown import markdown
from pytest_iaside.report.record import GateRecord
from pytest_iaside.report.terminal import terminal_lines

HOSTILE = "tests/t.py::test_x[a|b<script>`c`]\n@octocat \x1b[31m" + "長" * 100


def named(record: GateRecord, test: str, **changes: Any) -> dict[str, Any]:
    return {**record, "test": test, **changes}


class TestTerminal:
    def test_whole_table(self, red: GateRecord, green: GateRecord, new: GateRecord) -> None:
        lines = terminal_lines(
            [named(green, "t.py::b"), named(new, "t.py::c"), named(red, "t.py::a", name="x")],
            width=80,
            color=False,
        )
        check = next(c for c in red["comparison"]["checks"] if c["name"] == "src")
        change = f"{check['change']:+.3f} ({check['low']:+.3f}…{check['high']:+.3f})"
        change = change.replace("-", "−")
        assert lines[:2] == [
            "gate      signed SRC  change (95% CI)         verdict    forward  time",
            f"a · x  0.346 → 0.357  {change}  ✗ drift      15.4k  53 s",
        ]
        assert lines[2] == (
            "c            → 0.346                          + created    15.4k  53 s"
        )
        assert lines[3].startswith("b      0.346 → 0.346  ")
        assert "  ✓ pass  " in lines[3]
        assert lines[4:6] == ["", "✗ a · x:"]
        assert " ".join(line.strip() for line in lines[6:]) == red["summary"]

    @pytest.mark.parametrize("width", [80, 100, 132, 200])
    def test_no_line_is_too_long(
        self, red: GateRecord, edge_cases: dict[str, GateRecord], refused: GateRecord, width: int
    ) -> None:
        records = [red, refused, *edge_cases.values(), named(red, HOSTILE)]
        lines = terminal_lines(records, width=width, color=False)
        assert max(map(cells, lines)) <= width
        assert all(line.isprintable() for line in lines)

    def test_long_names_stand_above_their_numbers(self, red: GateRecord) -> None:
        lines = terminal_lines([named(red, "t.py::test_" + "n" * 60)], width=80, color=False)
        assert lines[1] == "test_" + "n" * 60
        assert lines[2].startswith("      0.346 → 0.357  +0.011")
        assert lines[0].index("signed SRC") + len("signed SRC") == lines[2].index("0.357") + 5

    def test_longer_ones_are_cut_in_the_middle(self, red: GateRecord) -> None:
        test = "t.py::test_first[" + "n" * 200 + "last]"
        line = terminal_lines([named(red, test)], width=80, color=False)[1]
        assert len(line) == 80
        assert line.startswith("test_first[nnn") and line.endswith("nnnlast]") and "…" in line

    def test_a_path_is_never_broken_in_its_middle(self, red: GateRecord) -> None:
        """So that it can be copied, however long it is."""
        path = "tests/robustness/__iaside__/test_my_reader/" + "of_digits_" * 8 + ".yaml"
        record = {**red, "verdict": None, "summary": f"there is no baseline {path} yet"}
        record |= {"status": "refused", "comparison": None}
        lines = terminal_lines([record], width=80, color=False)
        assert sum(path in line for line in lines) == 1

    def test_same_names_of_two_files_are_told_apart(self, green: GateRecord) -> None:
        records = [named(green, "a.py::test[x::y]"), named(green, "b.py::test[x::y]")]
        lines = terminal_lines(records, width=120, color=False)
        assert [line.split("  ")[0] for line in lines[1:]] == [
            "a.py::test[x::y]",
            "b.py::test[x::y]",
        ]

    def test_colour_only_when_asked(self, red: GateRecord, green: GateRecord) -> None:
        plain = terminal_lines([red, green], width=120, color=False)
        painted = terminal_lines([red, green], width=120, color=True)
        assert "\x1b" not in "".join(plain)
        assert "\x1b[31m✗ drift\x1b[0m" in painted[1] and "\x1b[32m✓ pass " in painted[2]
        assert [re.sub(r"\x1b\[\d+m", "", line) for line in painted] == plain

    def test_why_a_passing_comparison_fails(self, green: GateRecord) -> None:
        record = named(green, "t.py::a", failed=True, fail_on="any-change")
        lines = terminal_lines([record], width=100, color=False)
        assert "≠ changed" in lines[1]
        assert " ".join(lines).endswith("(fails under fail_on=any-change)")

    def test_nothing_measured(self) -> None:
        assert terminal_lines([], width=80, color=False) == []


class TestMarkdown:
    def test_whole(self, red: GateRecord, green: GateRecord) -> None:
        text = markdown([green, red])
        assert text.startswith(
            "## Spectral robustness: 1 of 2 gates failed\n\n1 drift, 1 pass\n\n"
            "| gate | signed SRC | change (95% CI) | verdict | passes | time |\n"
        )
        rows = [line for line in text.splitlines() if line.startswith("| <code>")]
        assert rows[0].startswith(
            "| <code>test_classifier_keeps_its_robustness</code> | 0.346 → 0.357 | +0.011 ("
        )
        assert rows[0].endswith("| ✗ **drift** | 15.4k | 53 s |")
        assert rows[1].startswith("| <code>test_other</code> | ") and "✓ pass" in rows[1]
        assert text.count("\n### ") == 1
        assert f"```sh\n{red['accept']}\n```" in text
        assert "\n- drift: band 5 (0.31–0.38 cycles/px) −2.8% of v(all)" in text

    def test_user_text_is_escaped(self, red: GateRecord) -> None:
        changes = {"name": "__n__ *b*", "summary": HOSTILE, "accept": "a ```` b"}
        text = markdown([named(red, HOSTILE, **changes)])
        assert "<script>" not in text.replace(red["reproduce"], "")
        assert "a&#124;b&#60;script&#62;&#96;c&#96;" in text
        assert "@octocat" not in text and "\x1b" not in text
        assert " · \\_\\_n\\_\\_ \\*b\\*</code>" in text
        assert "`````sh\na ```` b\n`````" in text
        (row,) = [line for line in text.splitlines() if line.startswith("| <code>")]
        assert row.count("|") == 7

    def test_stays_under_64_kb_and_says_what_is_left_out(self, red: GateRecord) -> None:
        records = [named(red, f"t.py::test_{'長' * 90}{number}") for number in range(900)]
        text = markdown(records)
        assert len(text.encode()) <= 64_000
        rows = text.count("\n| <code>")
        assert f"… and {900 - rows} more gates" in text
        details = text.count("\n### ")
        assert details > 5
        assert f"… and {900 - details} more failed gates" in text

    def test_every_band_before_and_now(self, red: GateRecord, green: GateRecord) -> None:
        rows = [line for line in markdown([red]).splitlines() if line.startswith("| band ")]
        bands = [each for each in red["comparison"]["quantities"] if each["family"] == "band"]
        assert len(rows) == len(bands) == 8
        first = bands[0]
        assert rows[0].startswith(
            f"| {first['name']} | {first['baseline']:.3f} | {first['candidate']:.3f} | "
        )
        assert [row.endswith("| **moved** |") for row in rows] == [b["moved"] for b in bands]
        assert "| band 0" not in markdown([green])

    def test_nothing_measured(self) -> None:
        assert markdown([]) == "## Spectral robustness: no gate ran\n"


class TestJson:
    def test_valid_and_whole(self, edge_cases: dict[str, GateRecord], red: GateRecord) -> None:
        document = json_document([edge_cases["degenerate"], red], meta=META)
        back = json.loads(json.dumps(document, allow_nan=False))
        assert back == document
        assert document["format"] == "iaside-report/3"
        assert document["failed"] is True and document["counts"] == {"drift": 2}
        assert document["meta"] == META
        candidates = [gate["comparison"]["candidate"] for gate in document["gates"]]
        by_test = dict(zip((gate["test"] for gate in document["gates"]), candidates, strict=True))
        assert by_test["tests/test_edge.py::test_degenerate"]["spectral"]["signed_src"] is None
        assert by_test[red["test"]] == red["comparison"]["candidate"]

    def test_one_image_has_no_bounds(self, edge_cases: dict[str, GateRecord]) -> None:
        (gate,) = json_document([edge_cases["one_image_new"]], meta={})["gates"]
        assert gate["measurement"]["spectral"]["intervals"]["value"] == {"low": None, "high": None}

    def test_a_lone_surrogate_can_be_written(self, new: GateRecord) -> None:
        document = json_document([named(new, "t.py::\ud800")], meta={})
        assert document["gates"][0]["test"] == "t.py::\\ud800"
        json.dumps(document, ensure_ascii=False).encode()


@given(st.text(max_size=60), st.integers(0, 40))
def test_shorten_fits(text: str, room: int) -> None:
    short = shorten(text, room)
    assert cells(short) <= room
    assert short == text or cells(text) > room


def test_shorten_keeps_both_ends() -> None:
    assert shorten("abcdefghij", 7) == "abc…hij"
    assert shorten("abcdefghij", 6) == "abc…ij"
    assert shorten("長い名前", 5) == "長…前"


def test_text_reports_import_nothing_heavy() -> None:
    code = (
        "import sys; from pytest_iaside.report import json_document, markdown, terminal;"
        "print(sorted({'numpy', 'torch', 'scipy', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_refused_profile_says_why_once(edge_cases: dict[str, GateRecord]) -> None:
    profile = edge_cases["degenerate_new"]["measurement"]["spectral"]
    record = {
        **edge_cases["degenerate_new"],
        "status": "refused",
        "failed": True,
        "summary": f"this profile makes no baseline: {profile['unstructured_because']}",
    }
    text = " ".join(line.strip() for line in terminal_lines([record], width=80, color=False))
    assert text.count(profile["unstructured_because"]) == 1


def test_a_gate_of_another_kind_shows_the_quantity_that_decides(
    perturbed: GateRecord, green: GateRecord
) -> None:
    lines = terminal_lines([perturbed, green], width=160, color=False)
    head, first, second = lines[:3]
    assert " score " in head and "signed SRC" not in head
    assert first.startswith("test_perturbed · perturbations: mPE under white_noise 3 ")
    check = perturbed["comparison"]["checks"][0]
    assert f"{check['baseline']:.3f} → {check['candidate']:.3f}" in first
    assert f"{check['change']:+.3f} ({check['low']:+.3f}…{check['high']:+.3f})" in first
    assert second.startswith("test_other ")
    text = markdown([perturbed, green])
    assert "| gate | score | change (95% CI) | verdict |" in text
    assert "mPE under white_noise 3</code> | 0.200 → 0.3" in text


def test_wings_import_nothing_heavy() -> None:
    code = (
        "import sys; from pytest_iaside.report.wings import wings;"
        "print(*(wing.name for wing in wings()));"
        "print(sorted({'numpy', 'torch', 'scipy', 'jinja2', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["explanation study trend", "[]"]


def test_reports_are_drawn_without_torch(
    red: GateRecord, perturbed: GateRecord, diagnosed: GateRecord, declined: GateRecord
) -> None:
    records = json.dumps([red, perturbed, diagnosed, declined])
    code = (
        "import json, sys; from pytest_iaside.report.html import render;"
        f"source = render(json.load(sys.stdin), meta={META!r});"
        "print(source.count('<article'), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=records, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "False"]


def test_a_quantity_that_the_label_names_is_not_named_again(red: GateRecord) -> None:
    check = {**red["comparison"]["checks"][1], "where": "reconstruction depth", "name": "depth"}
    comparison = {**red["comparison"], "checks": [check]}
    spectral = {"spectral": None}
    for role in ("candidate", "baseline"):
        comparison[role] = {**comparison[role], **spectral}
    record = named(red, "t.py::a", name="reconstruction depth", comparison=comparison)
    (gate,) = gates([record])
    assert gate.full_label == "a · reconstruction depth"
    (other,) = gates([named(record, "t.py::a", name="b")])
    assert other.full_label == "a · b: reconstruction depth"

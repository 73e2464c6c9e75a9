"""Names, labels and errors that command a terminal, turn its text around, or break a document."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

# pytester forgets, after each run in process, the modules that the run imported.
import pytest_iaside.report.html
import pytest_iaside.report.terminal
import pytest_iaside.testing.spectral  # noqa: F401
from pytest_iaside import ReferenceSample, errors
from pytest_iaside.cli.main import main
from pytest_iaside.errors import SpectralRobustnessError, quoted, visible
from pytest_iaside.report.printing import PLAIN, fitting, tell
from pytest_iaside.store.cache import Entry, Found, ResultCache

NAMES: dict[str, str] = {
    "colours": "\x1b[31mred\x1b[0m",
    "a title": "\x1b]0;owned\x07",
    "a link": "\x1b]8;;http://x\x1b\\click\x1b]8;;\x1b\\",
    "a cleared screen": "\x1b[2J\x1b[H",
    "a line written over": "failed\rpassed",
    "backspaces": "bad\b\b\bgood",
    "a bell": "ding\x07",
    "a line break": "one\ntwo",
    "a vertical tab": "one\x0btwo",
    "a zero byte": "one\x00two",
    "C1 controls": "one\x9b31mtwo",
    "a delete": "one\x7ftwo",
    "turned around": "gate\u202egnp.exe",
    "isolated": "\u2066\u2067x\u2069",
    "no width": "a\u200bb\ufeffc",
    "a line separator": "one\u2028two\u2029three",
    "a lone surrogate": "one\udcfftwo",
    "no character": "one\uffff\U0001f800two",
    "markup": "</script><img src=x onerror=alert(1)>",
    "a cell": "a|b`c`<b>@team</b>",
    "CDATA": "]]>&amp;<!--",
    "a template": "{{ 7*7 }}{% raw %}",
    "5,000 letters": "x" * 5000,
}
# Categories of characters that no line of text has: controls, formats, surrogates, separators.
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def unseen(text: str) -> set[str]:
    return {c for c in text if c != "\n" and unicodedata.category(c) in UNSEEN}


@pytest.mark.parametrize("name", list(NAMES))
def test_an_error_s_message_is_safe_to_show(name: str) -> None:
    for kind in (SpectralRobustnessError, errors.ModelError, errors.BaselineError):
        text = str(kind(f"{NAMES[name]}: found that\nexpected this"))
        assert unseen(text) == set()
        assert text.endswith("expected this")
        assert max(map(len, text.split("\n"))) <= errors.LONGEST_LINE


@pytest.mark.parametrize("name", list(NAMES))
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii", "cp437", "latin-1", "shift_jis"])
def test_any_stream_can_take_it(name: str, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    tell(f"ψ −0.3 ± 0.1 … {NAMES[name]}", to=stream)
    written = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]  # BytesIO
    assert unseen(written) == set()
    assert written.startswith(
        "ψ" if encoding in ("utf-8", "shift_jis") else "psi" if encoding != "cp437" else ""
    )


def test_symbols_have_words() -> None:
    ascii_stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert fitting("ψ −0.5…+0.5 × 3 → ✗ é", ascii_stream) == "psi -0.5...+0.5 x 3 -> x \\xe9"
    assert all(plain.isascii() for plain in PLAIN.values())
    unknown = io.StringIO()
    assert fitting("ψ", unknown) == "ψ"


VALUES: dict[str, Any] = {
    "a number of 5,000 digits": 10**5000,
    "a megabyte": "x" * 10**6,
    "escapes in a list": ["\x1b[31m"],
    "a mark in a dict": {"a": "\u202e"},
    "bytes": b"\xff" * 999,
}


@pytest.mark.parametrize("name", list(VALUES))
def test_what_is_quoted_is_short(name: str) -> None:
    text = quoted(VALUES[name])
    assert len(text) < 400 and unseen(text) == set()


def test_a_value_that_is_its_own_part() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("no")

    assert quoted(Odd()) == "a Odd that cannot be shown"
    assert visible("a\nb") == "a\nb"


PROJECT = """
import json, os, pytest, torch
from pytest_iaside import ReferenceSample, Classifier, assert_spectral_robustness

NAME = json.loads(os.environ["ODD_NAME"])
GRID = torch.arange(16) / 16
WAVES = torch.stack([torch.cos(2 * torch.pi * k * GRID) for k in (1, 3, 7)])

def reference():
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(24) % 3
    images = 0.5 + 0.2 * WAVES[classes][:, None, None, :].expand(24, 1, 16, 16)
    images = (images + 0.05 * torch.randn(24, 1, 16, 16, generator=generator)).clamp(0, 1)
    return ReferenceSample(images, classes, names=[f"{NAME}{i}" for i in range(24)])

def network(images):
    gain = torch.tensor([2.0, 2.0 * float(os.environ["ODD_GAIN"]), 2.0])
    return (images.mean(dim=(1, 2)) @ WAVES.T) * gain

@pytest.mark.parametrize("given", [NAME])
def test_robust(given):
    model = Classifier(network, name=NAME, version=os.environ["ODD_GAIN"])
    name = NAME or None
    assert_spectral_robustness(model, reference(), name=name, bands=4, max_value_drop=0.05)
"""


@pytest.mark.parametrize("name", list(NAMES))
def test_every_report_of_a_red_gate_is_whole(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for each in ("CI", "BUILD_NUMBER", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("ODD_NAME", json.dumps(NAMES[name][:300]))
    pytester.makepyfile(test_it=PROJECT)
    quick = ("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:html", "-W", "ignore")
    monkeypatch.setenv("ODD_GAIN", "1.0")
    pytester.runpytest_inprocess(*quick, "--iaside-update=new").assert_outcomes(passed=1)
    monkeypatch.setenv("ODD_GAIN", "0.3")
    exports = ("--junitxml=j.xml", "--iaside-json=s.json", "--iaside-markdown=c.md")
    result = pytester.runpytest_inprocess(
        *quick, *exports, "--iaside-report=r.html", "--iaside-diagnose=0", "--color=no", "-rN"
    )
    result.assert_outcomes(failed=1)
    shown = result.stdout.str()
    ours = shown[shown.index("= spectral robustness =") :]
    assert unseen(ours) == set()
    assert unseen("\n".join(x for x in shown.split("\n") if x.startswith("E "))) == set()
    (case,) = ElementTree.parse(pytester.path / "j.xml").iter("testcase")
    assert case.find("failure") is not None
    document = json.loads((pytester.path / "s.json").read_text(encoding="utf-8"))
    assert document["failed"] is True
    page = (pytester.path / "r.html").read_text(encoding="utf-8")
    assert unseen(page) == set()
    assert "<img src=x" not in page
    if name == "a template":
        assert "{{ 7*7 }}" in page
    markdown = (pytester.path / "c.md").read_text(encoding="utf-8")
    assert unseen(markdown) == set()
    prose = re.sub(r"^(`{3,})sh\n.*?^\1$", "", markdown, flags=re.M | re.S)  # without commands
    assert "<img" not in prose and "@team" not in prose


def test_what_a_model_raises(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("\x1b[31mno\u202e memory\x1b[0m\n" + "x" * 9000)

    sample = ReferenceSample(np.zeros((4, 3, 8, 8), np.float32), [0, 1, 0, 1])
    from pytest_iaside import measure

    with pytest.raises(errors.ModelError) as raised:
        measure(broken, sample, bands=3)
    assert unseen(str(raised.value)) == set()
    assert len(str(raised.value)) < 3000


COMPARE = """
import sys
from pytest_iaside.cli.main import main
sys.exit(main(["compare", "a.yaml", "b.yaml"]))
"""
COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "compare": lambda _: ["compare", "\x1b[31ma.yaml", "b.yaml"],
    "measure": lambda _: ["measure", "x:y", "\x1b[31m", "--output", "z.yaml"],
    "track": lambda _: ["track", "\x1b[31m*.pt", "--model", "x:y", "--reference", "z"],
    "cache": lambda _: ["cache"],
}


@pytest.mark.parametrize("command", list(COMMANDS))
def test_commands_show_what_they_were_given(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Found({"x": np.zeros(3)}, {})
    ResultCache().put("game", "\x1b[31mtitle\nmore", [Entry("a", "0")], ["0"], [one])
    main(COMMANDS[command](tmp_path))
    written = capsys.readouterr()
    assert unseen(written.out + written.err) == set()
    assert "\\x1b[31m" in written.out + written.err
    assert "\nmore" not in written.out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_the_command_ends_well_on_a_terminal_without_symbols(tmp_path: Path, encoding: str) -> None:
    from profiles import make_profile

    for name, seed in (("a", 0), ("b", 1)):
        make_profile(images=20, seed=seed).save(tmp_path / f"{name}.yaml")
    ended = subprocess.run(
        [sys.executable, "-c", COMPARE],
        cwd=tmp_path,
        env={"PYTHONIOENCODING": f"{encoding}:strict", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
    )
    assert ended.returncode in (0, 1), ended.stderr.decode()
    assert b" -> " in ended.stdout and b"Traceback" not in ended.stderr

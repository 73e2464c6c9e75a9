"""The example project, as ``make demo`` runs it: green where it must be, red where it must be."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[1] / "example_project"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example project, so that reports and changes stay out of the repository."""
    # What the session around it was started with is not meant for this one.
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    ignored = shutil.ignore_patterns("zoo", "iaside-report", "__pycache__", ".pytest_cache")
    return Path(shutil.copytree(EXAMPLE, tmp_path / "example", ignore=ignored))


def demo(example: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "demo.py", *options]
    return subprocess.run(
        command, cwd=example, capture_output=True, encoding="utf-8", check=False, timeout=900
    )


def gates(example: Path, folder: str) -> list[dict[str, Any]]:
    text = (example / "iaside-report" / f"{folder}.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["gates"]
    return found


def test_the_demo_is_green_and_then_red(example: Path) -> None:
    done = demo(example)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "models as they are: pass, pass: green" in done.stdout
    assert "worse models:       drift, drift: red" in done.stdout
    report = example / "iaside-report" / "index.html"
    assert f"report, for any browser: {report}" in done.stdout
    page = report.read_text(encoding="utf-8")
    for gate in gates(example, "candidates"):
        assert gate["test"].rpartition("::")[2] in page
    # The committed baselines were made on another machine: what is left is rounding.
    for gate in gates(example, "tests"):
        new, old = (
            gate["comparison"][side]["spectral"]["psi"] for side in ("candidate", "baseline")
        )
        assert new == pytest.approx(old, abs=1e-3)


DRIFTS = (1, ["drift", "drift"])


@pytest.mark.parametrize(
    ("tests", "candidates", "code", "told"),
    [
        ((0, ["pass", "pass"]), DRIFTS, 0, "worse models:       drift, drift: red"),
        ((1, ["refused", "pass"]), DRIFTS, 1, "models as they are: refused, pass: NOT GREEN"),
        ((0, []), DRIFTS, 1, "models as they are: none: NOT GREEN"),
        ((0, ["pass"]), (0, ["pass"]), 1, "worse models:       pass: NOT RED"),
        ((0, ["pass", "pass"]), (1, ["drift"]), 1, "worse models:       drift: NOT RED"),
        ((0, ["pass", "pass"]), (2, ["drift", "drift"]), 1, "drift, drift: NOT RED"),
    ],
)
def test_the_demo_fails_where_green_is_not_green_or_red_not_red(
    tests: Any,
    candidates: Any,
    code: int,
    told: str,
    example: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    demo = runpy.run_path(str(example / "demo.py"))
    held = demo["main"].__globals__
    report = held["REPORTS"] / "index.html"

    def run(folder: str, options: list[str]) -> tuple[int, list[str]]:
        report.parent.mkdir(exist_ok=True)
        report.touch()
        found: tuple[int, list[str]] = {"tests": tests, "candidates": candidates}[folder]
        return found

    monkeypatch.setitem(held, "run", run)
    assert demo["main"]([]) == code
    assert told in capsys.readouterr().out

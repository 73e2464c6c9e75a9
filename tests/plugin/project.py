"""A small project to run pytest in, and what its tests do in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from wave_models import CONFTEST, MODELS

# pytester forgets, after each run in process, the modules that the run imported; torch cannot
# be imported twice.
import pytest_iaside.report.html
import pytest_iaside.report.terminal
import pytest_iaside.testing.spectral  # noqa: F401

# Hypothesis' plugin imports all of hypothesis at the end of each run, that of pytest-html jinja2 at
# the start.
OTHERS_OFF = ("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:html")

TEST = """
import models
from pytest_iaside import assert_spectral_robustness

def test_robust():
    assert_spectral_robustness(models.model)
"""


class Project:
    """A project whose model is as good as ``gain`` says."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        self.monkeypatch = monkeypatch
        self.root = pytester.path
        pytester.makepyfile(models=MODELS, conftest=CONFTEST, test_it=TEST)
        self.ini()

    def ini(self, *lines: str) -> None:
        """The ini file; where ``lines`` do not say, its limits are narrow enough for GAIN."""
        usual = ("iaside_bands = 4", "iaside_max_value_drop = 0.05", "iaside_max_band_drop = 0.01")
        given = [line.partition(" =")[0] for line in lines]
        rest = [line for line in usual if line.partition(" =")[0] not in given]
        self.pytester.makeini("\n".join(["[pytest]", *rest, *lines]))

    def write(self, source: str, module: str = "test_it") -> None:
        self.pytester.makepyfile(**{module: source})

    def call(self, arguments: str = "models.model", test: str = "test_robust") -> None:
        """A test file with one test that asserts with ``arguments``."""
        self.write(
            "import models, pytest\nfrom pytest_iaside import assert_spectral_robustness\n"
            f"def {test}():\n    assert_spectral_robustness({arguments})\n"
        )

    def run(self, *arguments: str, gain: float = 1.0) -> pytest.RunResult:
        self.monkeypatch.setenv("GAIN", str(gain))
        return self.pytester.runpytest_inprocess(*OTHERS_OFF, *arguments)

    def records(self, *arguments: str, gain: float = 1.0) -> list[dict[str, Any]]:
        """Run, and read the records of the run's JSON."""
        self.run("--iaside-json=out.json", *arguments, gain=gain)
        document = json.loads((self.root / "out.json").read_text())
        return document["gates"]

    @property
    def baselines(self) -> list[Path]:
        return sorted(self.root.rglob("__iaside__/*/*.yaml"))

    @property
    def baseline(self) -> Path:
        (path,) = self.baselines
        return path

    def contents(self) -> dict[str, bytes]:
        """Every file of the baseline store."""
        files = self.root.rglob("__iaside__/*/*")
        return {str(file.relative_to(self.root)): file.read_bytes() for file in files}

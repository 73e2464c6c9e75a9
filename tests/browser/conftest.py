"""A browser without network, two reports to open in it, and what went wrong while they were."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gate_records import (
    META,
    declined,
    diagnosed,
    edge_cases,
    green,
    make_record,
    new,
    perturbed,
    red,
    refused,
)
from playwright.sync_api import Browser, Locator, Page
from project import OTHERS_OFF
from wave_models import CONFTEST, MODELS

from pytest_iaside.report.html import write_html
from pytest_iaside.report.record import GateRecord

from . import chromium

__all__ = ["declined", "diagnosed", "edge_cases", "green", "new", "perturbed", "red", "refused"]

AXE = Path(sys.prefix) / "node_modules" / "axe-core" / "axe.min.js"
NOT_A_FILE = re.compile("^(?!file:|data:)")
HOSTILE = "<script>window.hacked=1</script>\"'`&"

PROJECT = f"""
import models, pytest
from pytest_iaside import assert_spectral_robustness

def steady(images):
    return 2 * (images.mean(dim=(1, 2)) @ models.WAVES.T)

def test_fallen():
    assert_spectral_robustness(models.model)

def test_steady():
    assert_spectral_robustness(steady)

@pytest.mark.parametrize("case", [pytest.param(0, id={HOSTILE!r})])
def test_new(case):
    assert_spectral_robustness(steady)
"""


@dataclass(frozen=True)
class Report:
    """A report and what it says: the word of each gate by its label, worst first."""

    path: Path
    words: dict[str, str]


@dataclass(frozen=True)
class Opened:
    """An open report: what its console said, and what it asked for beside the file itself."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def gate(self, label: str) -> Locator:
        """The part of the page about one gate."""
        return self.page.get_by_role("article", name=label, exact=True)

    def unfold(self) -> None:
        """Open everything that can be unfolded."""
        self.page.evaluate(
            "() => document.querySelectorAll('details').forEach(one => { one.open = true; })"
        )


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = chromium.find()
    if path is None:
        pytest.skip(f"none of {', '.join(chromium.NAMES)} is installed: make browser")
    with chromium.started(path) as browser:
        yield browser


@pytest.fixture
def open_report(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Opens a file without network; takes what Playwright's ``new_context`` takes."""
    with ExitStack() as stack:

        def open_report(path: Path, **options: Any) -> Opened:
            context = browser.new_context(offline=True, **options)
            stack.callback(context.close)
            context.set_default_timeout(5_000)
            context.route(NOT_A_FILE, lambda route: route.abort())
            opened = Opened(context.new_page())
            page = opened.page
            page.on("console", lambda message: opened.messages.append(message.text))
            page.on("pageerror", lambda error: opened.messages.append(str(error)))
            page.on("request", lambda request: opened.requests.append(request.url))
            page.goto(path.as_uri())
            assert opened.requests.pop(0) == path.as_uri()
            return opened

        yield open_report


@pytest.fixture(scope="package")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of a session with a gate that turned red, one that stayed green, and a new one."""
    folder = tmp_path_factory.mktemp("project")
    files = {"models": MODELS, "conftest": CONFTEST, "test_it": PROJECT}
    for name, source in files.items():
        (folder / f"{name}.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\niaside_bands = 4\niaside_max_band_drop = 0.01\n")
    unset = ("CI", "BUILD_NUMBER", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS")
    variables = {name: value for name, value in os.environ.items() if name not in unset}
    variables["IASIDE_CACHE_DIR"] = str(folder / "cache")
    command = [sys.executable, "-m", "pytest", *OTHERS_OFF, "--iaside-update=new"]
    for gain, arguments, code in (("1", ["-k", "not new"], 0), ("0.2", [], 1)):
        run = subprocess.run(
            [*command, *arguments, "--iaside-report=report.html"],
            cwd=folder,
            env={**variables, "GAIN": gain},
            capture_output=True,
            text=True,
        )
        assert run.returncode == code, run.stdout + run.stderr
    words = {"test_fallen": "drift", f"test_new[{HOSTILE}]": "created", "test_steady": "pass"}
    return Report(folder / "report.html", words)


@pytest.fixture(scope="package")
def recorded(
    tmp_path_factory: pytest.TempPathFactory,
    red: GateRecord,
    green: GateRecord,
    new: GateRecord,
    refused: GateRecord,
    edge_cases: dict[str, GateRecord],
) -> Report:
    """Of records: what is wide, what was refused, what a user may have named."""
    wide = edge_cases["sixteen_bands"]
    named = make_record(None, test=f"tests/test_{HOSTILE}.py::test_\u202e{HOSTILE}", name=HOSTILE)
    path = tmp_path_factory.mktemp("recorded") / "report.html"
    write_html([new, green, red, refused, wide, named], path, meta={**META, HOSTILE: HOSTILE})
    words = {
        "test_sixteen_bands": "drift",
        "test_classifier_keeps_its_robustness": "drift",
        "test_refused": "refused",
        f"test_\\u202e{HOSTILE} · {HOSTILE}": "refused",
        "test_new": "created",
        "test_other": "pass",
    }
    return Report(path, words)


@pytest.fixture(scope="package")
def explained(
    tmp_path_factory: pytest.TempPathFactory,
    perturbed: GateRecord,
    declined: GateRecord,
    diagnosed: GateRecord,
    new: GateRecord,
) -> Report:
    """Of gates on perturbations and on checkpoints, and one whose images are explained."""
    path = tmp_path_factory.mktemp("explained") / "report.html"
    named = {**new, "test": f"tests/test_it.py::test_{HOSTILE}"}
    write_html([perturbed, declined, diagnosed, named], path, meta=META)
    words = {
        "test_perturbed · perturbations": "drift",
        "test_declined": "drift",
        "test_diagnosed": "drift",
        f"test_{HOSTILE}": "created",
    }
    return Report(path, words)


@pytest.fixture(scope="package", params=["gated", "recorded", "explained"])
def report(request: pytest.FixtureRequest) -> Report:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="package")
def axe() -> str:
    """The source of axe-core."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make browser, which needs npm")
    return AXE.read_text(encoding="utf-8")

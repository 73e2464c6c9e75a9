"""Every block of the README and of the site's pages runs, or says visibly why it does not."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from pages import ROOT, Block, Runner, blocks, retrain, write_project

# pytester forgets, after each run in process, the modules that the run imported; torch cannot be
# imported twice.
import pytest_iaside.report.html
import pytest_iaside.report.terminal
import pytest_iaside.testing.spectral  # noqa: F401
from pytest_iaside.settings import INI_ONLY, SETTINGS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytest.importorskip("PIL")
DOCS = ROOT / "docs"
# Pages whose blocks have tests of their own, because they take other names for granted.
ELSEWHERE = {
    DOCS / "tasks.md": "tests/test_tasks_page.py",
    DOCS / "data.md": "tests/images/test_data_document.py",
    DOCS / "tutorial.md": "tests/test_tutorial.py",
}
FOLDERS = ("", "how-to", "explanation", "reference")
PAGES = [
    ROOT / "README.md",
    *(page for folder in FOLDERS for page in sorted((DOCS / folder).glob("*.md"))),
]
OWN = re.compile(r"\b(?:pytest|iaside) ")


def of(page: Path) -> list[Block]:
    """The blocks of ``page`` that a test ought to run."""
    return [
        block
        for block in blocks(page)
        if block.language in ("python", "toml")
        or (not block.language and any(map(OWN.match, block.commands())))
    ]


WITH_BLOCKS = [page for page in PAGES if page not in ELSEWHERE and of(page)]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pages") / "project"
    write_project(root)
    return root


@pytest.fixture
def runner(project: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runner:
    shutil.copytree(project, pytester.path, dirs_exist_ok=True)
    found = Runner(pytester, monkeypatch)
    if not (kept := project / "tests" / "__iaside__").exists():
        found.pytest("--iaside-update=new", expected=0)
        shutil.copytree(pytester.path / "tests" / "__iaside__", kept)
    retrain(pytester.path)
    found.preamble()
    return found


@pytest.mark.filterwarnings("ignore")  # that pictures are few, alike or enlarged
@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_runs(page: Path, runner: Runner) -> None:
    for block in blocks(page):
        # Of a CI's file its commands of pytest run all the same.
        if not block.not_run or block.language in ("yaml", "groovy"):
            runner.run(page, block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_does_not_run_says_why(page: Path) -> None:
    for block in blocks(page):
        if block.not_run:
            assert re.fullmatch(
                r"\*Not run by the tests[^:]*: .{15,}\*", " ".join(block.not_run.split())
            )


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_of_ini_files_are_settings(page: Path) -> None:
    known = {f"iaside_{name}" for name in (*SETTINGS, *INI_ONLY)}
    for block in blocks(page):
        if block.language == "toml":
            keys = tomllib.loads(block.text)["tool"]["pytest"]["ini_options"]
            assert set(keys) <= known


def test_pages_that_run_elsewhere_do() -> None:
    for page, test in ELSEWHERE.items():
        assert page.name in (ROOT / test).read_text(encoding="utf-8")


def test_no_page_has_only_blocks_that_nobody_runs() -> None:
    assert len(WITH_BLOCKS) >= 20

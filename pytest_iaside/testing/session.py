"""What one pytest session collected, and the exports at its end.

Imports nothing heavy: it is loaded in every session, also in those that never touch us.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_iaside.errors import printable
from pytest_iaside.settings import Layer, ini_value
from pytest_iaside.store.files import write_export

if TYPE_CHECKING:
    from pytest_iaside.report.record import GateRecord

# Names of user properties: the record is for the controller, the rest stays for JUnit XML.
RECORD = "iaside_record"
SETTINGS_ERROR = "iaside_settings_error"
REPORT = "iaside-report/index.html"
IGNORE = ".gitignore"
GENERATOR = b'name="generator" content="pytest-iaside"'
"""What tells a report of ours from another file."""
UNUSED_SHOWN = 20


# The first two are pytest's own; not every runner sets them in every job.
CI_VARIABLES = (
    *("CI", "BUILD_NUMBER", "CONTINUOUS_INTEGRATION", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI"),
    *("BUILDKITE", "JENKINS_URL", "TF_BUILD", "TEAMCITY_VERSION", "TRAVIS", "APPVEYOR"),
    *("CODEBUILD_BUILD_ID", "BITBUCKET_BUILD_NUMBER", "DRONE"),
)


def on_ci() -> str:
    """The variable that says that this is a CI run; empty where none does."""
    return next((name for name in CI_VARIABLES if os.environ.get(name)), "")


def update_mode(config: pytest.Config) -> str | None:
    """What --iaside-update says; accepting a drift is to write what no longer holds."""
    accepts = config.getoption("iaside_accept_drift")
    found: str | None = config.getoption("iaside_update")
    return found or ("changed" if accepts else None)


def proposals_of(config: pytest.Config) -> Path | None:
    """The folder of --iaside-propose; None where nothing is proposed."""
    folder: str | None = config.getoption("iaside_propose")
    return None if folder is None else _absolute(config.invocation_params.dir, folder)


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@dataclass(eq=False)
class SpectralSession:
    """State of one session (of each process under xdist); a plugin where reports are collected."""

    config: pytest.Config
    command_line: Layer
    ini: Layer
    records: dict[tuple[str, str | None], GateRecord] = field(default_factory=dict)
    settings_errors: dict[str, None] = field(default_factory=dict)
    files: dict[str, None] = field(default_factory=dict)
    incomplete: dict[str, None] = field(default_factory=dict)
    """Why this run cannot tell which baselines are used."""
    found: set[str] = field(default_factory=set)
    """Tests that were found, before anything chose among them."""
    collected: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    not_passed: set[str] = field(default_factory=set)
    swallowed: dict[str, None] = field(default_factory=dict)
    """Tests that passed although a gate in them failed."""
    lines: list[str] = field(default_factory=list)
    """What the terminal summary says besides the records."""
    report: Path | None = None
    """The HTML report, once it is written."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the records of this plugin from ``report``; called in the controller only."""
        kept = []
        for name, value in report.user_properties:
            if name == RECORD:
                record: Any = value
                # By test and name: the reports of a test that is run again replace its first.
                self.records[record["test"], record["name"]] = record
                # Skipped or called an expected failure afterwards, it did not fail either; marked
                # as one beforehand, it was to.
                marked = hasattr(report, "wasxfail") and "xfail" in report.keywords
                if record["failed"] and report.when == "call" and not (report.failed or marked):
                    self.swallowed[record["test"]] = None
            elif name == SETTINGS_ERROR:
                if report.failed:
                    self.settings_errors[str(value)] = None
            else:
                kept.append((name, value))
        report.user_properties = kept
        if not report.passed:
            self.not_passed.add(report.nodeid)
        if report.when == "teardown":
            self.finished.add(report.nodeid)

    def worker_output(self) -> dict[str, dict[str, None]]:
        """What a worker tells the controller when it is done."""
        told = ("files", "incomplete", "settings_errors", "swallowed")
        return {name: getattr(self, name) for name in told}

    def add_worker_output(self, output: dict[str, dict[str, None]]) -> None:
        for name, found in output.items():
            getattr(self, name).update(found)

    def finish(self, session: pytest.Session) -> None:
        """Write every export and settle the exit status; called in the controller only."""
        code = pytest.ExitCode
        ended = session.exitstatus in (code.OK, code.TESTS_FAILED, code.NO_TESTS_COLLECTED)
        self.lines += [f"wrong setting: {error}" for error in self.settings_errors]
        exports = ("iaside_report", "iaside_json", "iaside_markdown")
        # Where no gate ran either, so that nobody takes those of an earlier session for this one's.
        if self.records or any(self.config.getoption(name) for name in exports):
            self._export()
        refused = False
        if self.records or self.config.getoption("iaside_prune"):
            with self._surviving("list of unused baselines"):
                refused = self._look_for_unused(ended)
        self.lines += [
            f"{test} did not fail although a gate in it did (something caught its error), so this "
            "session fails: let the error through, or mark the test xfail(strict=True)"
            for test in self.swallowed
        ]
        if ended and (refused or self.settings_errors):
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        elif ended and self.swallowed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def summary(self, width: int, color: bool) -> list[str]:
        """What the terminal shows at the end; nothing where no test used us."""
        shown: list[str] = []
        if self.records:
            with self._surviving("summary"):
                from pytest_iaside.report.terminal import terminal_lines

                shown = terminal_lines(list(self.records.values()), width=width, color=color)
        return [*shown, *map(printable, self.lines)]

    def _export(self) -> None:
        from json import dumps

        from pytest_iaside.report.json_document import json_document
        from pytest_iaside.report.markdown import markdown
        from pytest_iaside.report.recorded import written_by

        records = list(self.records.values())
        wanted = self.config.getoption("iaside_report")
        meta = written_by(shlex.join(["pytest", *self.config.invocation_params.args]))
        # What nobody could decide somebody has to look at, though it fails nothing.
        looked_at = [each["failed"] or each["verdict"] == "inconclusive" for each in records]
        if wanted or any(looked_at):
            with self._surviving("HTML report"):
                from pytest_iaside.report.html import LIMIT_MB, write_html

                limit = ini_value(self.config, "report_mb", LIMIT_MB)
                path = self._path(wanted or REPORT)
                self.report = write_html(records, path, meta=meta, limit=float(limit))
                self.lines.append(f"report: {self._shown(self.report)}")
                if path == self._path(REPORT) and not (ignored := path.parent / IGNORE).exists():
                    write_export(ignored, "*\n")
        elif records and not partial_options(self.config):
            self._remove_old_report()
        self._write(
            "JSON",
            self.config.getoption("iaside_json"),
            lambda: dumps(json_document(records, meta=meta), indent=1) + "\n",
        )
        self._write("markdown", self.config.getoption("iaside_markdown"), lambda: markdown(records))
        summary = os.environ.get("GITHUB_STEP_SUMMARY") if records else None
        self._write("step summary", summary, lambda: markdown(records), "a")

    def _remove_old_report(self) -> None:
        """The report of an earlier run is no longer true where all gates are green."""
        old = self._path(REPORT)
        with contextlib.suppress(OSError), old.open("rb") as file:
            ours = GENERATOR in file.read(2_000)
            if ours:
                old.unlink()
                self.lines.append(f"removed: {self._shown(old)}, the report of an earlier run")

    def _write(self, what: str, to: str | None, make: Callable[[], str], mode: str = "w") -> None:
        if to:
            path = self._path(to)
            with self._surviving(what):
                text = make()  # First: where it fails, what was there stands.
                if mode == "w":
                    write_export(path, text)
                    self.lines.append(f"{what}: {self._shown(path)}")
                else:
                    with path.open(mode, encoding="utf-8") as file:
                        file.write(text)

    # Of pytest-html, whose own pytest_sessionfinish comes last: when it asks, the report of this
    # plugin is written.
    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        if self.report is not None:
            with self._surviving("link in the report of pytest-html"):
                from urllib.parse import quote

                other = self._path(os.path.expandvars(self.config.getoption("htmlpath")))
                # Relative, so that it holds where both are moved together.
                target = Path(os.path.relpath(self.report, other.parent)).as_posix()
                # Quoted, nothing is left in it that HTML would have to escape.
                link = quote(os.fsencode(target))
                prefix.append(f'<p><a href="{link}">Spectral robustness</a></p>')

    @contextlib.contextmanager
    def _surviving(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Whatever fails here must not cost the session its result.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self.lines.append(f"warning: the {what} could not be written ({reason})")

    def _look_for_unused(self, ended: bool) -> bool:
        """List or remove baselines that nobody uses; True where removing is refused."""
        from pytest_iaside.store import archive, baselines

        prune = self.config.getoption("iaside_prune")
        if why := self._partial(ended):
            if prune:
                self.lines.append(f"--iaside-prune refused: {why}; nothing was removed")
            return bool(prune)
        root, start = self.config.rootpath, self.config.invocation_params.dir
        scope = [_absolute(start, argument) for argument in self.config.args]
        found = baselines.unused(
            baselines.baselines(scope, self.config.getini("norecursedirs")),
            used={_absolute(root, record["baseline"]) for record in self.records.values()},
            tests={
                # What a test did not use this time it may use tomorrow: listed, never removed.
                (_absolute(root, path), test): not prune and node_id not in self.not_passed
                for node_id in self.collected
                for path, _, test in [_without_group(node_id).partition("::")]
            },
            files={_absolute(root, file) for file in self.files},
        )
        shown = [f"  {self._shown(path)}" for path in found[:UNUSED_SHOWN]]
        if len(found) > UNUSED_SHOWN:
            shown.append(f"  and {len(found) - UNUSED_SHOWN} more")
        count = f"{len(found)} unused baseline{'s' if len(found) != 1 else ''}"
        if prune:
            for path in found:
                archive.remove(path)
            self.lines += [f"{count} removed{':' if found else ''}", *shown]
        elif found:
            count += " (a full run with --iaside-prune removes those whose test is gone):"
            self.lines += [count, *shown]
        return False

    def _partial(self, ended: bool) -> str:
        """Why this run cannot tell which baselines are used; empty where it can."""
        if found := partial_options(self.config):
            return f"{found} runs only some of the tests"
        if self.incomplete:
            return next(iter(self.incomplete))
        if not ended or not self.collected <= self.finished:
            return "the run stopped before its end"
        return ""

    def _path(self, text: str) -> Path:
        return self.config.invocation_params.dir / text

    def _shown(self, path: Path) -> str:
        shown = os.path.relpath(path, self.config.invocation_params.dir)
        return str(path) if shown.startswith("..") else shown


SESSION: pytest.StashKey[SpectralSession] = pytest.StashKey()


def partial_options(config: pytest.Config) -> str:
    """The option that makes this run a partial one; empty where there is none."""
    options = {
        "-k": "keyword",
        "-m": "markexpr",
        "--deselect": "deselect",
        "--lf": "lf",
        "--sw": "stepwise",
        "--pyargs": "pyargs",
        "--collect-only": "collectonly",
    }
    given = [option for option, name in options.items() if config.getoption(name, None)]
    return next(iter(given + [argument for argument in config.args if "::" in argument]), "")


def _absolute(base: Path, path: str) -> Path:
    return Path(os.path.normpath(base / path))


def _without_group(node_id: str) -> str:
    # As xdist itself finds the group that --dist=loadgroup appends.
    at = node_id.rfind("@")
    grouped = at > node_id.rfind("]") and "xdist" in sys.modules
    return node_id[:at] if grouped else node_id

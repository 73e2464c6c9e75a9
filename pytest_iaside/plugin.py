"""The hooks and options of pytest-iaside; what they do is written elsewhere.

Nothing heavy is imported here: every pytest session in an environment that has the plugin
loads this file.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from typing import Any

import pytest

from pytest_iaside import settings
from pytest_iaside.errors import SettingsError, printable
from pytest_iaside.testing import session as state
from pytest_iaside.testing.current_test import marker_layers, running_now
from pytest_iaside.testing.fixtures import (
    spectral_baseline_classifier as spectral_baseline_classifier,
)
from pytest_iaside.testing.fixtures import spectral_classifier as spectral_classifier
from pytest_iaside.testing.fixtures import spectral_executor as spectral_executor
from pytest_iaside.testing.fixtures import spectral_reference as spectral_reference
from pytest_iaside.testing.ranks import is_other_rank


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("iaside", "spectral robustness (pytest-iaside)")
    group.addoption(
        "--iaside-update",
        choices=("new", "changed", "all", "add"),
        help="write baselines: only missing ones, also those that fit no longer or that the model "
        "is better than, or all; add: the model is a further training of the same recipe",
    )
    group.addoption(
        "--iaside-accept-drift",
        action="store_true",
        help="write also baselines that a model drifted from (--iaside-update alone does not)",
    )
    group.addoption(
        "--iaside-update-in-ci",
        action="store_true",
        help="allow --iaside-update where CI or another variable of a runner is set",
    )
    group.addoption(
        "--iaside-propose",
        metavar="FOLDER",
        help="write the baselines that failing and missing ones would become to FOLDER, measured "
        "whole, for `iaside accept`; the verdicts stay, and nothing is written beside the tests",
    )
    group.addoption(
        "--iaside-prune", action="store_true", help="remove baselines that a full run does not use"
    )
    group.addoption(
        "--iaside-report",
        metavar="PATH",
        nargs="?",
        const=state.REPORT,
        help=f"write the HTML report, also when all is well (default {state.REPORT})",
    )
    group.addoption("--iaside-json", metavar="PATH", help="write the results as JSON")
    group.addoption(
        "--iaside-markdown",
        metavar="PATH",
        help="write the results as markdown, for a comment on a pull request",
    )
    group.addoption(
        "--iaside-diagnose",
        metavar="N",
        help="explain the N images that drive a red gate (0: none; auto, the default: a few, "
        "unless that takes longer than the gate)",
    )
    group.addoption(
        "--iaside-no-cache",
        action="store_true",
        help="measure everything anew, and keep nothing for the next run",
    )
    for name in settings.ON_COMMAND_LINE:
        _, what = settings.SETTINGS[name]
        group.addoption(f"--iaside-{settings.dashes(name)}", metavar="VALUE", help=what)
    for name, (kind, what) in (settings.SETTINGS | settings.INI_ONLY).items():
        parser.addini(f"iaside_{name}", what, type=kind.ini, default=None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "iaside(**settings): settings of assert_spectral_robustness for this test"
    )
    try:
        session = state.SpectralSession(
            config, settings.command_line_layer(config), settings.ini_layer(config)
        )
        for name in settings.INI_ONLY:
            settings.ini_value(config, name)
        if text := config.getoption("iaside_diagnose"):
            settings.read_text("diagnose", text, "--iaside-diagnose")
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[state.SESSION] = session
    if message := _refusal(config):
        raise pytest.UsageError(printable(message))
    if not state.is_worker(config):
        config.pluginmanager.register(session, "iaside_reports")


def _close_workers() -> None:
    # Nobody has started any who has not loaded this.
    if engines := sys.modules.get("pytest_iaside.execute.engines"):
        engines.close_engines()


def _refusal(config: pytest.Config) -> str:
    """Why these options are refused; empty where they are not."""
    update = state.update_mode(config)
    if update and (variable := state.on_ci()) and not config.getoption("iaside_update_in_ci"):
        return (
            f"--iaside-update={update} is refused because {variable} is set: a baseline "
            "written there is reviewed by nobody; update on your own machine and commit it, or "
            "add --iaside-update-in-ci"
        )
    if update and state.proposals_of(config) is not None:
        return (
            f"--iaside-propose and --iaside-update={update} exclude each other: one writes "
            "proposals, the other baselines; give one of them"
        )
    proposals = config.getoption("iaside_propose")
    folder = state.proposals_of(config)
    own = [each.resolve() for each in (config.rootpath, config.invocation_params.dir)]
    if folder is not None and (not proposals or folder.resolve() in own):
        return (
            f"--iaside-propose={proposals} would overwrite the baselines themselves; give a folder "
            "of its own, such as iaside-report/proposals"
        )
    report = config.getoption("iaside_report")
    if report and not report.endswith((".html", ".htm")):
        return (
            f"--iaside-report={report}: expected the path of an .html file; write "
            "--iaside-report=PATH, or --iaside-report as the last option"
        )
    partial = state.partial_options(config)
    if config.getoption("iaside_prune") and partial:
        return (
            f"--iaside-prune is refused because {partial} runs only some of the tests, and "
            "baselines of the others would look unused; run all of them"
        )
    return ""


def pytest_report_header(config: pytest.Config) -> str | None:
    session = config.stash[state.SESSION]
    told = {**session.ini.values, **session.command_line.values}
    for name in ("reference", "model"):
        if value := settings.ini_value(config, name):
            told[name] = value
    if update := state.update_mode(config):
        told["update"] = update
    if config.getoption("iaside_accept_drift"):
        told["accept_drift"] = True
    return printable(f"iaside: {', '.join(f'{k}={v}' for k, v in told.items())}") if told else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    try:
        for item in items:
            marker_layers(item)
    except SettingsError as error:
        if not state.is_worker(config):
            raise pytest.UsageError(str(error)) from None
        # A worker that raises is taken for a crash: the controller is told, and nothing runs.
        config.stash[state.SESSION].settings_errors[str(error)] = None
        items.clear()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    session = collector.config.stash[state.SESSION]
    if report.failed:
        session.incomplete["some tests could not be collected"] = None
    elif report.passed and isinstance(collector, pytest.File):
        session.files[collector.nodeid] = None
    return report


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items[:1]:
        item.config.stash[state.SESSION].incomplete["some tests were deselected"] = None


def pytest_itemcollected(item: pytest.Item) -> None:
    item.config.stash[state.SESSION].found.add(item.nodeid)


def pytest_collection_finish(session: pytest.Session) -> None:
    own = session.config.stash[state.SESSION]
    left = {item.nodeid for item in session.items}
    own.collected.update(left)
    if own.found - left:  # A conftest may take tests away without a word.
        own.incomplete["some of the tests that were found are left out"] = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    with running_now(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, SettingsError):
        report.user_properties.append((state.SETTINGS_ERROR, str(call.excinfo.value)))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    state_of_run = session.config.stash[state.SESSION]
    _close_workers()
    if is_other_rank():
        return  # Rank 0 has all records, and writes what is written.
    if state.is_worker(session.config):
        worker: Any = session.config
        worker.workeroutput["iaside"] = state_of_run.worker_output()
    else:
        state_of_run.finish(session)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    width = config.get_terminal_writer().fullwidth
    lines = config.stash[state.SESSION].summary(width, terminalreporter.hasmarkup)
    if lines:
        from pytest_iaside.report.printing import fitting

        terminalreporter.write_sep("=", "spectral robustness")
        for line in lines:
            terminalreporter.write_line(fitting(line))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    node.config.stash[state.SESSION].collected.update(ids)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    if error:
        # What a worker that crashed had found in its last test is lost; of one that was ended
        # because of a timeout it is not.
        told = "a worker crashed: gates of the test that it ran may be missing here and in exports"
        if told not in (lines := node.config.stash[state.SESSION].lines):
            lines.append(told)
    output = getattr(node, "workeroutput", None) or {}
    node.config.stash[state.SESSION].add_worker_output(output.get("iaside", {}))

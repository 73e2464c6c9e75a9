"""The command ``iaside doctor``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pytest_iaside.cli import options as cli
from pytest_iaside.cli.doctor import installed, project
from pytest_iaside.cli.doctor.cost import cost
from pytest_iaside.cli.doctor.finding import Finding
from pytest_iaside.errors import SettingsError, printable
from pytest_iaside.report.printing import tell


def add(commands: cli.Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "doctor",
        help="say what is installed, what works, what a gate costs, and what is wrong here",
        allow_abbrev=False,
    )
    parser.add_argument("model", nargs="?", help="package.module:factory, or an .onnx file")
    cli.add_reference(parser, optional=True)
    cli.add_settings(parser, cli.MEASURING)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    if options.model and not options.reference:
        raise SettingsError("a model costs as its images do: give the reference sample after it")
    settings = cli.read_settings(options, cli.MEASURING)
    wrong = _told("installed", installed.versions())
    wrong += _told(installed.TRIED, installed.back_ends())
    found, refused = project.collected()
    wrong += _told("this project", project.set_up(found, refused))
    wrong += _told("this machine", project.machine(found))
    if options.model:
        wrong += _told("a gate of this model", _cost(options, dict(settings.measure)))
    tell("", f"{wrong} thing{'s' * (wrong != 1)} to mend" if wrong else "nothing is wrong")
    return cli.DRIFTED if wrong else cli.PASSED


def _cost(options: argparse.Namespace, settings: dict[str, Any]) -> Iterator[Finding]:
    from pytest_iaside.testing.factories import named_models

    made: dict[str, Any] = {}
    findings: list[Finding] = []

    def model() -> str:
        made["model"] = named_models(options.model, Path())[0]
        return ""

    def reference() -> str:
        made["reference"] = cli.read_reference(options)
        return ""

    def gate() -> str:
        findings.extend(cost(made["model"], made["reference"], settings))
        return ""

    # All of them run the user's own code, and each needs the one before.
    for what, work in ((options.model, model), (options.reference, reference), ("gate", gate)):
        found = project.tried(printable(what), work)
        if found.kind == "wrong":
            findings.append(found)
            break
    yield from findings


def _told(title: str, findings: Iterable[Finding]) -> int:
    """Tell each of ``findings`` as soon as it is there; how many are wrong."""
    tell(f"{title}:")
    wrong = 0
    for each in findings:
        tell(each.line)
        wrong += each.kind == "wrong"
    return wrong

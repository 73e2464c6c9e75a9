"""``iaside compare``: two saved profiles held against each other, as a gate does it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_iaside.cli.options import (
    DRIFTED,
    PASSED,
    Commands,
    add_settings,
    read_settings,
    written_by,
)
from pytest_iaside.settings import THRESHOLDS
from pytest_iaside.testing.session import new_record

if TYPE_CHECKING:
    from pytest_iaside.compare.comparison import Comparison

COMPARING = (*THRESHOLDS, "level", "fail_on")


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("compare", help="compare two saved profiles", allow_abbrev=False)
    parser.add_argument("candidate", help="the profile under test, a .yaml file")
    parser.add_argument("baseline", help="the profile it is held against")
    parser.add_argument(
        "--unpaired",
        action="store_true",
        help="compare profiles of different images, with the wider intervals that takes",
    )
    parser.add_argument("--json", metavar="PATH", help="write the comparison as JSON")
    parser.add_argument("--html", metavar="PATH", help="write the HTML report")
    add_settings(parser, COMPARING)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    settings = read_settings(options, COMPARING)
    from pytest_iaside.compare.spectral import compare
    from pytest_iaside.measure.profile import SpectralProfile

    comparison = compare(
        SpectralProfile.load(options.candidate),
        SpectralProfile.load(options.baseline),
        settings.thresholds,
        level=settings.level,
        paired=not options.unpaired,
    )
    failed = comparison.fails(settings.fail_on)
    record = new_record(
        test=options.candidate,
        baseline=options.baseline,
        status="compared",
        failed=failed,
        verdict=comparison.verdict,
        summary=comparison.summary(),
        accept="",
        reproduce=command,
        fail_on=settings.fail_on,
        comparison=comparison.as_dict(),
        seconds=comparison.candidate.seconds,
    )
    print("\n".join(_lines(comparison, record)))
    meta = written_by(command)
    if options.json:
        from pytest_iaside.report.summary import json_document

        text = json.dumps(json_document([record], meta=meta), indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.html:
        from pytest_iaside.report.html import write_html

        write_html([record], options.html, meta=meta)
    return DRIFTED if failed else PASSED


def _lines(comparison: Comparison, record: dict[str, Any]) -> list[str]:
    lines = [f"{comparison.verdict}: {record['summary']}"]
    for check in record["comparison"]["checks"]:
        sentence = check["sentence"] or "both profiles can be told from noise"
        lines.append(f"  {check['name']:<10}  {check['verdict']:<12}  {sentence}")
    lines += [f"  note: {note}" for note in comparison.notes]
    return lines

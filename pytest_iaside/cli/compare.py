"""``iaside compare``: two saved profiles compared as a gate compares them."""

from __future__ import annotations

import argparse
import json

from pytest_iaside.cli import options as cli
from pytest_iaside.report.printing import tell
from pytest_iaside.settings import THRESHOLDS

COMPARING = (*THRESHOLDS, "level", "fail_on")


def add(commands: cli.Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("compare", help="compare two saved profiles", allow_abbrev=False)
    parser.add_argument("candidate", help="the profile under test, a .yaml file")
    parser.add_argument("baseline", help="the profile that it is compared with")
    parser.add_argument(
        "--unpaired",
        action="store_true",
        help="compare profiles of different images, with the wider intervals that takes",
    )
    parser.add_argument("--json", metavar="PATH", help="write the comparison as JSON")
    parser.add_argument("--html", metavar="PATH", help="write the HTML report")
    cli.add_settings(parser, COMPARING)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    settings = cli.read_settings(options, COMPARING)
    from pytest_iaside.compare.compare import compare
    from pytest_iaside.measure.profile import SpectralProfile
    from pytest_iaside.report.recorded import comparison_record, gate_record

    comparison = compare(
        SpectralProfile.load(options.candidate),
        SpectralProfile.load(options.baseline),
        settings.thresholds,
        level=settings.level,
        paired=not options.unpaired,
    )
    failed = comparison.fails(settings.fail_on)
    record = gate_record(
        test=options.candidate,
        kind=comparison.kind,
        baseline=options.baseline,
        status="compared",
        failed=failed,
        verdict=comparison.verdict,
        summary=comparison.summary(),
        reproduce=command,
        fail_on=settings.fail_on,
        comparison=comparison_record(comparison),
        seconds=comparison.candidate.seconds,
    )
    tell(f"{comparison.verdict}: {comparison.summary()}")
    widest = max(len(check.name) for check in comparison.checks)
    for check in comparison.checks:
        sentence = check.sentence or "both profiles can be told from noise"
        tell(f"  {check.name:<{widest}}  {check.verdict:<13}  {sentence}")
    for note in comparison.notes:
        tell(f"  note: {note}")
    meta = cli.written_by(command)
    if options.json:
        from pytest_iaside.report.json_document import json_document
        from pytest_iaside.report.writing import write_text

        text = json.dumps(json_document([record], meta=meta), indent=1)
        write_text(text + "\n", options.json, "choose another path with --json")
    if options.html:
        from pytest_iaside.report.html import write_html

        write_html([record], options.html, meta=meta)
    return cli.DRIFTED if failed else cli.PASSED

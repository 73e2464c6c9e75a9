"""``iaside equivalence``: whether a deployed model does what its original does."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

from pytest_iaside.checks import checked_limit
from pytest_iaside.cli import options as cli
from pytest_iaside.report.printing import tell
from pytest_iaside.settings import Layer, Settings, dashes, read_text

MARGINS = {
    "max_accuracy_difference": "share of the images, clean and in the mean",
    "max_log_likelihood_difference": "nats, clean and in the mean",
    "max_probability_difference": "of the label's probability, clean and in the mean",
    "max_confidence_difference": "nats of the log-likelihood as the model answers it",
    "max_score_difference": "of a score of your own, in its unit",
    "max_value_difference": "share of v(all)",
    "max_band_difference": "share of v(all) of any band's ψ",
}
READ = (*cli.MEASURING, "fail_on")


def add(commands: cli.Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "equivalence",
        help="show that a deployed model does what its original does",
        allow_abbrev=False,
    )
    about = "package.module:factory, or an .onnx file"
    parser.add_argument("deployed", help=f"the model that is shipped: {about}")
    parser.add_argument("original", help=f"the model that it was made of: {about}")
    cli.add_reference(parser, flag=True)
    cli.add_no_cache(parser)
    parser.add_argument("--json", metavar="PATH", help="write the comparison as JSON")
    parser.add_argument("--html", metavar="PATH", help="write the HTML report")
    group = parser.add_argument_group("margins, either way; none leaves a check out")
    for name, words in MARGINS.items():
        group.add_argument(f"--{dashes(name)}", metavar="VALUE", help=words)
    cli.add_settings(parser, READ)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    from pytest_iaside.compare.equivalence import compare_equivalence
    from pytest_iaside.report.recorded import comparison_record, gate_record
    from pytest_iaside.testing.equivalence import (
        KIND,
        USUAL,
        check_score_margin,
        checked_margins,
        layer_notes,
    )
    from pytest_iaside.testing.factories import named_model
    from pytest_iaside.testing.two_models import measured_both

    settings = _settings(options, USUAL)
    margins = checked_margins(_margins(options))
    reference = cli.read_reference(options)
    deployed, original = (
        named_model(text, Path()) for text in (options.deployed, options.original)
    )
    check_score_margin(original, margins)
    with cli.terminal_progress(deployed.name) as progress:
        both = measured_both(deployed, original, reference, settings, progress=progress)
    comparison = compare_equivalence(*both, margins.bands, margins.answers, level=settings.level)
    failed = comparison.fails(settings.fail_on)
    compared = comparison_record(comparison)
    if failed:
        compared["notes"] += layer_notes(deployed, original, reference, comparison)
    record = gate_record(
        test=options.deployed,
        kind=KIND,
        baseline=options.original,
        status="compared",
        failed=failed,
        verdict=comparison.verdict,
        summary=comparison.summary(),
        reproduce=command,
        fail_on=settings.fail_on,
        comparison=compared,
        seconds=sum(each.seconds for each in both),
    )
    tell(f"{comparison.verdict}: {comparison.summary()}")
    widest = max(len(check.name) for check in comparison.checks)
    for check in comparison.checks:
        sentence = check.sentence or "both models can be told from noise"
        tell(f"  {check.name:<{widest}}  {check.verdict:<13}  {sentence}")
    for note in compared["notes"]:
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


def _settings(options: argparse.Namespace, usual: Layer) -> Settings:
    values = {
        name: read_text(name, text, f"--{dashes(name)}")
        for name in READ
        if (text := getattr(options, name)) is not None
    }
    values["cache"] = not options.no_cache
    return Settings.of([Layer("command line", values), usual])


def _margins(options: argparse.Namespace) -> dict[str, float | None]:
    """The margins that were given; raises SettingsError for what is no number."""
    found: dict[str, float | None] = {}
    for name in MARGINS:
        text = getattr(options, name)
        if text is None:
            continue
        value: object = None if text.strip().lower() == "none" else text
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = float(value)
        found[name] = checked_limit(f"--{dashes(name)}", value)
    return found

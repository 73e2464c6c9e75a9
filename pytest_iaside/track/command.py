"""``iaside track``: the checkpoints of a training run, measured into a history and drawn."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_iaside.cli import options as cli
from pytest_iaside.compare.words import confidence
from pytest_iaside.errors import BaselineError, ModelError, SettingsError, printable
from pytest_iaside.report.printing import tell

if TYPE_CHECKING:
    from pytest_iaside.track.history import Point
    from pytest_iaside.track.tracker import Status

# As in track/history.py and track/trend.py, which are not imported for a line of help.
HISTORY, RUN, LAST = "iaside-history.sqlite", "run", 5
PAGE = "iaside-track.html"


def add(commands: cli.Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "track", help="measure the checkpoints of a training run", allow_abbrev=False
    )
    parser.add_argument(
        "checkpoints",
        nargs="+",
        metavar="PATTERN",
        help="the checkpoints, such as 'checkpoints/*.pt': files of PyTorch, or safetensors",
    )
    parser.add_argument(
        "--model", required=True, help="package.module:factory of the network without its weights"
    )
    cli.add_reference(parser, flag=True)
    parser.add_argument(
        "--history", metavar="PATH", default=HISTORY, help=f"the file to add to ({HISTORY})"
    )
    # `run` is what a command is run by.
    parser.add_argument(
        "--run", metavar="NAME", dest="training_run", default=RUN, help=f"the run's name ({RUN})"
    )
    parser.add_argument(
        "--last", metavar="N", type=int, default=LAST, help=f"checkpoints of the trend ({LAST})"
    )
    parser.add_argument(
        "--html", metavar="PATH", help=f"the page to write ({PAGE} beside the history)"
    )
    cli.add_no_cache(parser)
    cli.add_settings(parser, cli.MEASURING)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    settings = cli.read_settings(options, cli.MEASURING)
    if options.last < 2:
        raise SettingsError(f"--last {options.last}: a trend needs at least 2 checkpoints")
    from pytest_iaside.testing.factories import named_model
    from pytest_iaside.track.checkpoints import find_checkpoints
    from pytest_iaside.track.history import History
    from pytest_iaside.track.tracker import Tracker

    checkpoints = find_checkpoints(options.checkpoints)
    history = History(options.history)
    history.runs()  # Says now, not after a measurement, where it cannot be used.
    tracker = Tracker(
        named_model(options.model, Path()),
        cli.read_reference(options),
        history,
        run=options.training_run,
        settings=settings.measure,
        anew=options.no_cache,
    )
    skipped = 0
    for number, checkpoint in enumerate(checkpoints, 1):
        path, name = printable(checkpoint.path.as_posix()), checkpoint.path.name
        try:
            with cli.terminal_progress(f"{number}/{len(checkpoints)} {name}") as progress:
                point, status = tracker.track(checkpoint, progress)
        except ModelError as error:
            skipped += 1
            where = "" if str(error).startswith(path) else f"{path}: "
            tell(f"iaside: skipped: {where}{error}", to=sys.stderr)
            continue
        tell(_line(point, status, path, settings.level))
    points = history.points(options.training_run)
    tell("")
    if points:
        page = Path(options.html or history.path.with_name(PAGE))
        tell(_conclusion(points, options.last, settings.level, page, command))
    tell(f"history: {history.path}, {len(points)} checkpoints of run {options.training_run!r}")
    if skipped:
        tell(f"skipped: {skipped} of {len(checkpoints)} checkpoints, as said above")
    return cli.DRIFTED if skipped else cli.PASSED


def _line(point: Point, status: Status, path: str, level: float) -> str:
    """What is known of the checkpoint at ``path``."""
    from pytest_iaside.report.figures import interval_text
    from pytest_iaside.report.numbers import fixed, share, signed
    from pytest_iaside.track.records import unit_of

    profile = point.profile
    found = profile.interval("signed_src", level)
    parts = [
        f"{unit_of([path])} {point.step:>4}",
        f"signed SRC {signed(profile.signed_src)} "
        f"({confidence(level)} {interval_text(found.low, found.high, signed)})",
        f"v(all) {fixed(profile.value, 2)} nats",
        "" if point.accuracy is None else f"accuracy {share(point.accuracy)}",
        path,
        "" if profile.structured else "unstructured",
    ]
    if status == "known":
        parts.append("already measured" + ("" if point.name == path else f" as {point.name}"))
    if status == "same weights":
        parts.append("the same weights as before, already measured")
    return "  ".join(part for part in parts if part)


def _conclusion(points: Sequence[Point], last: int, level: float, path: Path, command: str) -> str:
    """The trend in words, and the page, which is written to ``path``."""
    from pytest_iaside.report.pages import write_page
    from pytest_iaside.track.page import track_page
    from pytest_iaside.track.trend import trend_of

    trend, no_trend = None, ""
    try:
        trend = trend_of(points[-last:], level=level)
    except BaselineError as error:
        no_trend = str(error)
    page = track_page(points, trend, level=level, last=last, no_trend=no_trend)
    write_page(page, path, meta=cli.written_by(command))
    words = f"{trend.verdict}: {trend.summary()}" if trend else f"none: {no_trend}"
    return f"trend: {words}\npage: {path}"

"""The command ``iaside``: what each of its commands does stands in commands/."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Sequence

from pytest_iaside.cli import cache, compare, measure
from pytest_iaside.cli.options import UNUSABLE
from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.explain import command as explain
from pytest_iaside.study import command as study
from pytest_iaside.track import command as track

COMMANDS = (measure, compare, track, study, explain, cache)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``iaside`` with ``argv``; the exit status: 0 passed, 1 drifted, 2 could not be done."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as ended:  # argparse's own way to print help or what is wrong
        return ended.code if isinstance(ended.code, int) else UNUSABLE
    # As `python -m` does: the user's package lies where the command is run.
    sys.path.insert(0, "")
    try:
        return int(options.run(options, shlex.join(["iaside", *arguments])))
    except (SpectralRobustnessError, OSError) as error:
        print(f"iaside: {error}", file=sys.stderr)
        return UNUSABLE
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove("")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iaside", description="Spectral robustness of image classifiers."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser

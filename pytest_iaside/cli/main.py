"""The command ``iaside``: its own commands, and those of the wings."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from pytest_iaside.cli import (
    accept,
    baseline,
    cache,
    calibrate,
    compare,
    equivalence,
    measure,
    plan,
)
from pytest_iaside.cli.doctor import command as doctor
from pytest_iaside.cli.options import UNUSABLE
from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.report.printing import tell
from pytest_iaside.report.wings import wings


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
        with _warnings_as_lines():
            return int(options.run(options, shlex.join(["iaside", *arguments])))
    except (SpectralRobustnessError, OSError) as error:
        tell(f"iaside: {error}", to=sys.stderr)
        return UNUSABLE
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove("")


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Warnings about images are told as errors are, without the line of code they come from."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if category is UserWarning:
            tell(f"iaside: warning: {message}", to=sys.stderr)
        else:
            shown(message, category, *place, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iaside", description="Spectral robustness of image classifiers."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    of_wings = [command for wing in wings() for command in wing.commands]
    own = (measure, compare, equivalence, baseline, accept, calibrate, plan)
    for command in (*own, *of_wings, cache, doctor):
        command.add(commands)
    return parser

"""What the commands have in common: exit statuses, settings as options, a line of progress."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_iaside.errors import SettingsError
from pytest_iaside.report.recorded import written_by as written_by
from pytest_iaside.settings import (
    INI_ONLY,
    MEASURE,
    READING,
    SETTINGS,
    Layer,
    Settings,
    dashes,
    read_text,
)
from pytest_iaside.testing.session import on_ci

if TYPE_CHECKING:
    from pytest_iaside.images.reference import ReferenceSample
    from pytest_iaside.measure.spectral import Progress

Commands = argparse._SubParsersAction  # argparse has no public name for it

PASSED, DRIFTED, UNUSABLE = 0, 1, 2
MEASURING = (*(name for name in MEASURE if name != "cache"), "level")


def add_settings(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Settings ``names`` as options of ``parser``."""
    group = parser.add_argument_group("settings")
    for name in names:
        group.add_argument(f"--{dashes(name)}", metavar="VALUE", help=SETTINGS[name][1])


def read_settings(options: argparse.Namespace, names: Sequence[str]) -> Settings:
    """What ``add_settings`` read; raises SettingsError."""
    values = {
        name: read_text(name, text, f"--{dashes(name)}")
        for name in names
        if (text := getattr(options, name)) is not None
    }
    return Settings.of([Layer("command line", values)])


def add_reference(
    parser: argparse.ArgumentParser, *, flag: bool = False, optional: bool = False
) -> None:
    """The reference sample, an argument or the option ``--reference``, and how it is read."""
    about = INI_ONLY["reference"][1].removeprefix("reference sample: ")
    if flag:
        parser.add_argument("--reference", metavar="REFERENCE", required=True, help=about)
    else:
        parser.add_argument("reference", help=about, nargs="?" if optional else None)
    for name, (_, told) in READING.items():
        parser.add_argument(f"--{dashes(name)}", metavar="VALUE", help=told)
    parser.add_argument(
        "--grey",
        action="store_true",
        help="one channel, as --channels 1: for models of grey images",
    )
    parser.add_argument(
        "--limit-seed", type=int, help="draw those images at random instead of taking the first"
    )


def read_reference(options: argparse.Namespace) -> ReferenceSample:
    """What ``add_reference`` read; raises ReferenceSampleError or SettingsError."""
    from pytest_iaside.testing.factories import named_reference

    how = {
        name: read_text(f"reference_{name}", text, f"--{dashes(name)}")
        for name in READING
        if (text := getattr(options, name)) is not None
    }
    if options.grey and how.setdefault("channels", 1) != 1:
        raise SettingsError(
            f"--grey is one channel, --channels is {how['channels']}: give one of the two"
        )
    if options.limit_seed is not None:
        how["seed"] = options.limit_seed
    return named_reference(options.reference, Path(), **how)


def named(names: Sequence[str]) -> list[Any]:
    """The models of ``names``; a factory may return a list of trainings."""
    from pytest_iaside.testing.factories import named_models

    return [model for name in names for model in named_models(name, Path())]


def measured(models: Sequence[Any], reference: ReferenceSample, how: dict[str, Any]) -> Any:
    """The profile of ``models``, trainings of one recipe where there are several.

    ``how`` are keywords of ``measure``.
    """
    from pytest_iaside.measure.spectral import measure
    from pytest_iaside.testing.trainings import measure_each

    def one(model: Any, sample: Any, _: Any) -> Any:
        with terminal_progress(model.name) as progress:
            return measure(model, sample, **how, progress=progress)

    return measure_each(one, tuple(models), reference, None)


def add_no_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="measure everything anew, and keep nothing for the next run",
    )


@contextlib.contextmanager
def terminal_progress(name: str) -> Iterator[Callable[[Progress], None] | None]:
    """A callback that keeps one line up to date on a terminal; else a log gets some lines."""
    from pytest_iaside.report.printing import fitting, tell

    if not sys.stderr.isatty() or on_ci():
        from pytest_iaside.execute.passes import Passes, counted
        from pytest_iaside.report.pass_log import PassLog

        log = PassLog(lambda line: tell(line, to=sys.stderr), name)
        with counted(Passes(seen=log)):
            yield None
        return
    import shutil

    from pytest_iaside.report.terminal import ProgressLine

    def write(text: str) -> None:
        print(fitting(text, sys.stderr), end="", file=sys.stderr, flush=True)

    columns = shutil.get_terminal_size().columns
    with contextlib.closing(ProgressLine(write, name, columns)) as line:
        yield line

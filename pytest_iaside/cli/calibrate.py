"""``iaside calibrate``: limits from what a team's own retrainings differ by."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_iaside.cli import options as cli
from pytest_iaside.cli.ini_file import written_to
from pytest_iaside.errors import BaselineError
from pytest_iaside.report.printing import tell
from pytest_iaside.settings import THRESHOLDS

if TYPE_CHECKING:
    from pytest_iaside.compare.calibration import Calibration

CALIBRATING = (*THRESHOLDS, "level")


def add(commands: cli.Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "calibrate",
        help="show what retrainings differ by, and propose limits that they keep",
        allow_abbrev=False,
    )
    parser.add_argument("baseline", nargs="+", help="baselines of three or more trainings, .yaml")
    parser.add_argument(
        "--write",
        metavar="FILE",
        help="write the proposed limits to this pytest.ini, pyproject.toml, tox.ini or setup.cfg",
    )
    cli.add_settings(parser, CALIBRATING)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    settings = cli.read_settings(options, CALIBRATING)
    from pytest_iaside.compare.calibration import calibrate
    from pytest_iaside.measure.measurement import Measurement
    from pytest_iaside.measure.profile import SpectralProfile

    proposed: dict[str, float | None] = {}
    for path in options.baseline:
        baseline = Measurement.load(path)
        if not isinstance(baseline, SpectralProfile):
            raise BaselineError(
                f"{path} is a baseline of {baseline.kind}; limits are proposed for spectral gates"
            )
        found = calibrate(baseline, settings.thresholds, level=settings.level)
        tell(*_told(path, found))
        for each in found.limits:
            before = proposed.get(each.setting, 0.0)
            known = None not in (each.proposed, before)
            proposed[each.setting] = max(each.proposed or 0.0, before or 0.0) if known else None
    if options.write:
        keys = {
            f"iaside_{name}": "none" if limit is None else f"{limit:g}"
            for name, limit in proposed.items()
        }
        written_to(Path(options.write), keys)
        tell(f"written: {len(proposed)} limits to {options.write}")
    return cli.PASSED


def _told(path: str, found: Calibration) -> list[str]:
    from pytest_iaside.report.columns import aligned
    from pytest_iaside.report.numbers import share

    rows = [["limit", "now", "red", "proposed", "would find"]]
    for each in found.limits:
        proposed = "none" if each.proposed is None else f"{each.proposed:g}"
        finds = "nothing" if each.proposed is None else f"{each.found:.2g}"
        rows.append([each.setting, f"{each.now:g}", share(each.red), proposed, finds])
    return [
        f"{path}: {found.trainings} trainings of one recipe",
        "",
        *aligned(rows),
        "",
        f"One training held against one: of {found.pairs} pairs {share(found.red)} are red at the",
        f"limits of now, and {share(found.red_proposed)} at those proposed, which aim at 1 %",
        "or less. A limit would find a fall that large with 99 % probability.",
        "Better: keep all these trainings in the baseline, and the limits of now: each",
        f"of them held against all others, {share(found.red_with_trainings)} are red.",
        *textwrap.wrap(found.odd_one, 79),
        "",
    ]

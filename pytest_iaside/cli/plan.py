"""``iaside plan``: what a gate can see at a baseline's images, and what it takes to see more."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from pytest_iaside.cli import options as cli
from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.report.printing import tell
from pytest_iaside.settings import THRESHOLDS

if TYPE_CHECKING:
    from pytest_iaside.compare.plan import Plan
    from pytest_iaside.compare.planned import Planned

PLANNING = (*THRESHOLDS, "level")


def add(commands: cli.Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "plan",
        help="show what a gate can see, and how many images it takes to see more",
        allow_abbrev=False,
    )
    parser.add_argument("baseline", help="the baseline, a .yaml file")
    parser.add_argument(
        "--candidate",
        metavar="FILE",
        help="the profile of another model, to see how much differences vary from image to image",
    )
    parser.add_argument(
        "--fall",
        type=float,
        help="the fall to count images for, in each check's unit (default: twice its limit)",
    )
    parser.add_argument(
        "--power", type=float, default=0.99, help="probability of finding it (default: 0.99)"
    )
    parser.add_argument(
        "--images", type=int, help="plan for so many images (default: the baseline's)"
    )
    parser.add_argument("--json", metavar="PATH", help="write the plan as JSON")
    cli.add_settings(parser, PLANNING)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    settings = cli.read_settings(options, PLANNING)
    if not 0.5 <= options.power < 1:
        raise SettingsError(f"--power={options.power:g} must be at least 0.5 and less than 1")
    if options.fall is not None and not 0 < options.fall < math.inf:
        raise SettingsError(f"--fall={options.fall:g} must be more than 0 and finite")
    if options.fall is not None and options.fall >= 1:
        raise SettingsError(
            f"--fall={options.fall:g} is more than any share can fall by: write 0.05 for 5 %"
        )
    from pytest_iaside.compare.plan import plan
    from pytest_iaside.stats.power import MOST_IMAGES

    if options.images is not None and not 2 <= options.images <= MOST_IMAGES:
        raise SettingsError(f"--images={options.images} must be from 2 to {MOST_IMAGES:,}")
    from pytest_iaside.measure.measurement import Measurement
    from pytest_iaside.measure.profile import SpectralProfile

    baseline = Measurement.load(options.baseline)
    if not isinstance(baseline, SpectralProfile):
        raise BaselineError(
            f"{options.baseline} is a baseline of {baseline.kind}; plans are of spectral gates"
        )
    if not baseline.structured:
        raise BaselineError(
            f"{options.baseline} shows nothing to plan by: {baseline.unstructured_because}; make "
            "the baseline anew without it"
        )
    found = plan(
        baseline,
        settings.thresholds,
        candidate=SpectralProfile.load(options.candidate) if options.candidate else None,
        level=settings.level,
        fall=options.fall,
        power=options.power,
        images=options.images,
    )
    tell(*_told(options, found))
    if options.json:
        from pytest_iaside.report.writing import write_text

        text = json.dumps(_document(options, found), indent=1)
        write_text(text + "\n", options.json, "choose another path with --json")
    return cli.PASSED


def _told(options: argparse.Namespace, found: Plan) -> list[str]:
    from pytest_iaside.report.columns import aligned

    rows = [["check", "allowed", "found", "fall", "images needed"]]
    for each in found.checks:
        blind = " !" if each.blind else "  "
        seen = "nothing" if each.found == math.inf else _plain(each, each.found)
        limits = [_plain(each, value) for value in (each.allowed, each.fall)]
        rows.append([each.name, limits[0], seen + blind, limits[1], _images(each)])
    size = f"{found.images} images"
    size += "" if found.groups is None else f" in {found.groups} groups"
    lines = [
        f"{size}, {100 * found.power:g} % power, intervals at {found.level:g}",
        "",
        *aligned(rows),
        "",
        "found: the smallest change for the worse that is drift with that power,",
        "where it is the same on every image.",
        *_variance(options, found),
    ]
    if any(each.blind for each in found.checks):
        from pytest_iaside.compare.check import WIDEST

        lines.append(f"! more than {WIDEST:g} times what is allowed: such a check says little.")
    if any(each.fall <= each.allowed for each in found.checks):
        lines.append("never: what is allowed is never drift, however many images there are.")
    return lines


def _variance(options: argparse.Namespace, found: Plan) -> list[str]:
    """Where it is known from how much differences vary."""
    if options.candidate:
        return [f"How much differences vary is what {options.candidate} shows."]
    if found.trainings:
        return [
            f"Each of its {found.trainings} trainings was held against the others: the medians.",
            "More trainings let a gate see more, and often no number of images does.",
        ]
    if found.pairs:
        return [
            f"How much differences vary is what {found.pairs} pairs of its trainings show, one",
            "held against one; how far trainings lie apart, which images do not mend, is",
            "not in it.",
        ]
    return ["Assumed: differences vary no more than the values themselves (an upper bound)."]


def _plain(each: Planned, value: float) -> str:
    return each.show(value).removeprefix("+")


def _images(each: Planned) -> str:
    if each.fall <= each.allowed:
        return "never"
    if math.isnan(each.images):
        return "–"
    return "more than 10 million" if each.images == math.inf else f"{each.images:,.0f}"


def _document(options: argparse.Namespace, found: Plan) -> dict[str, Any]:
    """The plan in types that JSON has; null where a number is infinite or unknown."""

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    numbers = ("allowed", "found", "fall", "images", "deviation", "won")
    return {
        "baseline": options.baseline,
        "candidate": options.candidate,
        "images": found.images,
        "groups": found.groups,
        "level": found.level,
        "power": found.power,
        "pairs": found.pairs,
        "trainings": found.trainings,
        "checks": [
            {
                "name": each.name,
                "where": each.where,
                **{name: finite(getattr(each, name)) for name in numbers},
                "blind": each.blind,
            }
            for each in found.checks
        ],
    }

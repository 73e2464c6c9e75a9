"""The message of a red gate: its verdict in the first line, and below it why."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_iaside.compare.words import confidence
from pytest_iaside.errors import visible
from pytest_iaside.report.numbers import fixed, signed
from pytest_iaside.report.record import ComparisonRecord

if TYPE_CHECKING:
    from pytest_iaside.testing.place import Place

# 80 columns less the eight that pytest puts before each line of a message.
WIDTH = 72
FEW = 3  # images behind a change, of those a failure names
MOST = 6  # quantities that moved, of those a failure names


def failure_message(
    comparison: ComparisonRecord, place: Place, details: Sequence[str], report: str | None
) -> str:
    """What a red gate raises; ``details`` stand between its checks and where to read on."""
    measured = f"{place.title}: {place.shown}" if place.shown else "measured on its own"
    lines = [
        comparison["summary"],
        "",
        "what did not pass, or changed:",
        *_checks(comparison),
        *_moved(comparison),
        *_images(comparison),
        *(line for note in comparison["notes"] for line in wrapped(f"note: {note}")),
        *details,
        f"{measured} ({_size(comparison)})",
    ]
    if report is not None:
        lines.append(f"report: {report}")
    if place.accept:
        lines += ["to accept the change:", f"    {place.accept}"]
    return visible("\n".join(lines))


def _size(comparison: ComparisonRecord) -> str:
    """How many images were compared, and how many groups of them."""
    groups, told = comparison["groups"], f"{comparison['images']} images"
    return told if groups is None else f"{told} in {groups} group{'s' * (groups != 1)}"


def wrapped(text: str) -> list[str]:
    """``text`` in lines that a terminal of 80 columns shows whole."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _checks(comparison: ComparisonRecord) -> list[str]:
    lines = []
    for check in comparison["checks"]:
        failing = check["verdict"] in ("drift", "inconclusive")
        if failing or check["changed"]:
            word = check["verdict"] if failing else "changed"
            lines += wrapped(f"{check['name']}: {word}: {check['sentence']}")
    return lines


def _moved(comparison: ComparisonRecord) -> list[str]:
    """The quantities that moved: every band, and of others those that no check tells of."""
    moved = [each for each in comparison["quantities"] if each["moved"]]
    lines = []
    if comparison["candidate"]["spectral"]:
        level, unit = confidence(comparison["level"]), comparison["candidate"]["spectral"]["unit"]
        for band in moved:
            before, after = fixed(band["baseline"], 2), fixed(band["candidate"], 2)
            change, low, high = (signed(band[key], 2) for key in ("change", "low", "high"))
            interval = f"{level} {low}…{high}"
            lines += wrapped(f"{band['name']} {before} → {after} {unit} ({change}, {interval})")
        return lines
    told = {
        check["where"]
        for check in comparison["checks"]
        if check["verdict"] in ("drift", "inconclusive")
    }
    others = [each for each in moved if each["name"] not in told]
    others.sort(key=lambda each: each["p_value"] or 0.0)
    for each in others[:MOST]:
        before, after = fixed(each["baseline"]), fixed(each["candidate"])
        lines += wrapped(f"changed: {each['name']} {before} → {after}")
    if len(others) > MOST:
        lines.append(f"  and {len(others) - MOST} more")
    return lines


def _images(comparison: ComparisonRecord) -> list[str]:
    changes = comparison["image_changes"]
    if changes is None:
        return []
    some = [f"{each['name']} {signed(each['contribution'])}" for each in changes["images"][:FEW]]
    whole = f"{changes['quantity']} {signed(changes['change'])} {changes['unit']}".strip()
    return wrapped(f"images that add most to {whole}: {'; '.join(some)}")

"""The message of a red gate: what got worse, what failed, why it may be, and what to do next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pytest_iaside.compare.glossary import glossary
from pytest_iaside.compare.headline import CLEAN_ACCURACY, percents
from pytest_iaside.compare.words import confidence
from pytest_iaside.errors import visible
from pytest_iaside.report.numbers import finite, fixed, signed
from pytest_iaside.report.record import ComparisonRecord
from pytest_iaside.testing.session import on_ci

if TYPE_CHECKING:
    from pytest_iaside.testing.place import Place

# 80 columns less the eight that pytest puts before each line of a message.
WIDTH = 72
FEW = 3  # images behind a change, of those a failure names
MOST = 6  # quantities that moved, of those a failure names


def failure_message(
    comparison: ComparisonRecord,
    place: Place,
    details: Sequence[str],
    report: str | None,
    reproduce: str | None = None,
) -> str:
    """What a red gate raises; ``details`` stand between what changed and what to try."""
    measured = f"{place.title}: {place.shown}" if place.shown else "measured on its own"
    lines = [
        comparison["summary"],
        *_part("what failed:", _checks(comparison)),
        *_part(
            "what else was seen:",
            [
                *_clean_accuracy(comparison),
                *_changed(comparison),
                *_moved(comparison),
                *_images(comparison),
                *_each("note: ", comparison["notes"]),
                *details,
            ],
        ),
        *_part("what to try:", _each("- ", comparison["causes"])),
        "",
        f"{measured} ({_size(comparison)})",
    ]
    if report is not None:
        lines.append(f"report: {report}")
    if reproduce:
        lines.append(f"reproduce: {reproduce}")
    words = glossary("\n".join(lines))
    lines += _part("words:", _each("", (f"{word}: {told}" for word, told in words.items())))
    # There updates are refused.
    where = " on your own machine" if on_ci() else ""
    if place.accept:
        title = f"to accept the change{where}, if it is meant to be so:"
        lines += _part(title, [f"    {place.accept}"])
    return visible("\n".join(lines))


def _part(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *lines] if lines else []


def _each(before: str, texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in wrapped(f"{before}{text}")]


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
    return _each(
        "",
        (
            f"{check['name']}: {check['verdict']}: {check['sentence']}"
            for check in comparison["checks"]
            if check["verdict"] in ("drift", "inconclusive")
        ),
    )


def _changed(comparison: ComparisonRecord) -> list[str]:
    """The checks that passed, of something that changed all the same."""
    return _each(
        "",
        (
            f"{check['name']}: changed: {check['sentence']}"
            for check in comparison["checks"]
            if check["changed"] and check["verdict"] not in ("drift", "inconclusive")
        ),
    )


def _clean_accuracy(comparison: ComparisonRecord) -> list[str]:
    """How often clean images are answered right, before and after, where no check tells."""
    told = {check["where"] for check in comparison["checks"] if check["verdict"] != "pass"}
    for each in comparison["answers"]:
        if each["name"] in CLEAN_ACCURACY and each["name"] not in told:
            before, after = finite(each["baseline"]), finite(each["candidate"])
            if before is None or after is None:
                break
            return wrapped(f"accuracy on clean images: {percents(before, after)}")
    return []


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

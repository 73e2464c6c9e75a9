"""The session in text: a table for the terminal, markdown for a pull request, JSON for machines."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_iaside.report.columns import cells, pad, shorten
from pytest_iaside.report.gates import (
    Gate,
    Record,
    gates,
    headline,
    interval_name,
    score_name,
    tally,
)
from pytest_iaside.report.numbers import compact, duration, fixed, printable, signed

JSON_FORMAT = "iaside-report/2"
# What session.schema.json, beside this file, is called: a new version for every change of fields.
JSON_SCHEMA = "urn:pytest-iaside:session:2"
# What a record holds for the HTML report only.
NOT_IN_JSON = ("pictures", "diagnosis_pictures")
# GitHub cuts comments at 65,536 characters; whoever posts one adds a few of their own.
MARKDOWN_BYTES = 64_000
LONGEST_LABEL = 120
FAILED = "31"  # the terminal's red
COLOURS = {"inconclusive": "33", "updated": "36", "created": "36", "pass": "32"}
GAP = "  "


def terminal_lines(records: Sequence[Record], *, width: int, color: bool) -> list[str]:
    """The table of gates, worst first, and under it one sentence for each failed gate.

    Lines are at most ``width`` columns long (72 where it is less). Where gate names do not fit
    beside their numbers they stand above them; only a name longer than a line is shortened.
    """
    found = gates(records)
    if not found:
        return []
    width = max(width, 72)
    head = (score_name(found), f"change ({interval_name(found)})", "verdict", "forward", "time")
    rows = [
        (
            _scores(gate),
            _change(gate),
            f"{gate.mark} {gate.word}",
            compact(gate.forward_passes),
            duration(gate.seconds),
        )
        for gate in found
    ]
    widths = [max(cells(row[column]) for row in (head, *rows)) for column in range(len(head))]
    right = (True, False, False, True, True)

    def line(row: Sequence[str], paint: str = "") -> str:
        texts = [
            pad(cell, room, right=to_right)
            for cell, room, to_right in zip(row, widths, right, strict=True)
        ]
        if paint:
            texts[2] = f"\x1b[{paint}m{texts[2]}\x1b[0m"
        return GAP.join(texts).rstrip()

    numbers_width = sum(widths) + len(GAP) * (len(widths) - 1)
    names = [_name(gate) for gate in found]
    longest = max(map(cells, names))
    beside = longest <= width - numbers_width - len(GAP)
    lines = [GAP.join((pad("gate", longest), line(head))) if beside else f"gate{GAP}{line(head)}"]
    for gate, name, row in zip(found, names, rows, strict=True):
        paint = FAILED if gate.failed else COLOURS.get(gate.word, FAILED)
        numbers = line(row, paint if color else "")
        if beside:
            lines.append(GAP.join((pad(name, longest), numbers)))
        else:
            lines += [shorten(name, width), f"    {GAP}{numbers}"]
    for gate in found:
        if gate.failed:
            name = shorten(gate.label, width - 4)
            lines += ["", f"{gate.mark} {name}:", *_wrap(gate.sentence, width, "  ")]
        elif gate.notes:
            name = shorten(gate.label, width - 4)
            notes = "; ".join(gate.notes)
            lines += ["", f"{gate.mark} {name}:", *_wrap(notes, width, "  ")]
    return lines


def markdown(records: Sequence[Record]) -> str:
    """The session as GitHub markdown under 64 KB: the table of gates, then the failed ones.

    Gates are left out from the least bad on where they do not fit, and it says how many.
    """
    found = gates(records)
    counts = ", ".join(f"{number} {word}" for word, number in tally(found).items())
    top = f"## Spectral robustness: {headline(found)}\n"
    if not found:
        return top
    top += (
        f"\n{counts}\n\n"
        f"| gate | {score_name(found)} | change ({interval_name(found)}) "
        "| verdict | passes | time |\n"
        "|---|---:|---|---|---:|---:|\n"
    )
    # The table may take three quarters, so that some of the failures are always explained.
    rows, left_out = _fitting([_row(gate) for gate in found], MARKDOWN_BYTES * 3 // 4 - _size(top))
    text = top + rows
    if left_out:
        text += f"\n… and {left_out} more gates, no worse than the last one above.\n"
    failed = [_details(gate) for gate in found if gate.failed]
    details, left_out = _fitting(failed, MARKDOWN_BYTES - _size(text) - 100)
    text += details
    if left_out:
        text += f"\n… and {left_out} more failed gates; the HTML report holds them all.\n"
    return text


def json_document(records: Sequence[Record], *, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The session in plain JSON values, as session.schema.json describes it; worst gate first.

    NaN and infinity, which JSON has not, become null.
    """
    found = gates(records)
    document: dict[str, Any] = _plain(
        {
            "format": JSON_FORMAT,
            "schema": JSON_SCHEMA,
            "meta": meta,
            "failed": any(gate.failed for gate in found),
            "counts": tally(found),
            "gates": [
                {name: value for name, value in gate.record.items() if name not in NOT_IN_JSON}
                for gate in found
            ],
        }
    )
    return document


def _scores(gate: Gate) -> str:
    score = gate.score
    if score.after is None and score.before is None and not gate.profile:
        return ""
    new = f"→ {fixed(score.after)}"
    return f"{fixed(score.before)} {new}" if gate.baseline or score.before is not None else new


def _change(gate: Gate) -> str:
    score = gate.score
    if gate.baseline is None and score.change is None:
        return ""
    if score.low is None or score.high is None:
        return signed(score.change)
    return f"{signed(score.change)} ({signed(score.low)}…{signed(score.high)})"


def _name(gate: Gate) -> str:
    """The gate, and what its score is where it is not signed SRC."""
    quantity = printable(gate.score.quantity)
    return f"{gate.label}: {quantity}" if quantity else gate.label


def _wrap(sentence: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        sentence,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def _row(gate: Gate) -> str:
    texts = (
        f"<code>{_escape(shorten(_name(gate), LONGEST_LABEL))}</code>",
        _scores(gate),
        _change(gate),
        f"{gate.mark} **{gate.word}**" if gate.failed else f"{gate.mark} {gate.word}",
        compact(gate.forward_passes),
        duration(gate.seconds),
    )
    return f"| {' | '.join(texts)} |\n"


def _details(gate: Gate) -> str:
    lines = [
        f"\n### {gate.mark} <code>{_escape(shorten(gate.label, LONGEST_LABEL))}</code>",
        "",
        _escape(gate.sentence),
    ]
    reasons = [
        f"- {check['verdict']}: {_escape(check['sentence'])}"
        for check in gate.checks
        if check["verdict"] != "pass"
    ]
    if reasons:
        lines += ["", *reasons]
    for what, key in (("Accept the change", "accept"), ("Reproduce it", "reproduce")):
        if gate.record.get(key):
            lines += ["", f"{what}:", "", *_fenced(printable(gate.record[key]))]
    return "\n".join(lines) + "\n"


def _fenced(code: str) -> tuple[str, str, str]:
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh", code, fence


def _escape(text: Any) -> str:
    """User text that markdown, HTML and GitHub's @mentions leave alone."""
    plain = printable(text)
    # An underscore inside a word is no markup, and names are full of them.
    marked = re.sub(r"[\\*\[\]~$#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", plain)
    entities: dict[str, str | int | None] = {
        character: f"&#{ord(character)};" for character in "`|<>"
    }
    entities["&"] = "&amp;"
    # GitHub looks for mentions in the rendered text, where an entity is a plain @ again.
    entities["@"] = "@&#8203;"
    return marked.translate(str.maketrans(entities))


def _fitting(parts: Sequence[str], room: int) -> tuple[str, int]:
    """As many of the first parts as fit into ``room`` bytes, and how many did not."""
    taken = 0
    for number, part in enumerate(parts):
        taken += _size(part)
        if taken > room:
            return "".join(parts[:number]), len(parts) - number
    return "".join(parts), 0


def _size(text: str) -> int:
    return len(text.encode())


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        # A lone surrogate, as in the name of a file that is not UTF-8, cannot be written.
        return value.encode("utf-8", "backslashreplace").decode()
    return value

"""The session as markdown, for a pull request."""

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from pytest_iaside.report.columns import shorten
from pytest_iaside.report.gates import Gate, gates, headline, interval_name, score_name, tally
from pytest_iaside.report.numbers import fixed, printable, signed
from pytest_iaside.report.record import GateRecord

# GitHub cuts comments at 65,536 characters; whoever posts one adds a few of their own.
MARKDOWN_BYTES = 64_000
LONGEST_LABEL = 120


def markdown(records: Sequence[GateRecord]) -> str:
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
    rows = [_row(gate) for gate in found]
    text, left_out = _with_first(top, rows, MARKDOWN_BYTES * 3 // 4)
    if left_out:
        text += f"\n… and {left_out} more gates, no worse than the last one above.\n"
    failed = [_details(gate) for gate in found if gate.failed]
    text, left_out = _with_first(text, failed, MARKDOWN_BYTES - 100)
    if left_out:
        text += f"\n… and {left_out} more failed gates; the HTML report shows all of them.\n"
    return text


def _row(gate: Gate) -> str:
    score, change, verdict, *cost = gate.row
    if gate.failed:
        verdict = f"{gate.mark} **{gate.word}**"
    return f"| {' | '.join((_code(gate.full_label), score, change, verdict, *cost))} |\n"


def _details(gate: Gate) -> str:
    lines = [f"\n### {gate.mark} {_code(gate.label)}", "", _escape(gate.sentence)]
    if gate.size:
        lines[-1] += f" ({gate.size})"
    reasons = [
        f"- {check['verdict']}: {_escape(check['sentence'])}"
        for check in gate.checks
        if check["verdict"] in ("drift", "inconclusive")
    ]
    if reasons:
        lines += ["", *reasons]
    lines += _bands(gate)
    if gate.causes:
        lines += ["", "What to try:", "", *(f"- {_escape(cause)}" for cause in gate.causes)]
    commands = {
        "Reproduce it": gate.record["reproduce"],
        "Accept the change, if it is meant to be so": gate.record["accept"],
    }
    for what, text in commands.items():
        if command := printable(text):
            fence = "`" * (1 + max(2, *map(len, re.findall("`*", command))))
            lines += ["", f"{what}:", "", f"{fence}sh", command, fence]
    return "\n".join(lines) + "\n"


def _bands(gate: Gate) -> list[str]:
    """Every band under the baseline and under the candidate; empty where there are none."""
    comparison = gate.record["comparison"]
    if comparison is None or gate.record["status"] != "compared":
        return []
    spectral = comparison["candidate"]["spectral"]
    bands = [each for each in comparison["quantities"] if each["family"] == "band"]
    if spectral is None or not bands:
        return []
    unit = _escape(spectral["unit"])
    rows = [
        f"| {_escape(band['name'])} | {fixed(band['baseline'])} | {fixed(band['candidate'])} "
        f"| {signed(band['change'])} ({signed(band['low'])}…{signed(band['high'])}) "
        f"| {'**moved**' if band['moved'] else ''} |"
        for band in bands
    ]
    return [
        "",
        f"| what each band gives to the right answer, in {unit} | baseline | now | change "
        f"({comparison['level']:.0%} CI) | |",
        "|---|---:|---:|---|---|",
        *rows,
    ]


def _code(label: str) -> str:
    return f"<code>{_escape(shorten(label, LONGEST_LABEL))}</code>"


def _escape(text: Any) -> str:
    """User text that markdown, HTML and GitHub's @mentions leave alone."""
    plain = printable(text)
    # An underscore inside a word is no markup, and names are full of them.
    marked = re.sub(r"[\\*\[\]~$#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", plain)
    entities = {ord(character): f"&#{ord(character)};" for character in "`|<>"}
    # GitHub looks for mentions in the rendered text, where an entity is a plain @ again.
    return marked.translate(entities | {ord("&"): "&amp;", ord("@"): "@&#8203;"})


def _with_first(text: str, parts: Sequence[str], most: int) -> tuple[str, int]:
    """``text`` and as many of ``parts`` as fit into ``most`` bytes, and how many did not."""
    sizes = accumulate(len(part.encode()) for part in (text, *parts))
    fit = max(sum(size <= most for size in sizes) - 1, 0)
    return text + "".join(parts[:fit]), len(parts) - fit

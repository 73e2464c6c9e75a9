"""The report of a session: one HTML file that needs nothing else, neither network nor scripts.

It shows every verdict and check, and as many charts and pictures as fit into its size.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from markupsafe import Markup

from pytest_iaside.report.gates import Gate, gates, headline, interval_name, score_name, tally
from pytest_iaside.report.record import GateRecord, MetaRecord
from pytest_iaside.report.sections import Detail, section
from pytest_iaside.report.writing import templates, write_text

LIMIT_MB = 3.0
# The parts of a Detail, and what is said where they are left out; the last go first.
LEFT_OUT = {
    "charts": "the charts",
    "maps": "the maps",
    "thumbnails": "the small pictures",
    "examples": "the example pictures",
}


def write_html(
    records: Sequence[GateRecord], path: str | Path, *, meta: MetaRecord, limit: float = LIMIT_MB
) -> Path:
    """Write the report of ``records`` to ``path``, making its folders; atomic.

    It has at most ``limit`` megabytes, and says what was left out for that.

    Raises SpectralRobustnessError when it cannot be written; what was there then stands.
    """
    content = render(records, meta=meta, limit=limit)
    return write_text(content, path, "choose another path with --iaside-report")


def render(records: Sequence[GateRecord], *, meta: MetaRecord, limit: float = LIMIT_MB) -> str:
    """The report of ``records`` as HTML.

    What would make it larger than ``limit`` megabytes is left out: example pictures first.
    """
    environment = templates()
    script = environment.get_template("report.js.j2").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = gates(records)
    page = environment.get_template("report.html.j2")
    body = environment.get_template("gate.html.j2")

    def draw(number: int, detail: Detail) -> str:
        return body.render(section=section(found[number], number + 1, detail))

    def bind(articles: Sequence[str], left_out: Sequence[str]) -> str:
        return page.render(
            headline=headline(found),
            failed=any(gate.failed for gate in found),
            tally=tally(found),
            meta=meta,
            gates=list(enumerate(found, 1)),
            articles=[Markup(article) for article in articles],
            left_out=left_out,
            interval=interval_name(found),
            score_name=score_name(found),
            # The page's policy lets only this very script run, whatever a test is called.
            script=Markup(script),
            script_digest=digest,
        )

    room = int(limit * 1e6) - len(bind([], [""] * len(LEFT_OUT)).encode())
    return bind(*_fitted(found, room, draw))


def _fitted(
    gates: Sequence[Gate], room: int, draw: Callable[[int, Detail], str]
) -> tuple[list[str], list[str]]:
    """The article of each of ``gates``, drawn with as much detail as fits into ``room`` bytes.

    Failed gates go before others, worse ones before better. Returns what was left out, in words,
    beside the articles.
    """
    parts = list(LEFT_OUT)
    given = [0] * len(gates)  # how many of the parts each has
    articles = [draw(number, _detail(0)) for number in range(len(gates))]
    room -= sum(map(_size, articles))
    failed = [number for number, gate in enumerate(gates) if gate.failed]
    others = [number for number, gate in enumerate(gates) if not gate.failed]
    stages = ((failed, 1), (failed, 2), (failed, 3), (others, 1), (others, 3), (failed + others, 4))
    for number, count in ((number, count) for some, count in stages for number in some):
        if not _has(gates[number], parts[count - 1]):
            continue
        article = draw(number, _detail(count))
        room -= _size(article) - _size(articles[number])
        if room < 0:
            # The next one might fit, but the order is by how much a gate matters.
            break
        articles[number], given[number] = article, count
    missing = {
        LEFT_OUT[part]: sum(
            _has(gate, part) and count <= at for gate, count in zip(gates, given, strict=True)
        )
        for at, part in enumerate(parts)
    }
    return articles, [
        f"{what} of {count} gate{'' if count == 1 else 's'}"
        for what, count in missing.items()
        if count
    ]


def _detail(count: int) -> Detail:
    """The first ``count`` parts."""
    return Detail(**{part: at < count for at, part in enumerate(LEFT_OUT)})


def _has(gate: Gate, part: str) -> bool:
    match part:
        case "charts":
            return bool(gate.measurements)
        case "maps":
            return bool(gate.record.get("section_pictures"))
    return bool(gate.record.get("pictures"))


def _size(text: str) -> int:
    return len(text.encode())

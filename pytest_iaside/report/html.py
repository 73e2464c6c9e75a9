"""The report of a session: one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pytest_iaside.report.budget import LIMIT_MB, fitted
from pytest_iaside.report.gates import Record, gates, headline, interval_name, score_name, tally
from pytest_iaside.report.sections import Detail, section
from pytest_iaside.report.writing import templates, write_text


def write_html(
    records: Sequence[Record],
    path: str | Path,
    *,
    meta: Mapping[str, Any],
    limit: float = LIMIT_MB,
) -> Path:
    """Write the report of ``records`` to ``path``, making its folders; atomic.

    It has at most ``limit`` megabytes, and says what was left out for that.

    Raises SpectralRobustnessError when it cannot be written; what was there then stands.
    """
    content = render(records, meta=meta, limit=limit)
    return write_text(content, path, "choose another path with --iaside-report")


def render(records: Sequence[Record], *, meta: Mapping[str, Any], limit: float = LIMIT_MB) -> str:
    """The report of ``records`` as HTML; ``meta`` has at least created, command and version.

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

    room = int(limit * 1e6) - len(bind([], [""] * 4).encode())
    return bind(*fitted(found, room, draw))

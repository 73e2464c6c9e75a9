"""The report of a session: one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.report.budget import LIMIT_MB, fitted
from pytest_iaside.report.gates import Record, gates, headline, interval_name, tally
from pytest_iaside.report.numbers import count, duration, fixed, printable, signed
from pytest_iaside.report.sections import Detail, section

TEMPLATES = Path(__file__).parent / "templates"


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
    path = Path(path)
    content = render(records, meta=meta, limit=limit).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(name, 0o644)  # mkstemp's own mode hides the report from a web server
            os.replace(name, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
    except OSError as error:
        raise SpectralRobustnessError(
            f"cannot write the report {path}: {error.strerror or error}; make the folder writable "
            "or choose another path with --iaside-report"
        ) from error
    return path


def render(records: Sequence[Record], *, meta: Mapping[str, Any], limit: float = LIMIT_MB) -> str:
    """The report of ``records`` as HTML; ``meta`` has at least created, command and version.

    What would make it larger than ``limit`` megabytes is left out: example pictures first.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_printable,
    )
    environment.globals.update(passes=count, duration=duration, fixed=fixed, signed=signed)
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
            # The page's policy lets only this very script run, whatever a test is called.
            script=Markup(script),
            script_digest=digest,
        )

    room = int(limit * 1e6) - len(bind([], [""] * 4).encode())
    return bind(*fitted(found, room, draw))


def _printable(value: Any) -> Any:
    """What Jinja writes for ``value``: escaped afterwards, unless it is markup of our own."""
    return value if isinstance(value, Markup) else printable(value)

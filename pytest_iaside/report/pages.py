"""A page of figures, as tracking, studies and explanations are shown; needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_iaside.report.figures import Figure
from pytest_iaside.report.tables import Table
from pytest_iaside.report.writing import templates, write_text


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page says: ``headline`` is its result in a sentence, ``about`` how it came about."""

    title: str
    headline: str
    about: str = ""
    warnings: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    facts: Table | None = None
    """How it was measured: settings, models, versions."""


def write_page(page: Page, path: str | Path, *, meta: Mapping[str, Any]) -> Path:
    """Write ``page`` to ``path``, making its folders; atomic.

    ``meta`` has at least created, command and version. Raises SpectralRobustnessError when it
    cannot be written; what was there then stands.
    """
    return write_text(render_page(page, meta=meta), path, "choose another path")


def render_page(page: Page, *, meta: Mapping[str, Any]) -> str:
    """``page`` as HTML."""
    return templates().get_template("page.html.j2").render(page=page, meta=meta)

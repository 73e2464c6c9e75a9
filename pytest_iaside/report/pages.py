"""A page of figures on a training run, a study or an explanation: one file, without scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_iaside.report.figures import Figure, Table
from pytest_iaside.report.record import MetaRecord
from pytest_iaside.report.writing import templates, write_text


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page says: ``headline`` is its result in a sentence, ``about`` how it came about."""

    title: str
    headline: str
    about: str = ""
    warnings: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    settings: Table | None = None  # How it was measured: settings, models, versions.


def write_page(page: Page, path: str | Path, *, meta: MetaRecord) -> Path:
    """Write ``page`` to ``path`` as ``write_text`` does, and raise as it does."""
    content = templates().get_template("page.html.j2").render(page=page, meta=meta)
    return write_text(content, path, "choose another path")

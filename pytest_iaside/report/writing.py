"""Templates and files of all pages."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.report.numbers import count, duration, finite, fixed, printable
from pytest_iaside.report.wings import wings
from pytest_iaside.store.files import write_export

TEMPLATES = Path(__file__).parent / "templates"


def templates() -> Environment:
    """The templates of reports and wings; they escape whatever is not our own markup."""
    folders = [TEMPLATES, *(wing.templates for wing in wings() if wing.templates is not None)]
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        # What is not our own markup is made printable, and escaped afterwards.
        finalize=lambda value: value if isinstance(value, Markup) else printable(value),
    )
    environment.globals.update(passes=count, duration=duration, finite=finite, fixed=fixed)
    return environment


def write_text(content: str, path: str | Path, advice: str) -> Path:
    """Write ``content`` to ``path``, making its folders; atomic.

    Raises SpectralRobustnessError, with ``advice``, when it cannot be written; what was there
    then stands.
    """
    path = Path(path)
    try:
        write_export(path, content)
    except OSError as error:
        raise SpectralRobustnessError(
            f"cannot write {path}: {error.strerror or error}; make the folder writable or {advice}"
        ) from error
    return path

"""Wings: parts that stand on the core and register themselves, so that the core names none.

A wing is an entry point of the group ``pytest_iaside.wings`` whose object is a Wing. The package's
own three (explain, track, study) are registered in pyproject.toml in the same way.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytest_iaside.errors import one_line

if TYPE_CHECKING:
    from pytest_iaside.report.figures import Figure

GROUP = "pytest_iaside.wings"


@dataclass(frozen=True, kw_only=True)
class ReportSection:
    """A wing's part of the HTML report on a gate: figures, or the content of a template."""

    title: str
    about: str = ""
    figures: Sequence[Figure] = ()
    template: str = ""
    """The template that shows ``content``; in the wing's own folder of templates."""
    content: Any = None


@dataclass(frozen=True, kw_only=True)
class Wing:
    """What a wing adds to the core.

    ``commands`` are commands of ``iaside``: modules whose function ``add(commands)`` adds a parser,
    with what runs it as ``run``. ``tell_red`` says more of a red spectral gate
    (testing/red.py): its answer becomes the section ``name`` of the gate's record, and the pictures
    of that section. ``tell_perturbed(model, image, perturbation, *, seed, execution)`` says in a
    sentence what a perturbation changes in the image that drives a red perturbation gate. ``draw``
    makes the report's section of the record's, of its pictures where the
    file has room for them, and of an identifier that is unique in the page. ``record`` is the type
    of the section, for session.schema.json.
    """

    name: str
    commands: Sequence[ModuleType] = ()
    tell_red: Callable[..., tuple[Any, Any]] | None = None
    tell_perturbed: Callable[..., str] | None = None
    draw: Callable[[Any, Any, str], ReportSection | None] | None = None
    record: Any = None
    templates: Path | None = None


def wings() -> tuple[Wing, ...]:
    """Every wing that is installed and can be loaded, by name."""
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        try:
            found.append(entry.load())
        except Exception as error:  # Somebody else's package must not cost a gate its verdict.
            warnings.warn(
                f"the wing {entry.name} ({entry.value}) cannot be loaded ({one_line(error)}); "
                "repair or uninstall its package",
                stacklevel=2,
            )
    return tuple(found)

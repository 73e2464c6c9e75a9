"""Wings: what stands on the core and registers itself, so that the core need not name it.

A wing is an entry point of the group ``pytest_iaside.wings`` whose object is a Wing. The package's
own three (explain, track, study) are registered in pyproject.toml in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import argparse

    from pytest_iaside.report.figures import Figure

GROUP = "pytest_iaside.wings"


class Command(Protocol):
    """A command of ``iaside``: a module that adds its parser, with its function as ``run``."""

    def add(self, commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class ReportSection:
    """What the HTML report shows of a gate on a wing's behalf: figures, or a template's content."""

    title: str
    about: str = ""
    figures: Sequence[Figure] = ()
    template: str = ""
    """The template that shows ``content``; in the wing's own folder of templates."""
    content: Any = None


@dataclass(frozen=True, kw_only=True)
class Wing:
    """What a wing adds to the core; what it leaves out, it does not add.

    ``commands`` are of ``iaside``. ``tell_red`` is asked what more there is to say of a red
    spectral gate (testing/spectral.py): its answer becomes the record's section ``name``, with its
    pictures. ``draw`` makes of that, and its pictures where there is room for them, what the HTML
    report shows; ``record`` is the type of the section, for session.schema.json.
    """

    name: str
    commands: Sequence[Command] = ()
    tell_red: Callable[..., tuple[Any, Any]] | None = None
    draw: Callable[[Any, Any], ReportSection | None] | None = None
    record: Any = None
    templates: Path | None = None


@cache
def wings() -> tuple[Wing, ...]:
    """Every wing that is installed, by name."""
    found = sorted(entry_points(group=GROUP), key=lambda each: each.name)
    return tuple(each.load() for each in found)

"""A red gate, for wings that look deeper into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.errors import one_line
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.report.wings import Wing, wings
from pytest_iaside.settings import ini_value, read_text
from pytest_iaside.testing.current_test import CurrentTest

OPTION = "--iaside-diagnose"


@dataclass(frozen=True, eq=False, kw_only=True)
class RedGate:
    """A spectral gate that failed: what was measured, and how it came out."""

    test: CurrentTest
    model: Any
    baseline_model: Any
    sample: ReferenceSample
    comparison: Comparison
    execution: Execution

    @property
    def asked(self) -> int | None:
        """How many images are to be explained; None where nobody says."""
        return diagnosed(self.test)

    def other_model(self) -> Any:
        """The model of the baseline, to look at beside this one; None where there is none."""
        if self.baseline_model is not None:
            return self.baseline_model
        return self.test.fixture("spectral_baseline_classifier")


def diagnosed(test: CurrentTest) -> int | None:
    """How many images of a red gate are to be explained; None where nobody says."""
    text = test.config.getoption("iaside_diagnose")
    value = read_text("diagnose", text, OPTION) if text else ini_value(test.config, "diagnose")
    return None if value in (None, "auto") else int(value)


@contextmanager
def surviving(what: str, notes: list[str]) -> Iterator[None]:
    """Whatever fails in here must not cost the gate its verdict: a note says that it failed."""
    try:
        yield
    except Exception as error:
        notes.append(f"{what} cannot be shown ({one_line(error)})")


def told_by_wings(red: RedGate, notes: list[str]) -> dict[str, Any]:
    """Fields of a red gate's record that wings fill; ``notes`` tell of those that failed."""
    sections, pictures = {}, {}
    found: tuple[Wing, ...] = ()
    with surviving("what wings say", notes):
        found = wings()
    for wing in found:
        with surviving(f"what {wing.name} says", notes):
            content, shown = (None, None) if wing.tell_red is None else wing.tell_red(red)
            if content is not None:
                sections[wing.name] = content
            if shown is not None:
                pictures[wing.name] = shown
    return {"sections": sections, "section_pictures": pictures}

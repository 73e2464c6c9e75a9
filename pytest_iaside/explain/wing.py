"""The wing explain: its command, and the report's section on the images behind a red gate."""

from pathlib import Path
from typing import Any

from pytest_iaside.explain import command
from pytest_iaside.explain.records import ExplanationRecord, PictureRecord
from pytest_iaside.report.wings import ReportSection, Wing


def tell_red(red: Any) -> tuple[ExplanationRecord | None, list[PictureRecord] | None]:
    """Explain the images that drive the change of a red gate."""
    from pytest_iaside.explain import drilldown

    return drilldown.tell_red(red)


def tell_perturbed(model: Any, image: Any, perturbation: Any, *, seed: int, execution: Any) -> str:
    """What ``perturbation`` changes in where the answer to ``image`` comes from."""
    from pytest_iaside.explain.explanation import fitting
    from pytest_iaside.explain.perturbed import GATE_CELLS, GATE_REPEATS, explain_perturbed

    levels, grid = fitting(image, None, None, most=GATE_CELLS)
    found = explain_perturbed(
        model,
        image,
        perturbation,
        grid=grid,
        wavelet_levels=levels,
        repeats=GATE_REPEATS,
        seed=seed,
        execution=execution,
    )
    return f"{image.names[0]}, whose loss rose the most: {found.sentence(0)}"


def draw(
    record: ExplanationRecord, pictures: list[PictureRecord] | None, ident: str
) -> ReportSection:
    """Where in the explained images, and at which scale, the answers come from."""
    from pytest_iaside.explain.section import explanation_section

    return explanation_section(record, pictures)


WING = Wing(
    name="explanation",
    commands=(command,),
    tell_red=tell_red,
    tell_perturbed=tell_perturbed,
    draw=draw,
    record=ExplanationRecord,
    templates=Path(__file__).parent / "templates",
)

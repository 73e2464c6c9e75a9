"""Charts of many models: places, marks that can be told apart, and no markup of a user's."""

from __future__ import annotations

import re
from itertools import product
from xml.etree import ElementTree

import pytest

from pytest_iaside.report.charts.groups import COLOURS, SHAPES, Line, curves_by_band, mark
from pytest_iaside.study.charts import (
    Dot,
    convergence_curves,
    grid_chart,
    interval_chart,
    plane_chart,
    scatter_chart,
)

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<b>\"'&\x00\u202e"


def marks(chart: str) -> dict[str, tuple[float, float]]:
    """The places of all marks, by the names that pointing at them shows."""
    found = {}
    for path in ElementTree.fromstring(chart).iter(f"{SVG}path"):
        name = path.find(f"{SVG}title")
        if name is not None and name.text:
            x, y = re.findall(r"-?[\d.]+", path.get("transform") or "")
            found.setdefault(name.text, (float(x), float(y)))
    return found


def texts(chart: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(chart).iter(f"{SVG}text")]


def test_a_scatter_chart_puts_models_to_scale() -> None:
    dots = [
        Dot("a", 1.0, 10.0),
        Dot("b", 2.0, 30.0, across=(1.8, 2.2), upright=(25.0, 35.0)),
        Dot("c", 4.0, 20.0, group=1),
    ]
    chart = scatter_chart("s", dots, across="x", upright="y", groups=["g", "h"], title="t")
    places = marks(chart)
    (ax, ay), (bx, by), (cx, cy) = (places[name] for name in "abc")
    assert (bx - ax) / (cx - ax) == pytest.approx(1 / 3, abs=0.01)
    assert (by - ay) / (cy - ay) == pytest.approx(2, abs=0.02)
    assert ay > by  # more is higher up
    assert {"g", "h", "x", "y"} <= {*texts(chart), *places}


def test_models_that_are_all_the_same_have_a_place_too() -> None:
    dots = [Dot(name, 0.0, 0.5) for name in "ab"]
    chart = scatter_chart("s", dots, across="x", upright="y", groups=[""], title="t")
    assert len(marks(chart)) == 2
    assert marks(plane_chart("p", dots, groups=["", "g"], title="t"))["a"] == (197.0, 127.0)


def test_a_plane_keeps_its_proportions() -> None:
    dots = [Dot("a", 0, 0), Dot("b", 3, 0), Dot("c", 3, 4)]
    (ax, ay), (bx, by), (cx, cy) = (
        marks(plane_chart("p", dots, groups=["g"], title="t"))[name] for name in "abc"
    )
    assert ay == by
    assert bx == cx
    assert (by - cy) / (bx - ax) == pytest.approx(4 / 3, abs=0.01)


def test_sixty_four_groups_can_be_told_apart() -> None:
    assert len({mark(0, 0, group, "") for group in range(len(COLOURS) * len(SHAPES))}) == 64


def test_a_grid_is_the_stronger_the_further_from_0() -> None:
    chart = grid_chart("g", ["a", "b"], ["x", "y"], [[1.0, -0.5], [None, 0.0]], title="t")
    cells = {
        float(cell.get("fill-opacity", "nan")): cell.get("style")
        for cell in ElementTree.fromstring(chart).iter(f"{SVG}g")
        if cell.get("fill-opacity")
    }
    assert sorted(cells) == [0.0, 0.3, 0.6]
    assert cells[0.6] != cells[0.3]  # signs have colours of their own
    assert [text for text in texts(chart) if text not in "abxy"] == ["1.00", "−.50", "—", ".00"]


def test_intervals_stand_in_rows_with_their_numbers() -> None:
    bars = {"first": (0.5, 0.1, 0.8), "none": (None, None, None)}
    chart = interval_chart("i", bars, name="r", title="t")
    assert [text for text in texts(chart) if text in ("first", "0.50", "none", "—")] == [
        "first",
        "0.50",
        "none",
        "—",
    ]
    assert "first 0.50, interval 0.10 to 0.80" in chart


@pytest.mark.parametrize("ordered", [False, True])
def test_curves_go_through_the_middles_of_bands(ordered: bool) -> None:
    lines = [Line("one", [0.0, 1.0]), Line("two", [1.0, 0.0])]
    chart = curves_by_band("c", [0.0, 0.1, 0.5], lines, ordered=ordered, title="t")
    first, second = (
        [tuple(map(float, pair.split(","))) for pair in (line.get("points") or "").split()]
        for line in ElementTree.fromstring(chart).iter(f"{SVG}polyline")
    )
    assert first[0][0] == pytest.approx(48 + 0.05 / 0.5 * 298, abs=0.1)
    assert first[1][0] == pytest.approx(48 + 0.3 / 0.5 * 298, abs=0.1)
    assert (first[0][1], first[1][1]) == (second[1][1], second[0][1])
    assert first[1][1] < first[0][1]
    assert ("opacity" in chart) == ordered


def test_names_of_a_user_are_no_markup() -> None:
    dots = [Dot(HOSTILE, x, y) for x, y in product((0.0, 1.0), repeat=2)]
    groups = [HOSTILE, "g"]
    for chart in (
        scatter_chart("s", dots, across="x", upright="y", groups=groups, title="t"),
        plane_chart("p", dots, groups=groups, title="t"),
        curves_by_band("c", [0, 0.5], [Line(HOSTILE, [1.0])], ordered=False, title="t"),
    ):
        ElementTree.fromstring(chart)  # It is still XML, which knows no NUL.
        assert "<b>" not in chart
        assert "&lt;b&gt;" in chart
        assert "\u202e" not in chart


def test_convergence_curves_are_to_scale_and_named() -> None:
    curves = {HOSTILE: [(1, 0.4), (2, 0.2), (4, 0.0)], "b": [(1, 0.1), (4, 0.05)]}
    chart = convergence_curves("c", curves)
    root = ElementTree.fromstring(chart)
    assert len([one for one in root.iter(f"{SVG}title") if one.text == "b"]) == 1
    first, second = (
        [float(x) for x in re.findall(r"-?[\d.]+", line.get("points") or line.get("d") or "")]
        for line in root.iter()
        if "path" in (line.get("class") or "").split()
    )
    (x1, y1), (x2, y2), (x4, y4) = zip(first[::2], first[1::2], strict=True)
    assert (x4 - x1) / (x2 - x1) == pytest.approx(3, abs=0.02)
    assert (y4 - y1) / (y2 - y1) == pytest.approx(2, abs=0.02)
    assert second[0] == x1
    assert "the last steps from 0.000 to 0.050 nats" in chart
    empty = convergence_curves("c", {"alone": []})
    assert "1 models; the last steps from — to — nats" in empty

"""Charts: every coordinate follows from the data, every SVG is well formed and described."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_iaside.report.charts import gate as charts
from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.gate import Series

NAMESPACE = "{http://www.w3.org/2000/svg}"
EDGES = [0.0, 0.125, 0.25, 0.375, 0.5]
finite = st.floats(-1e6, 1e6, allow_nan=False)


def elements(drawn: str, tag: str, css: str = "") -> list[ElementTree.Element]:
    found = ElementTree.fromstring(drawn).iter(f"{NAMESPACE}{tag}")
    return [one for one in found if not css or css in one.get("class", "").split()]


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.get(name, "nan"))


def texts(drawn: str) -> list[str]:
    return [one.text or "" for one in elements(drawn, "text")]


def changes(values: Any, low: Any, high: Any, moved: Any) -> list[Any]:
    """Records of the change of each band."""
    names = ("change", "low", "high", "moved")
    return [
        dict(zip(names, each, strict=True)) for each in zip(values, low, high, moved, strict=True)
    ]


class TestTicks:
    @given(finite, finite, st.integers(2, 9))
    def test_are_round_evenly_spaced_and_inside(self, a: float, b: float, most: int) -> None:
        low, high = min(a, b), max(a, b)
        if high - low < 1e-6 * max(abs(low), abs(high), 1):
            return
        step = svg.nice_step(low, high, most)
        ticks = svg.nice_ticks(low, high, most)
        leading = step / 10.0 ** math.floor(math.log10(step) + 1e-9)
        assert any(leading == pytest.approx(digit) for digit in (1, 2, 5))
        assert len(ticks) <= most
        assert all(low <= tick <= high for tick in ticks)
        slack = 1e-6 * step + 1e-9 * max(abs(low), abs(high))
        for tick in ticks:
            assert abs(tick - round(tick / step) * step) <= slack
        if ticks:  # no round number inside is left out
            assert ticks[0] - step < low + slack
            assert ticks[-1] + step > high - slack

    def test_examples(self) -> None:
        assert svg.nice_ticks(-0.3, 0.52) == pytest.approx([-0.2, 0, 0.2, 0.4])
        assert svg.nice_ticks(0, 0.5) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
        assert svg.nice_ticks(0, 4.75) == pytest.approx([0, 1, 2, 3, 4])

    @pytest.mark.parametrize(
        ("value", "step", "expected"),
        [
            (0.30000000000000004, 0.1, "0.3"),
            (-0.25, 0.05, "−0.25"),
            (-1e-17, 0.1, "0.0"),
            (40.0, 20.0, "40"),
            (3e-6, 1e-6, "3e−06"),
            (0.0, 1e-6, "0"),
        ],
    )
    def test_text(self, value: float, step: float, expected: str) -> None:
        assert svg.tick_text(value, step) == expected


class TestDomain:
    @given(st.lists(st.none() | finite, max_size=9), st.lists(finite, max_size=9))
    def test_holds_zero_and_every_value(
        self, values: list[float | None], bounds: list[float]
    ) -> None:
        low, high = svg.domain(values, bounds)
        assert low < high
        assert all(low <= value <= high for value in [0.0, *values] if value is not None)

    def test_wide_interval_does_not_flatten_the_values(self) -> None:
        low, high = svg.domain([0.0, 1.0], [-900.0, 900.0])
        assert (low, high) == pytest.approx((-1.5 - 0.24, 2.5 + 0.24))

    def test_rounding_errors_do_not_fill_it(self) -> None:
        low, high = svg.domain([1e-7, -1e-7], least=0.01)
        assert (low, high) == pytest.approx((-0.0056, 0.0056))


class TestWhisker:
    scale = svg.Scale(0, 10, 0, 100)

    def test_ends_at_its_bounds(self) -> None:
        assert svg.whisker(self.scale, 50, 2, 7, "x", along="x") == (
            '<path d="M20 50h50M20 47v6M70 47v6" class="whisker x"/>'
        )
        assert 'd="M50 20v50M47 20h6M47 70h6"' in svg.whisker(self.scale, 50, 2, 7, "x", along="y")

    def test_beyond_the_scale_has_no_cap(self) -> None:
        found = svg.whisker(self.scale, 50, 2, 12, "x", along="x")
        # An arrowhead says that it goes on.
        assert 'd="M20 50h80M20 47v6M100 50l-3 -3M100 50l-3 3"' in found

    @pytest.mark.parametrize("bounds", [(None, 3.0), (3.0, None), (11.0, 12.0)])
    def test_nothing_to_draw(self, bounds: tuple[Any, Any]) -> None:
        assert svg.whisker(self.scale, 50, *bounds, "x", along="x") == ""


class TestSid:
    shares = (0.6, 0.3, 0.1, 0.0)

    def test_bar_heights_are_the_shares(self) -> None:
        drawn = charts.sid_chart("a", EDGES, [Series("baseline", self.shares)])
        bars = elements(drawn, "rect", "baseline")
        heights = [number(bar, "height") for bar in bars]
        assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
        assert heights[0] == pytest.approx(6 * heights[2], abs=0.6)
        assert heights[3] == 0
        feet = {number(bar, "y") + number(bar, "height") for bar in bars}
        assert max(feet) - min(feet) < 0.11

    def test_bars_of_a_band_stand_in_it(self) -> None:
        series = [Series("baseline", self.shares), Series("candidate", self.shares)]
        drawn = charts.sid_chart("a", EDGES, series)
        slot = (charts.RIGHT - charts.LEFT) / 4
        for role in ("baseline", "candidate"):
            for band, bar in enumerate(elements(drawn, "rect", role)):
                start = charts.LEFT + band * slot
                assert start <= number(bar, "x")
                assert number(bar, "x") + number(bar, "width") <= start + slot

    def test_says_that_there_is_none(self) -> None:
        series = [Series("baseline", self.shares), Series("candidate", (None,) * 4)]
        drawn = charts.sid_chart("a", EDGES, series)
        assert "candidate: all ψ equal, no SID" in texts(drawn)
        assert elements(drawn, "rect", "candidate") == []


class TestPsi:
    def test_points_are_placed_by_value(self) -> None:
        drawn = charts.psi_chart("a", EDGES, [Series("baseline", (4.0, 2.0, 0.0, -2.0))])
        y = [number(mark, "cy") for mark in elements(drawn, "circle", "baseline")]
        assert y[1] - y[0] == pytest.approx(y[2] - y[1], abs=0.2)
        assert y[3] - y[2] == pytest.approx(y[1] - y[0], abs=0.2)
        (zero,) = elements(drawn, "line", "zero")
        assert number(zero, "y1") == y[2]

    def test_moved_bands_are_marked_by_shape_and_value(self) -> None:
        series = [Series("baseline", (4.0, 2.0, 1.0, 0.5)), Series("candidate", (4, 1.5, 1, 0.9))]
        bands = changes(
            (0.0, -0.5, 0.0, 0.4), (-0.1, -0.6, -0.1, 0.3), (0.1, -0.4, 0.1, 0.5),
            (False, True, False, True),
        )  # fmt: skip
        drawn = charts.psi_chart("a", EDGES, series, bands, allowed=-0.2)
        slot = (charts.RIGHT - charts.LEFT) / 4
        assert [number(one, "x") for one in elements(drawn, "rect", "moved")] == pytest.approx(
            [charts.LEFT + slot, charts.LEFT + 3 * slot], abs=0.06
        )
        (fallen,), (risen,) = elements(drawn, "path", "fallen"), elements(drawn, "path", "risen")
        assert (fallen.get("d") or "").endswith("h10l-5 8z")
        assert (risen.get("d") or "").endswith("h10l-5 -8z")
        assert {"−0.50", "+0.40"} <= set(texts(drawn))
        assert len(elements(drawn, "line", "limit")) == 1
        assert "Moved bands: 1, 3." in drawn

    def test_labels_of_narrow_bands_keep_apart(self) -> None:
        bands = 16
        edges = [0.5 * band / bands for band in range(bands + 1)]
        values = [-1.0 - band for band in range(bands)]
        moved = changes(values, values, values, [True] * bands)
        drawn = charts.psi_chart("a", edges, [Series("candidate", values)], moved)
        places = sorted(
            number(one, "x")
            for one in elements(drawn, "text", "value")
            if re.fullmatch(r"−\d+\.00", one.text or "")
        )
        assert "−16.00" in texts(drawn)  # the largest change always
        assert all(b - a > 36 for a, b in pairwise(places))
        assert len(elements(drawn, "path", "fallen")) == bands


class TestScore:
    attainable = (-0.3, 0.5)

    def test_places(self) -> None:
        drawn = charts.score_chart(
            "a",
            {"baseline": (-0.3, None, None), "candidate": (0.5, 0.1, 0.9)},
            {"allowed down to": 0.1},
            self.attainable,
        )
        (mark,) = elements(drawn, "circle", "baseline")
        assert number(mark, "cx") == 74
        (limit,) = elements(drawn, "line", "limit")
        assert number(limit, "x1") == pytest.approx((74 + 306) / 2, abs=0.1)
        (beyond,) = elements(drawn, "rect", "beyond")
        assert number(beyond, "x") == 74
        assert number(beyond, "width") == pytest.approx((306 - 74) / 2, abs=0.1)
        assert {"−0.300", "0.500", "allowed down to 0.100"} <= set(texts(drawn))
        assert len(elements(drawn, "path", "whisker")) == 1

    def test_both_directions(self) -> None:
        drawn = charts.score_chart(
            "a", {"baseline": (0.1, None, None)}, {"allowed": 0.0}, self.attainable, most=0.3
        )
        low, high = elements(drawn, "rect", "beyond")
        assert number(high, "x") + number(high, "width") == pytest.approx(306, abs=0.1)
        assert number(high, "width") == pytest.approx((306 - 74) / 4, abs=0.1)
        assert number(low, "width") == pytest.approx((306 - 74) * 3 / 8, abs=0.1)

    def test_without_a_value(self) -> None:
        drawn = charts.score_chart("a", {"candidate": (None, None, None)}, {}, self.attainable)
        assert "—" in texts(drawn)
        assert elements(drawn, "path", "mark") == []


def test_size_chart_joins_the_points() -> None:
    drawn = charts.size_chart("a", [Series("candidate", (-8.0, -4.0, 0.0))])
    (path,) = elements(drawn, "polyline", "candidate")
    points = [tuple(map(float, pair.split(","))) for pair in (path.get("points") or "").split()]
    assert [x for x, _ in points] == pytest.approx([56, 197, 338])
    assert points[0][1] - points[1][1] == pytest.approx(points[1][1] - points[2][1], abs=0.2)


sometimes = st.none() | st.floats(-1e3, 1e3)


@given(st.data(), st.integers(2, 16))
def test_any_data_is_well_formed_described_and_inside(data: st.DataObject, bands: int) -> None:
    edges = [0.5 * band / bands for band in range(bands + 1)]
    rows = [data.draw(st.lists(sometimes, min_size=bands, max_size=bands)) for _ in range(6)]
    series = [Series("baseline", *rows[:3]), Series("candidate", *rows[3:])]
    bands_changed = changes(*rows[:3], [value is not None for value in rows[0]])
    points = {"baseline": (rows[0][0], rows[1][0], rows[2][0])}
    for drawn in (
        charts.sid_chart("a", edges, series),
        charts.psi_chart("b", edges, series, bands_changed, -1.0),
        charts.size_chart("c", series),
        charts.score_chart("d", points, {"min_src": 0.3}, (-0.3, 0.5)),
    ):
        root = ElementTree.fromstring(drawn)
        assert root.get("role") == "img"
        ids = {one.get("id") for one in root.iter() if one.get("id")}
        assert set((root.get("aria-labelledby") or "").split()) == ids
        assert all(len(one.text or "") > 5 for one in root if one.get("id"))
        assert "nan" not in drawn and "inf" not in drawn
        _, _, width, height = map(float, (root.get("viewBox") or "").split())
        for one in root.iter():
            for name, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
                if one.get(name) is not None:
                    assert -0.1 <= number(one, name) <= most + 0.1


def test_text_is_escaped() -> None:
    drawn = svg.document("a", "<b>&", '"]]>', 10, [svg.text(0, 0, "</text><script>")])
    assert texts(drawn) == ["</text><script>"]
    assert elements(drawn, "title")[0].text == "<b>&"

"""The progress line: what it says, how often, and that it leaves nothing behind."""

from __future__ import annotations

import pytest

from pytest_iaside.measure.spectral import Progress
from pytest_iaside.report.columns import cells
from pytest_iaside.report.terminal import ProgressLine


def state(done: int, seconds: float, images: int = 200, passes: int | None = None) -> Progress:
    return Progress(
        images_done=done,
        images=images,
        forward_passes=256 * done if passes is None else passes,
        seconds=seconds,
    )


def test_text() -> None:
    written: list[str] = []
    line = ProgressLine(written.append, "test_x", 80)
    line(state(24, 11.3, passes=3526))
    # 11.3 s for 24 images: 176 more take 82.9 s.
    assert written == ["\riaside test_x: 24/200 images · 312 img/s · 1:23 left"]


def test_before_the_first_image() -> None:
    written: list[str] = []
    ProgressLine(written.append, "test_x", 80)(state(0, 0.0))
    assert written == ["\riaside test_x: 0/200 images"]


def test_at_most_five_a_second_but_first_and_last() -> None:
    written: list[str] = []
    line = ProgressLine(written.append, "t", 80)
    for done in range(1, 101):  # one image each 10 ms
        line(state(done, done / 100, images=100))
    shown = [int(text.split(": ")[1].split("/")[0]) for text in written]
    assert shown[0] == 1 and shown[-1] == 100
    assert shown[1:-1] == pytest.approx([21, 42, 62, 83], abs=2)


def test_shorter_line_covers_the_longer_one() -> None:
    written: list[str] = []
    line = ProgressLine(written.append, "t", 80)
    line(state(1, 100.0, passes=25_600))
    line(state(150, 101.0, passes=25_856))
    assert written == [
        "\riaside t: 1/200 images · 256 img/s · 5:31:40 left",
        "\riaside t: 150/200 images · 256 img/s · 0:34 left ",
    ]


def test_close_erases() -> None:
    written: list[str] = []
    line = ProgressLine(written.append, "長い", 80)
    line(state(0, 0.0))
    line.close()
    line.close()
    assert written[1:] == ["\r" + " " * cells(written[0][1:]) + "\r"]


def test_close_of_an_unused_line_writes_nothing() -> None:
    written: list[str] = []
    ProgressLine(written.append, "t", 80).close()
    assert written == []


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_fits_the_terminal(width: int) -> None:
    written: list[str] = []
    line = ProgressLine(written.append, "tests/test_x.py::test_" + "n" * 90 + "[end]\n", width)
    line(state(24, 11.3))
    assert cells(written[0][1:]) < width
    assert "\n" not in written[0]
    assert "24/200 images" in written[0] or width < 40

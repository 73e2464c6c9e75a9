"""What is told of a long measurement, and when; the time is the test's own."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_iaside.execute.passes import Passes, count_elsewhere, counted
from pytest_iaside.report.pass_log import PassLog


def lines(
    passes: Sequence[tuple[float, int]], expected: int | None, steps: tuple[float, ...] = (15, 60)
) -> list[str]:
    """What is told where so many passes are back at such times."""
    told: list[str] = []
    at = [0.0]
    log = PassLog(told.append, "test_it", steps=steps, now=lambda: at[0])
    log.expected = expected
    for seconds, done in passes:
        at[0] = seconds
        log(done)
    return told


EVERY_SECOND = [(float(second), 10 + 10 * second) for second in range(101)]


def test_the_cost_is_told_first_and_then_how_far_it_is() -> None:
    assert lines(EVERY_SECOND, 1010) == [
        "iaside test_it: up to 1,010 forward passes, about 1:40 at 10 a second",
        "iaside test_it: 180 of 1,010 forward passes, 1:23 left",
        "iaside test_it: 780 of 1,010 forward passes, 0:23 left",
    ]


def test_where_nobody_knows_how_many_there_will_be_it_says_how_many_there_were() -> None:
    assert lines(EVERY_SECOND, None) == [
        "iaside test_it: 210 forward passes so far, 0:20",
        "iaside test_it: 810 forward passes so far, 1:20",
    ]


def test_a_short_measurement_is_not_talked_about() -> None:
    assert lines(EVERY_SECOND[:6], 60) == []
    assert lines(EVERY_SECOND[:5], None) == []


def test_what_chose_a_back_end_tells_no_pace() -> None:
    # 10 passes took a minute, then 10 a second.
    slow_start = [(60.0 + second, done) for second, done in EVERY_SECOND]
    assert lines(slow_start, 1010)[0].endswith("about 1:40 at 10 a second")


def test_passes_are_told_as_they_come_back_to_every_counter() -> None:
    seen: list[int] = []
    outer, inner = Passes(), Passes(seen=seen.append)
    with counted(outer), counted(inner):
        count_elsewhere(3)
        count_elsewhere(4)
    assert (outer.done, inner.done, seen) == (7, 7, [3, 7])

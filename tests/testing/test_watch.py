"""The limit on a block's time, in the main thread and in others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_iaside.errors import OutOfTimeError
from pytest_iaside.execute.passes import counting
from pytest_iaside.testing import watch
from pytest_iaside.testing.watch import noted, within


def stopped(work: Callable[[], Any], timeout: str = "0.1s") -> str:
    began = time.monotonic()
    with pytest.raises(OutOfTimeError) as raised:
        within(timeout, lambda _: work())
    assert time.monotonic() - began < 20
    return str(raised.value)


def endless() -> None:
    while True:
        try:
            sum(range(100))
        except Exception:
            raise AssertionError("the model took it for its own") from None


def test_without_a_timeout_nothing_is_watched() -> None:
    before = threading.active_count()
    assert within(None, lambda found: (found, threading.active_count())) == (None, before)
    assert noted(None) is None


@pytest.mark.parametrize("work", [endless, lambda: time.sleep(600), threading.Event().wait])
def test_the_main_thread_is_interrupted_whatever_it_waits_for(work: Any) -> None:
    if watch.SIGNAL is None and work is not endless:
        pytest.skip("waiting is interrupted by signals")
    assert "took longer than timeout=0.1s" in stopped(work)


def test_another_thread_is_interrupted_between_two_steps() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(stopped(endless)))
    thread.start()
    thread.join(30)
    assert len(found) == 1


@pytest.mark.parametrize("threads", [False, True])
def test_what_ends_in_time_is_left_alone(threads: bool) -> None:
    ended = []

    def often() -> None:
        for _ in range(200):
            try:
                ended.append(within("0.002s", lambda _: time.sleep(0.001)))
            except OutOfTimeError:
                ended.append(None)
        time.sleep(0.02)  # Nothing comes late.
        ended.append(None)

    if threads:
        thread = threading.Thread(target=often)
        thread.start()
        thread.join()
    else:
        often()
    assert len(ended) == 201


def test_one_that_takes_the_interruption_is_interrupted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "GRACE", 0.05)
    taken = []

    def stubborn() -> None:
        while len(taken) < 2:
            try:
                endless()
            except BaseException:
                taken.append(1)
        endless()

    stopped(stubborn)
    assert len(taken) == 2


def test_it_says_how_far_it_was() -> None:
    def work() -> None:
        for _ in counting(iter([[0] * 8, [0] * 4])):
            pass
        told = noted(None)
        assert told is not None
        told(type("Progress", (), {"images_done": 3, "images": 5})())  # type: ignore[arg-type]
        endless()

    message = stopped(work)
    assert message.startswith(
        "the gate took longer than timeout=0.1s and was stopped, after 12 forward passes, with 3 "
        "of 5 images done. What was found"
    )

"""Calls of a crew: in order, as many under way as workers need, and not held up by a slow one."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import torch

from pytest_iaside import Classifier
from pytest_iaside.execute import crew as crews
from pytest_iaside.execute.crew import AHEAD, Crew
from pytest_iaside.execute.engines.futures import FuturesEngine
from pytest_iaside.execute.execution import Execution

GATE = threading.Event()
DONE: list[int] = []


def job(classifier: Any, execution: Any, number: int) -> int:
    """Waits, where it is the first, until it is let go."""
    if number == 0:
        assert GATE.wait(timeout=20)
    DONE.append(number)
    if number == 8:
        GATE.set()
    return number


@pytest.fixture
def crew() -> Iterator[Crew]:
    GATE.clear()
    DONE.clear()
    with ThreadPoolExecutor(2) as pool:
        yield Crew(FuturesEngine(pool), Classifier(torch.nn.Flatten(), name="nothing"))
        GATE.set()


def test_a_slow_call_does_not_hold_the_others_up(crew: Crew) -> None:
    """The first one ends when the ninth is done: there must be room for nine behind it."""
    found = list(crew.map(job, Execution(), ((number,) for number in range(12))))
    assert found == list(range(12))
    assert DONE.index(0) >= 8
    assert crew.tally.calls == 12


def test_no_more_is_asked_for_than_workers_need(crew: Crew) -> None:
    GATE.set()
    asked: list[int] = []

    def arguments() -> Iterator[tuple[int]]:
        for number in range(50):
            asked.append(number)
            yield (number,)

    for taken, _ in enumerate(crew.map(job, Execution(), arguments())):
        # What is done, and what is under way: two workers with one call each and one that waits.
        assert len(asked) <= len(DONE) + 2 * AHEAD
        assert taken < len(asked)


class Dying(FuturesEngine):
    """Workers of whom one dies over the call 3, while the first call still runs."""

    died = 0

    def submit(self, home: Any, payload: bytes, parcel: Any) -> Future[Any]:
        if pickle.loads(payload).arguments == (3,) and not self.died:
            self.died += 1
            lost: Future[Any] = Future()
            lost.set_exception(RuntimeError("the worker is gone"))
            return lost
        return super().submit(home, payload, parcel)


def test_a_call_whose_worker_died_is_made_again_at_once(crew: Crew) -> None:
    with ThreadPoolExecutor(2) as pool:
        crew.engine = Dying(pool)
        found = list(crew.map(job, Execution(), ((number,) for number in range(12))))
    assert found == list(range(12))
    assert crew.tally.retries == 1
    assert DONE.index(3) < DONE.index(8)  # Not only when it is the next in order.


def test_results_that_wait_are_limited(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for six the ninth is not handed out before the first is let go."""
    monkeypatch.setattr(crews, "HELD", 3)
    threading.Timer(0.6, GATE.set).start()
    assert list(crew.map(job, Execution(), ((number,) for number in range(12)))) == list(range(12))
    assert sorted(DONE[: DONE.index(0)]) == [1, 2, 3, 4, 5]

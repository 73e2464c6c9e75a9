"""Outbox: everything arrives once and in order, whenever the receiver fails."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_iaside.track.watcher import Outbox


class Receiver:
    """Keeps what it gets, and refuses on the calls of ``refused``."""

    def __init__(self, refused=()):
        self.refused, self.calls, self.got = set(refused), 0, []

    def __call__(self, *item):
        self.calls += 1
        if self.calls in self.refused:
            raise ConnectionError("nobody there")
        self.got.append(item)


def test_what_is_refused_comes_first_the_next_time():
    receiver = Receiver(refused=[2])
    outbox = Outbox(receiver, "the server")
    with pytest.warns(UserWarning) as warned:
        outbox.send([("a", 1), ("b", 2), ("c", 3)])
    assert receiver.got == [("a", 1)]
    assert [str(each.message) for each in warned] == [
        "the server failed (ConnectionError: nobody there); training goes on, and what did not "
        "reach it will be sent again"
    ]
    outbox.send([("d", 4)])
    assert receiver.got == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    outbox.close()


def test_one_that_stays_away_is_asked_ever_more_rarely_and_warned_of_once():
    receiver = Receiver(refused=range(1, 100))
    outbox = Outbox(receiver, "the server")
    asked = []
    with pytest.warns(UserWarning) as warned:
        for item in range(1, 33):
            before = receiver.calls
            outbox.send([(item,)])
            if receiver.calls > before:
                asked.append(item)
    assert asked == [1, 2, 4, 8, 16, 32]
    assert len(warned) == 1
    with pytest.warns(UserWarning, match=r"the server: 32 of what was to reach it did not \(Conn"):
        outbox.close()


def test_after_a_success_it_is_asked_at_once_again():
    receiver = Receiver(refused=[1, 2, 4])
    outbox = Outbox(receiver, "it")
    with pytest.warns(UserWarning, match="it failed"):
        outbox.send([(1,)])
    outbox.send([(2,)])
    outbox.send([(3,)])  # Not tried.
    assert (receiver.calls, receiver.got) == (2, [])
    outbox.send([(4,)])  # The third call gets through, the fourth fails.
    assert receiver.got == [(1,)]
    outbox.send([(5,)])
    assert receiver.got == [(1,), (2,), (3,), (4,), (5,)]


def test_whoever_interrupts_is_heard():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Outbox(interrupt, "it").send([()])


@given(st.sets(st.integers(1, 30)), st.lists(st.integers(0, 3), max_size=12))
def test_all_arrive_once_and_in_order(refused, sizes):
    receiver, number, sent = Receiver(refused), 0, []
    outbox = Outbox(receiver, "it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for size in sizes:
            items = [(number + i,) for i in range(size)]
            number += size
            sent += items
            outbox.send(items)
            assert receiver.got == sent[: len(receiver.got)]
        receiver.refused = set()
        outbox.close()
    assert receiver.got == sent

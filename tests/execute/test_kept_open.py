"""Back ends that stay open: one for all that is measured, another for what only looks again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from pytest_iaside.execute import runner as runners
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.kept_open import (
    KeptBackends,
    agreed,
    kept_here,
    kept_open,
    looking_again,
)
from pytest_iaside.models.classifier import Classifier


@contextmanager
def opened(events: list[str], name: str) -> Iterator[Any]:
    events.append(f"{name} opened")
    yield name
    events.append(f"{name} closed")


def test_what_looks_again_takes_what_is_open() -> None:
    events: list[str] = []
    kept = KeptBackends(passes=640, again=50)
    assert kept.backend("net", opened(events, "fast")) == "fast"
    assert kept.backend_again("net", opened(events, "plain")) == "fast"
    kept.close()
    assert events == ["fast opened", "fast closed"]


def test_what_looks_again_is_closed_before_anything_is_measured() -> None:
    """The same network cannot be open twice, and what suits few passes does not suit many."""
    events: list[str] = []
    kept = KeptBackends(passes=640, again=50)
    for _ in range(2):
        assert kept.backend_again("net", opened(events, "plain")) == "plain"
    assert kept.backend("net", opened(events, "fast")) == "fast"
    assert events == ["plain opened", "plain closed", "fast opened"]
    kept.close()
    assert events[3:] == ["fast closed"]


def test_what_was_only_looked_at_again_is_closed_in_the_end() -> None:
    events: list[str] = []
    kept = KeptBackends(passes=640)
    kept.backend_again("net", opened(events, "plain"))
    kept.close()
    assert events == ["plain opened", "plain closed"]


def test_a_back_end_is_chosen_for_what_is_to_come(monkeypatch: Any) -> None:
    """For a measurement by all of its passes; for a look at what is kept by those few."""
    asked: list[int] = []
    real = runners.open_backend

    def noted(*arguments: Any, passes: int, **settings: Any) -> Any:
        asked.append(passes)
        return real(*arguments, passes=passes, **settings)

    monkeypatch.setattr(runners, "open_backend", noted)
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval())
    inputs, execution = torch.zeros(2, 3, 2, 2), Execution()
    with kept_open(passes=640, again=50):
        with looking_again():
            with runners.open_runner(classifier, execution, inputs=inputs, passes=7):
                pass
            # What was agreed with one back end says nothing of another.
            agreed().add("a witness")
        assert "a witness" not in agreed()
        with runners.open_runner(classifier, execution, inputs=inputs, passes=7):
            pass
        with looking_again(), runners.open_runner(classifier, execution, inputs=inputs, passes=90):
            pass
    assert asked == [50, 640, 90]  # The last was not opened: something was open.
    assert kept_here() is None

"""Jobs spread over the workers of an engine: cut into units, and put together again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator, MutableMapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

from pytest_iaside.execute.crew import Crew
from pytest_iaside.execute.engines import engine_of
from pytest_iaside.execute.engines.base import Engine
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.jobs import DivisibleJob, Job
from pytest_iaside.execute.runner import BackendRunner, PreparedExecution, open_runner, prepared
from pytest_iaside.execute.steady import AT_ONCE, check_answers
from pytest_iaside.execute.witness import Witness, witness_of
from pytest_iaside.models.classifier import Classifier

UNIT_SECONDS = 3.0
"""What a worker should have to do at a time: long beside the way there and back, short beside a
fault after which it is done again."""


def spread(
    classifier: Classifier,
    execution: Execution,
    first: Job[Any],
    rest: Iterator[Job[Any]],
    steady: bool,
) -> Generator[Any]:
    """The rows of all jobs, found by the workers of an engine.

    How a network is run is chosen once, by one of them, and the work is cut at whole batches: what
    is found does not depend on who did which part, nor on how many there were.
    """
    crew = Crew(engine_of(execution.executor), classifier)
    alone = replace(execution, executor=None)
    witness = witness_of(classifier, alone, first.sample)
    start, execution = _started(crew, alone, first, steady, witness)
    at_once = max(start.batch_size, int(UNIT_SECONDS * start.speed))
    cut = _Cut(chain([first], rest), start.batch_size, at_once)
    units = (None if each is None else (*each, witness) for each in cut.units())
    for found in crew.map(_rows, execution, units, passes=first.passes):
        yield from cut.take(found)


def _started(
    crew: Crew, alone: Execution, first: Job[Any], steady: bool, witness: Witness | None
) -> tuple[Start, PreparedExecution]:
    """How the network of ``crew`` is run, found by one of its workers, once for all measurements.

    A conversion that one measurement is worth may not be worth it in a shorter one, so the longest
    counts. Whether the network is steady is asked each time that it is not known.
    """
    # Another engine may have other machines, whatever it is called.
    starts = _STARTS.setdefault(crew.engine, {})
    key = (crew.parcel.key, repr(alone), first.sample.shape)
    known = starts.pop(key, None)
    begun = known is None or first.passes > known.passes
    start = crew.ask(_begin, alone, first, steady, witness) if begun else known
    assert start is not None
    starts[key] = start
    while len(starts) > STARTS:
        del starts[next(iter(starts))]
    execution = prepared(alone, start.device, start.setup)
    if not (begun or steady):
        crew.ask(_steady, execution, first)
    return start, execution


class _Cut:
    """Jobs cut into units of about ``at_once`` passes, and what is found put together again.

    A unit is a list of jobs. What comes back is in the order of the units.
    """

    def __init__(self, jobs: Iterator[Job[Any]], batch_size: int, at_once: int) -> None:
        self._jobs, self._batch_size, self._at_once = jobs, batch_size, at_once
        self._takes: deque[Callable[[list[Any]], list[Any]]] = deque()

    def units(self) -> Iterator[tuple[list[Job[Any]]] | None]:
        """The units; None where one depends on what has not come back yet."""
        ahead: deque[_Divided] = deque()
        small: list[Job[Any]] = []
        for job in self._jobs:
            passes = job.own_passes if isinstance(job, DivisibleJob) else self._at_once
            if isinstance(job, DivisibleJob) and passes > self._at_once:
                divided = _Divided(job)
                if (head := job.head()) is not None:
                    yield self._unit([head], divided.know)
                else:
                    divided.know([])
                ahead.append(divided)
                # The head of the next is under way while the parts of this one are handed out.
                if len(ahead) > 1:
                    yield from self._parts(ahead.popleft())
                continue
            while ahead:
                yield from self._parts(ahead.popleft())
            small.append(job)
            if passes * len(small) >= self._at_once:
                yield self._unit(small, list)
                small = []
        while ahead:
            yield from self._parts(ahead.popleft())
        if small:
            yield self._unit(small, list)

    def take(self, found: list[Any]) -> list[Any]:
        """The rows that the unit which came back next, with ``found``, completes."""
        return self._takes.popleft()(found)

    def _unit(
        self, jobs: list[Job[Any]], take: Callable[[list[Any]], list[Any]]
    ) -> tuple[list[Job[Any]]]:
        self._takes.append(take)
        return (jobs,)

    def _parts(self, divided: _Divided) -> Iterator[tuple[list[Job[Any]]] | None]:
        while divided.head is None:
            yield None
        for some, parts in divided.job.parts(divided.head, self._batch_size, self._at_once):
            rows: list[list[Any]] = []
            take = partial(_complete, divided.job, some, len(parts), rows)
            for part in parts:
                yield self._unit([part], take)


@dataclass(eq=False)
class _Divided:
    job: DivisibleJob
    head: list[Any] | None = None

    def know(self, found: list[Any]) -> list[Any]:
        self.head = found
        return []


def _complete(
    job: DivisibleJob, some: slice, count: int, rows: list[list[Any]], found: list[Any]
) -> list[Any]:
    rows.append(found)
    return job.joined(some, rows) if len(rows) == count else []


def _rows(
    classifier: Classifier, execution: Execution, jobs: list[Job[Any]], witness: Witness | None
) -> list[Any]:
    first = jobs[0]
    inputs = first.first_inputs(classifier)
    with open_runner(classifier, execution, inputs=inputs, passes=first.passes) as runner:
        if witness is not None:
            witness.check(runner)
        return [row for job in jobs for row in job.rows(runner)]


@dataclass(frozen=True)
class Start:
    """How a network is run, and how fast."""

    setup: Any
    device: str
    batch_size: int
    speed: float
    """Forward passes a second."""
    passes: int
    """Of the measurement that it was found for."""


STARTS = 8
_STARTS: MutableMapping[Engine, dict[tuple[Hashable, ...], Start]] = WeakKeyDictionary()
"""Those used last of each engine, by network and how it was asked to be run."""


def _steady(classifier: Classifier, execution: Execution, job: Job[Any]) -> None:
    inputs = job.first_inputs(classifier)
    with open_runner(classifier, execution, inputs=inputs, passes=job.passes) as runner:
        check_steady(runner, execution, job)


def _begin(
    classifier: Classifier,
    execution: Execution,
    job: Job[Any],
    steady: bool,
    witness: Witness | None,
) -> Start:
    inputs = job.first_inputs(classifier)
    with open_runner(classifier, execution, inputs=inputs, passes=job.passes) as runner:
        if not steady:
            check_steady(runner, execution, job)
        if witness is not None:
            witness.check(runner)
        size = runner.batch_size
        batch = inputs[:1].expand(size, -1, -1, -1).contiguous().to(runner.device)
        least = float("inf")
        for _ in range(2):
            began = time.perf_counter()
            for _ in runner.forward_many([batch]):
                pass
            least = min(least, time.perf_counter() - began)
        speed = size / max(least, 1e-6)
        return Start(runner.backend.setup, runner.device.type, size, speed, job.passes)


def check_steady(runner: BackendRunner, execution: Execution, job: Job[Any]) -> None:
    seen = runner.classifier.normalise(job.sample.pixels(0, AT_ONCE).to(runner.device))
    check_answers(runner, seen, job.sample.names, execution.dtype, job.sample.right)

"""A simulated crew: units of work handed to workers in order, some slow, some dying.

The rules are those of pytest_iaside/execute/crew.py: a coordinator has at most ``ahead`` units for
each worker under way, and ``held`` handed out and not yet taken; it takes results in the order of
the units, and sees that a worker died when the unit it had is the next in order. Workers take what
is handed out first come, first served.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

AHEAD, HELD = 2, 64
BACKOFF, TRIES = 0.2, 3


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a simulated run took: seconds, and what became of them."""

    seconds: float
    worked: float
    """Of all workers together, for units that were finished."""
    wasted: float
    """For units whose worker died, and while workers started again."""
    retries: int

    def busy(self, workers: int) -> float:
        """The share of the workers' time that went into units that were finished."""
        return self.worked / (workers * self.seconds)


@dataclass(frozen=True, kw_only=True)
class Crew:
    """``workers`` alike; one dies ``deaths`` times a second of work, and is back after ``restart``.

    ``handling`` are seconds that the coordinator takes for each unit, when nobody else is served.
    """

    workers: int
    ahead: int = AHEAD
    held: int = HELD
    deaths: float = 0.0
    restart: float = 0.0
    handling: float = 0.0

    def run(self, units: Sequence[float] | NDArray[np.float64], seed: int = 0) -> Outcome:
        """What it takes to have ``units``, seconds of work each, done in order."""
        draw = np.random.default_rng(seed)
        free = [0.0] * self.workers
        worked = wasted = clock = 0.0
        retries = 0

        def submit(seconds: float, now: float) -> tuple[float, bool]:
            """When the unit ends that is handed out ``now``, and whether it was finished."""
            nonlocal worked, wasted
            start = max(now, heapq.heappop(free))
            life = draw.exponential(1 / self.deaths) if self.deaths else np.inf
            finished = bool(life >= seconds)
            end = start + (seconds if finished else float(life))
            heapq.heappush(free, end if finished else end + self.restart)
            if finished:
                worked += seconds
            else:
                wasted += end - start + self.restart
            return end, finished

        waiting = deque(float(each) for each in units)
        pending: deque[tuple[float, float, bool]] = deque()
        # When something comes back, and whether it is a result: the unit of a worker that died
        # stays under way until it is the next in order.
        coming: list[tuple[float, bool]] = []
        under_way = tries = 0
        while waiting or pending:
            while coming and coming[0][0] <= clock:
                under_way -= heapq.heappop(coming)[1]
            while (
                waiting
                and under_way < self.ahead * self.workers
                and len(pending) < self.held * self.workers
            ):
                clock += self.handling
                seconds = waiting.popleft()
                end, finished = submit(seconds, clock)
                pending.append((seconds, end, finished))
                heapq.heappush(coming, (end, finished))
                under_way += 1
            seconds, end, finished = pending[0]
            if end > clock:
                clock = min(end, coming[0][0]) if coming else end
            elif finished:
                pending.popleft()
                tries = 0
            else:
                clock += BACKOFF * 2 ** min(tries, TRIES)
                retries, tries = retries + 1, tries + 1
                end, finished = submit(seconds, clock)
                pending[0] = (seconds, end, finished)
                heapq.heappush(coming, (end, finished))
        return Outcome(seconds=clock, worked=worked, wasted=wasted, retries=retries)


def stragglers(
    count: int, seconds: float, *, spread: float, slow: float, times: float, seed: int = 0
) -> NDArray[np.float64]:
    """Seconds of ``count`` units: lognormal around ``seconds``, whose mean they have.

    ``spread`` is the standard deviation of the logarithm; a share ``slow`` of units takes ``times``
    as long.
    """
    draw = np.random.default_rng(seed)
    found = seconds * draw.lognormal(-(spread**2) / 2, spread, count)
    return np.where(draw.random(count) < slow, times * found, found)


def echo(classifier: Any, execution: Any, sample: Any, coalitions: int) -> NDArray[np.float64]:
    """A call that finds nothing: as many numbers as a worker sends back for ``sample``."""
    return np.zeros((len(sample), coalitions))

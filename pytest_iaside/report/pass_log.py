"""Lines about a measurement that takes long: what it will cost, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable

from pytest_iaside.report.numbers import clock, count, printable

SLOW = 5.0
"""Seconds below which a measurement is not talked about."""
PROBE = 2.0
"""Seconds of the measurement itself from which its pace is told."""
STEPS = (15.0, 30.0, 60.0)
"""Seconds from one line of a plain log to the next; the last one goes on."""
STEP_ON_TERMINAL = 3.0


class PassLog:
    """Tells of forward passes as they come back: first the cost, then how far it is.

    ``write`` takes a line. ``expected`` is how many passes there will be at most, None where
    nobody knows. The pace is that of the first passes, so that it costs none. Nothing is told of
    what takes less than ``SLOW`` seconds.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        name: str,
        *,
        steps: tuple[float, ...] = STEPS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.expected: int | None = None
        self._write, self._name, self._now = write, printable(name), now
        self._steps = list(steps)
        self._began: float | None = None
        self._before = 0
        self._last: float | None = None

    def __call__(self, done: int) -> None:
        """``done`` passes came back by now."""
        now = self._now()
        if self._began is None:
            # The first ones come with choosing a back end; they tell no pace.
            self._began, self._before = now, done
            return
        seconds, passes = now - self._began, done - self._before
        if seconds < PROBE or passes < 1:
            return
        pace = passes / seconds
        left = None if self.expected is None else max(self.expected - done, 0) / pace
        if self._last is None:
            if (seconds if left is None else left) < SLOW:
                return
            if self.expected is not None:
                self._say(
                    f"up to {count(self.expected)} forward passes, about "
                    f"{clock(seconds + (left or 0.0))} at {pace:.0f} a second"
                )
            self._last = now
        elif now - self._last >= self._steps[0]:
            self._last = now
            if len(self._steps) > 1:
                del self._steps[0]
            if left is None:
                self._say(f"{count(done)} forward passes so far, {clock(seconds)}")
            else:
                self._say(
                    f"{count(done)} of {count(self.expected)} forward passes, {clock(left)} left"
                )

    def _say(self, text: str) -> None:
        self._write(f"iaside {self._name}: {text}")

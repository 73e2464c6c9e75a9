"""The simulated crew of benchmarks/scale.py against what can be computed by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

HOME = Path(__file__).parents[1] / "benchmarks" / "common" / "schedule.py"


@pytest.fixture(scope="module")
def schedule() -> ModuleType:
    spec = importlib.util.spec_from_file_location("iaside_schedule", HOME)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look there for their types.
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("workers", [1, 3, 7, 50])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_alike_units_take_as_many_rounds_as_they_must(
    schedule: ModuleType, workers: int, count: int
) -> None:
    found = schedule.Crew(workers=workers).run([3.0] * count)
    assert found.seconds == pytest.approx(3.0 * -(-count // workers))
    assert (found.wasted, found.retries) == (0.0, 0)


def test_work_is_neither_lost_nor_made(schedule: ModuleType) -> None:
    units = schedule.stragglers(2000, 3.0, spread=0.5, slow=0.01, times=10)
    for workers in (1, 16):
        for deaths in (0.0, 0.02):
            found = schedule.Crew(workers=workers, deaths=deaths, restart=5).run(units, seed=1)
            assert found.worked == pytest.approx(units.sum())
            assert found.seconds * workers >= found.worked + found.wasted - 5 * workers
            assert found.busy(workers) <= 1
    alone = schedule.Crew(workers=1).run(units)
    assert alone.seconds == pytest.approx(units.sum())
    assert alone.busy(1) == pytest.approx(1)


def test_units_are_as_long_on_average_as_they_are_said_to_be(schedule: ModuleType) -> None:
    units = schedule.stragglers(200_000, 3.0, spread=0.5, slow=0.01, times=10)
    # Nine times its own length more for each hundredth; the standard error is 0.008.
    assert units.mean() == pytest.approx(3.0 * (1 + 9 * 0.01), abs=0.03)
    plain = schedule.stragglers(200_000, 3.0, spread=0.5, slow=0.0, times=10)
    assert np.log(plain).std() == pytest.approx(0.5, abs=0.005)


def test_a_slow_unit_holds_up_what_comes_after_the_window(schedule: ModuleType) -> None:
    """Two workers, the first unit of 100 s: while it runs the other may do three more and waits."""
    crew = schedule.Crew(workers=2, ahead=2, held=2)
    found = crew.run([100.0] + [1.0] * 9)
    # Units 1 to 3 are done by then; the six others take three rounds of two.
    assert found.seconds == pytest.approx(103.0)
    wide = schedule.Crew(workers=2, ahead=2, held=10).run([100.0] + [1.0] * 9)
    assert wide.seconds == pytest.approx(100.0)


def test_a_busy_coordinator_is_the_limit(schedule: ModuleType) -> None:
    """0.1 s for each unit: more than ten workers of units of 1 s find nothing to do."""
    found = schedule.Crew(workers=100, ahead=1000, held=1000, handling=0.1).run([1.0] * 5000)
    assert found.seconds == pytest.approx(5000 * 0.1 + 1.0)


def test_deaths_are_as_many_as_their_rate_says(schedule: ModuleType) -> None:
    """A unit of t seconds is tried exp(λt) times on average, and each costs what it had worked."""
    rate, seconds, count = 0.1, 3.0, 20_000
    found = schedule.Crew(workers=10, deaths=rate).run([seconds] * count)
    tries = np.exp(rate * seconds)
    assert found.retries / count == pytest.approx(tries - 1, rel=0.03)
    # Over a unit the expected time on workers is (exp(λt) − 1)/λ, finished tries included.
    assert (found.worked + found.wasted) / count == pytest.approx((tries - 1) / rate, rel=0.01)

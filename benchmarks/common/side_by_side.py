"""Ways to do the same work, timed in turns.

Machines change speed while a benchmark runs. So every round times every way once, and a ratio
is the median of the rounds' own ratios.

Each group of ways lives in a process of its own, which does nothing while the others are
timed: what one sets for its process (how memory is freed, say) is no gift to another.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from multiprocessing.connection import Connection
from unittest import mock

from common import saved

# Sets a group of ways up; each does its work and returns how much it was.
Group = Callable[[ExitStack, dict], Mapping[str, Callable[[], int]]]


def time_side_by_side(
    groups: list[Group], settings: dict, *, rounds: int
) -> dict[str, list[float]]:
    """Work per second of every way, one number a round."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        # Choices are made on the machine as it is now, not on what it once was.
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(mock.patch.dict(os.environ, {"IASIDE_CACHE_DIR": folder}))
        homes: dict[str, Connection] = {}
        for group in groups:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(group, settings, there), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(here.send, None)
            for name in here.recv():
                homes[name] = here
        speeds: dict[str, list[float]] = {name: [] for name in homes}
        for number in range(rounds + 1):
            for name, home in homes.items():
                home.send(name)
                work, seconds = home.recv()
                if number:  # The first time of each is not counted.
                    speeds[name].append(work / seconds)
        return speeds


def _serve(group: Group, settings: dict, pipe: Connection) -> None:
    with ExitStack() as stack:
        ways = group(stack, settings)
        pipe.send(list(ways))
        while (name := pipe.recv()) is not None:
            began = time.perf_counter()
            work = ways[name]()
            pipe.send((work, time.perf_counter() - began))


def ratio(speeds: dict[str, list[float]], way: str, other: str) -> float:
    """How many times as fast ``way`` is as ``other``: the median over the rounds."""
    return statistics.median(a / b for a, b in zip(speeds[way], speeds[other], strict=True))


def print_table(head: list[str], rows: list[list[str]], *, name: str = "", what: str = "") -> None:
    """A Markdown table, the first column to the left and numbers to the right.

    One with a ``name`` is kept by it, as the table of ``what``.
    """
    if name:
        saved.table(name, what, head, rows)
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for row in [head, rule, *rows]:
        numbers = zip(row[1:], widths[1:], strict=True)
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in numbers)]
        print(f"| {' | '.join(cells)} |")
    print()


def spread(values: list[float]) -> list[str]:
    """Median, and least to most."""
    return [f"{statistics.median(values):.0f}", f"{min(values):.0f}–{max(values):.0f}"]


def machine() -> str:
    """The machine and the versions, for the line above a table."""
    return f"{saved.machine()}; {saved.versions()}"

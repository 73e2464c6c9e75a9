"""How long the demonstration takes, on a machine that is idle, and on one that is busy.

    python benchmarks/demo.py

``make demo`` sets OMP_WAIT_POLICY=passive, so that threads wait asleep. Busy means: as many
processes as there are cores compute all the time. Installation is not counted.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

from common.saved import kept, value
from common.side_by_side import machine, print_table

DEMO = Path(__file__).parents[1] / "example_project" / "demo.py"
PASSIVE = {"OMP_WAIT_POLICY": "passive"}


def seconds(environment: dict[str, str]) -> float:
    began = time.perf_counter()
    known = {name: told for name, told in os.environ.items() if name != "OMP_WAIT_POLICY"}
    options = ["--iaside-no-cache"]
    subprocess.run(
        [sys.executable, str(DEMO), *options],
        env=known | environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


def compute() -> None:
    while True:
        pass


def main() -> None:
    print(f"{machine()}\n")
    rows = [("demo", "idle", "passive", seconds(PASSIVE))]
    crew = [
        multiprocessing.Process(target=compute, daemon=True) for _ in range(os.cpu_count() or 1)
    ]
    for process in crew:
        process.start()
    rows.append(("demo-busy-passive", "busy", "passive", seconds(PASSIVE)))
    rows.append(("demo-busy", "busy", "as usual", seconds({})))
    for process in crew:
        process.kill()
    for name, how, threads, took in rows:
        what = f"the demonstration, nothing cached; machine {how}, threads that wait: {threads}"
        value(f"{name}-seconds", f"{took:.0f}", "s", what)
    shown = [[how, threads, f"{took:.0f}"] for _, how, threads, took in rows]
    print_table(["machine", "threads that wait", "seconds"], shown)


if __name__ == "__main__":
    with kept(__file__):
        main()

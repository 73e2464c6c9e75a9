"""The report of many gates: seconds to write it, its size, seconds until a browser shows it.

python benchmarks/report.py [--gates 500] [--red 10] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.saved import kept
from common.side_by_side import machine, print_table

from pytest_iaside.report.html import write_html

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import chromium  # found by the line above, as gate_records is by it
from gate_records import META, fallen_band, make_profile, make_record

PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def record(number: int, fallen: float) -> dict[str, Any]:
    baseline = make_profile(seed=number)
    test = f"tests/test_models.py::test_classifier_keeps_its_robustness[model-{number}]"
    return make_record(fallen_band(baseline, by=fallen), baseline, test=test)


def seconds(work: Callable[[], object], rounds: int) -> list[str]:
    """Median and range of ``rounds``, after one that is not counted."""
    took = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return [f"{statistics.median(took[1:]):.2f}", f"{min(took[1:]):.2f}–{max(took[1:]):.2f}"]


def seconds_to_load(path: Path, rounds: int) -> list[str]:
    executable = chromium.find()
    if executable is None:
        return ["no chromium", ""]
    with chromium.started(executable) as browser:

        def load() -> None:
            page = browser.new_page(offline=True)
            page.goto(path.as_uri())
            page.evaluate(PAINTED)
            page.close()

        return seconds(load, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gates", type=int, default=500)
    parser.add_argument("--red", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    records = [record(n, 0.18 if n < options.red else 0.0) for n in range(options.gates)]
    red = sum(one["failed"] for one in records)
    print(f"{machine()}\n{options.gates} gates, {red} of them red; {options.rounds} rounds\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        written = seconds(lambda: write_html(records, path, meta=META), options.rounds)
        rows = [
            ["seconds to write", *written],
            ["seconds until shown, from file://", *seconds_to_load(path, options.rounds)],
            ["size in KB", f"{path.stat().st_size / 1000:.0f}", ""],
        ]
    what = f"The report of {options.gates} gates, {red} of them red"
    print_table(["report", "median", "range"], rows, name="report", what=what)


if __name__ == "__main__":
    with kept(__file__):
        main()

"""What a gate costs whose model has not changed: seconds after torch is imported, and passes.

The example's digit reader with 100 digits, and EfficientNet-Lite0 at 224×224 with 24 photographs.
Each run is a process of its own; what counts is assert_spectral_robustness, from its import to its
verdict. The first run keeps its results.

    python benchmarks/unchanged.py
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

from common.saved import kept, value
from common.side_by_side import machine, print_table

RUNS = 5


def gate(folder: str, which: str) -> tuple[float, int, str]:
    """Seconds, forward passes that were run, and the model's name."""
    import pytest  # noqa: F401 (as in any session)
    import torch  # noqa: F401

    if which == "digits":
        from scrapbook.data import digits
        from scrapbook.models import load_digit_reader

        from pytest_iaside import Classifier, ReferenceSample

        _, held_out = digits()
        classifier = Classifier(load_digit_reader(), name="digit reader, 100 digits")
        sample = ReferenceSample(held_out.images[:100], held_out.labels[:100])
    else:
        from common.lite0 import lite0, photographs

        classifier, sample = lite0(), photographs(24)
    baseline = Path(folder) / f"{which}.yaml"
    if not baseline.exists():
        from pytest_iaside import measure

        measure(classifier, sample, panel="auto").save(baseline)
    began = time.perf_counter()
    from pytest_iaside import assert_spectral_robustness

    candidate = assert_spectral_robustness(classifier, sample, baseline=baseline).candidate
    seconds = time.perf_counter() - began
    passes = candidate.forward_passes - candidate.passes_from_cache + candidate.passes_replayed
    return seconds, passes, candidate.model.name


def main() -> None:
    print(f"{machine()}\n")
    rows = []
    for which in ("digits", "photographs"):
        with tempfile.TemporaryDirectory() as folder:
            found = []
            context = multiprocessing.get_context("spawn")
            with mock.patch.dict(os.environ, {"IASIDE_CACHE_DIR": folder}):
                for _ in range(RUNS + 1):
                    with context.Pool(1) as pool:
                        found.append(pool.apply(gate, (folder, which)))
        (first, passes, name), again = found[0], found[1:]
        seconds, most = [each[0] for each in again], max(each[1] for each in again)
        middle = f"{statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})"
        rows += [
            [f"{name}, first time", f"{first:.1f}", f"{passes:,}"],
            [f"{name}, unchanged", middle, str(most)],
        ]
        key = {"digits": "-digits", "photographs": ""}[which]
        value(f"first{key}-s", f"{first:.1f}", "s", f"first gate of {name} ({passes:,} passes)")
        what = f"the gate of {name}, unchanged and cached: {{}} of {RUNS} runs, {most} passes"
        value(f"unchanged{key}-s", f"{statistics.median(seconds):.2f}", "s", what.format("median"))
        value(f"unchanged{key}-best-s", f"{min(seconds):.2f}", "s", what.format("best"))
    what = "What a gate costs the first time, and that of an unchanged model after it"
    print_table(["gate", "seconds", "forward passes"], rows, name="unchanged", what=what)


if __name__ == "__main__":
    with kept(__file__):
        main()

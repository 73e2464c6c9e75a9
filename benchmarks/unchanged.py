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
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from common.saved import kept, value
from common.side_by_side import machine, print_table

RUNS = 5
PASSES = 64
"""Bare passes beside which a gate stands: as many at least are played again of what is kept."""
NAMES = {"digits": "digits", "photographs": "gate"}
"""Gates by what pages call their numbers."""


@dataclass(frozen=True)
class Gate:
    """What one gate took: seconds, processor seconds, and forward passes that were run.

    ``bare`` are the seconds of ``PASSES`` bare passes of the same model, 8 at a time.
    """

    model: str
    seconds: float
    busy: float
    passes: int
    bare: float


def gate(folder: str, which: str) -> Gate:
    """One gate, in a process of its own."""
    import pytest  # noqa: F401 (as in any session)
    import torch

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
    began, busy = time.perf_counter(), time.process_time()
    from pytest_iaside import assert_spectral_robustness

    candidate = assert_spectral_robustness(classifier, sample, baseline=baseline).candidate
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    passes = candidate.forward_passes - candidate.passes_from_cache + candidate.passes_replayed
    inputs = classifier.normalise(sample.pixels(0, 8))
    began = time.perf_counter()
    with torch.no_grad():
        for _ in range(PASSES // 8):
            classifier.network(inputs)
    bare = time.perf_counter() - began
    return Gate(candidate.model.name, seconds, busy, passes, bare)


def keep(which: str, first: Gate, again: list[Gate]) -> None:
    """The numbers of a gate that pages show."""
    key, most = NAMES[which], max(each.passes for each in again)
    what = f"first gate of {first.model} ({first.passes:,} passes)"
    value(f"first-{key}-s", f"{first.seconds:.1f}", "s", what)
    seconds = [each.seconds for each in again]
    what = (
        f"the gate of {first.model}, unchanged and cached, {most} passes: {{}} of {len(again)} runs"
    )
    for name, found, how in (
        (f"unchanged-{key}-s", statistics.median(seconds), "median"),
        (f"unchanged-{key}-best-s", min(seconds), "best"),
        (
            f"unchanged-{key}-busy-s",
            statistics.median(each.busy for each in again),
            "processor time, median",
        ),
        (
            f"bare-{key}-s",
            statistics.median(each.bare for each in again),
            f"{PASSES} bare passes, median",
        ),
    ):
        value(name, f"{found:.2f}", "s", what.format(how))


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
        first, again = found[0], found[1:]
        seconds, most = [each.seconds for each in again], max(each.passes for each in again)
        middle = f"{statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})"
        rows += [
            [f"{first.model}, first time", f"{first.seconds:.1f}", f"{first.passes:,}"],
            [f"{first.model}, unchanged", middle, str(most)],
        ]
        keep(which, first, again)
    what = "What a gate costs the first time, and that of an unchanged model after it"
    print_table(["gate", "seconds", "forward passes"], rows, name="unchanged", what=what)


if __name__ == "__main__":
    with kept(__file__):
        main()

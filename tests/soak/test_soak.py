"""What takes minutes: ``make soak`` runs it, and writes docs/reliability.md from what it found."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from faulty import POSSIBLE, SOAK, WHY_NOT, injected
from fuzzing import READERS
from reliability import keep

SECONDS = float(os.environ.get("SOAK") or 300)
EXAMPLES = 600
"""Files of each kind that are damaged at random."""
PLUGINS = Path(sys.prefix) / "soak-plugins"
sys.path.insert(0, str(SOAK.parent / "adversarial"))


@pytest.mark.skipif(not POSSIBLE, reason=WHY_NOT)
def test_faults_in_every_call_that_writes() -> None:
    found = injected("faults.py", seconds=3600)
    keep("faults", found)
    assert found["wrong"] == []


@pytest.mark.skipif(not POSSIBLE, reason=WHY_NOT)
def test_faults_in_whole_sessions() -> None:
    found = injected("sessions.py", seconds=3600)
    keep("sessions", found)
    assert found["wrong"] == []


def test_eight_processes_that_are_killed() -> None:
    command = [sys.executable, str(SOAK / "processes.py"), str(SECONDS)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout)
    keep("processes", found)
    assert found["wrong"] == []


def test_damaged_files() -> None:
    from hostile import tamed
    from test_fuzzed import fuzz

    outcomes, wrong = {}, []
    guided = (PLUGINS / "atheris").exists() or importlib.util.find_spec("atheris") is not None
    for name in READERS:
        try:
            work = lambda name=name: fuzz(name, EXAMPLES, derandomize=False)  # noqa: E731
            outcomes[f"{name}: at random"] = dict(tamed(work, seconds=900, megabytes=2000))
        except Exception as error:
            wrong.append(f"{name}: {error}"[:2000])
        if guided:
            outcomes[f"{name}: as coverage says"], failed = by_coverage(name, SECONDS / 20)
            wrong += failed
    keep("fuzzed", {"outcomes": outcomes, "wrong": wrong})
    assert wrong == []


def by_coverage(name: str, seconds: float) -> tuple[dict[str, int], list[str]]:
    """What atheris found in so many seconds, and what it ended with where that was not the time."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.json"
        paths = os.pathsep.join([str(PLUGINS), os.environ.get("PYTHONPATH", "")])
        ended = subprocess.run(
            [sys.executable, str(SOAK / "coverage_guided.py"), name, str(round(seconds))],
            env={**os.environ, "PYTHONPATH": paths, "IASIDE_FUZZED": str(told)},
            capture_output=True,
            text=True,
        )
        counts = json.loads(told.read_text()) if told.exists() else {}
    failed = [] if ended.returncode == 0 else [f"{name}: {ended.stdout}{ended.stderr}"[-2000:]]
    return counts, failed


def test_images_of_16_megapixels() -> None:
    """Two of them, three channels each: 400 MB of float32 that are measured within 8 GB."""
    import resource

    import torch

    from pytest_iaside import ReferenceSample, measure

    generator = torch.Generator().manual_seed(0)
    sample = ReferenceSample(torch.rand(2, 3, 4096, 4096, generator=generator), [0, 1])
    network = torch.nn.Sequential(
        torch.nn.AvgPool2d(1024), torch.nn.Flatten(), torch.nn.Linear(48, 2)
    )
    found = measure(network, sample, bands=2)
    assert found.values.shape == (2, 2)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 8_000_000

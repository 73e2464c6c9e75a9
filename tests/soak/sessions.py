"""Whole sessions of pytest with a fault in one of their calls: no verdict changes by it.

Run by tests with faults.c loaded, as faults.py is; prints the same kind of document.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
from faults import FAULTS, Tally, ended, library
from wave_models import CONFTEST, MODELS

# Loaded once, before the forks.
from pytest_iaside.errors import BaselineError
from pytest_iaside.measure.profile import SpectralProfile

NAMES = ("killed before a call", "no space left, from there on", "input/output error")
READ_ONLY = "read-only, from there on"
MOST_OF_EACH = 8
"""Calls of a session that a fault is put into; of more, as many at equal distances."""
QUIET = [
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:html",
    "-p",
    "no:hypothesispytest",
    "-W",
    "ignore",
]
EXPORTS = ["--iaside-json=out/a.json", "--iaside-markdown=out/b.md", "--iaside-report=out/c.html"]
NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return (images.mean(dim=(1, 2)) @ WAVES.T) * 2 * self.weight

model = Net()
"""
TEST = """
import models
from pytest_iaside import assert_spectral_robustness

def test_robust():
    assert_spectral_robustness(models.model, bands=4, max_value_drop=0.05, backend="eager")
"""


@dataclass(frozen=True)
class Mode:
    """A session: its options, how good its model is, and how it has to end."""

    options: list[str]
    gain: str
    code: int
    says: str
    network: bool = False
    new: bool = False


MODES = {
    "a green gate and its exports": Mode(EXPORTS, "1", 0, "✓ pass"),
    "a red gate and its exports": Mode(EXPORTS, "0.3", 1, "✗ drift"),
    "a green gate and its cache": Mode([], "1", 0, "✓ pass", network=True),
    "a new baseline": Mode(["--iaside-update=new"], "1", 0, "created", new=True),
}


def project(folder: Path, mode: Mode, template: Path) -> None:
    shutil.copytree(template / ("network" if mode.network else "function"), folder)
    if mode.new:
        shutil.rmtree(folder / "__iaside__")


def session(folder: Path, mode: Mode, said: Path) -> int:
    """How pytest ends in ``folder``."""
    os.chdir(folder)
    os.environ |= {"GAIN": mode.gain, "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    os.environ["IASIDE_CACHE_DIR"] = str(folder / "cache")
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    return int(pytest.main([*QUIET, *mode.options]))


def start(folder: Path, mode: Mode, said: Path, nth: int, fault: int, stays: bool) -> int:
    child = os.fork()
    if child:
        return child
    code = 4
    try:
        library.faults_arm(os.fsencode(folder), nth, fault, stays)
        code = 0 if session(folder, mode, said) == mode.code else 3
        library.faults_disarm()
        (said.parent / "calls").write_text(str(library.faults_calls()))
    finally:
        sys.stdout.flush()
        os._exit(code)


def baseline_of(folder: Path) -> str:
    """Whether the baseline is whole; raises BaselineError where it is not."""
    found = list(folder.rglob("__iaside__/*/*.yaml"))
    if not found:
        return "none"
    SpectralProfile.load(found[0])
    return "whole"


def look(mode: Mode, folder: Path, outcome: str, said: str) -> Iterator[str]:
    """What is wrong with how a session ended."""
    if outcome == "refused" and not (mode.new and "BaselineError" in said):
        yield "another exit status"
    if outcome == "written" and mode.says not in said:
        yield f"it does not say {mode.says!r}"
    if outcome == "broken":
        yield "pytest itself broke"
    try:
        if baseline_of(folder) == "none" and not mode.new:
            yield "the baseline is gone"
    except BaselineError as error:
        yield f"the baseline: {error}"
    for path in folder.glob("out/*.json"):
        json.loads(path.read_text())


def warm(base: Path, template: Path) -> None:
    """Load all that a session loads, so that no fork has to."""
    out, err = os.dup(1), os.dup(2)
    red = MODES["a red gate and its exports"]
    project(base / "warm", red, template)
    assert session(base / "warm", red, base / "said.txt") == 1
    for name in ("models", "conftest", "test_it"):
        sys.modules.pop(name, None)
    sys.path[:] = [each for each in sys.path if not each.startswith(str(base))]
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(base)


def main() -> int:
    base = Path(sys.argv[1])
    template, said, tally = base / "template", base / "said.txt", Tally()
    for name, more in (("function", ""), ("network", NETWORK)):
        place = template / name
        place.mkdir(parents=True)
        (place / "models.py").write_text(MODELS + more)
        (place / "conftest.py").write_text(CONFTEST)
        (place / "test_it.py").write_text(TEST)
        (place / "pytest.ini").write_text("[pytest]\n")
        first = os.fork()
        if not first:
            os._exit(session(place, MODES["a new baseline"], said))
        assert os.waitpid(first, 0)[1] == 0, said.read_text()
        shutil.rmtree(place / "cache", ignore_errors=True)
    warm(base, template)
    number = 0

    def run(mode: Mode, nth: int, fault: int, stays: bool) -> tuple[Path, str]:
        nonlocal number
        number += 1
        folder = base / f"{number:05}"
        project(folder, mode, template)
        return folder, ended(start(folder, mode, said, nth, fault, stays))

    for what, mode in MODES.items():
        _, outcome = run(mode, 0, 0, False)
        assert outcome == "written", said.read_text()
        calls = int((base / "calls").read_text())
        step = max(1, -(-calls // MOST_OF_EACH))
        for name in (*NAMES, READ_ONLY):
            # A tree that cannot be written is one from the first call on.
            for nth in range(1, 2 if name == READ_ONLY else calls + 1, step):
                folder, outcome = run(mode, nth, *FAULTS[name])
                tally.add(f"{what}: {name}", outcome)
                for why in look(mode, folder, outcome, said.read_text(errors="replace")):
                    tally.fail(f"{what}, {name}, call {nth}", why)
                shutil.rmtree(folder)
    print(json.dumps({"outcomes": tally.outcomes, "wrong": tally.wrong}, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())

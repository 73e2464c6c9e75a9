"""An unchanged model is gated again with a few forward passes: what is kept is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import OTHERS_OFF, Project

# A module, so that it can be told from another one; it leaves a mark whenever it is run.
NETWORK = """
import pathlib
import torch
from pytest_iaside import assert_spectral_robustness
import models

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(models.WAVES.T * 2.0)

    def forward(self, images):
        pathlib.Path("ran").touch()
        return images.mean(dim=(1, 2)) @ self.weight

def test_robust():
    network = Network()
    assert_spectral_robustness(network)
"""
# The game, and the answers clean and under the five perturbations of the panel.
PASSES = 24 * (2**4 + 1 + 6)
# Each of the 24 images as it is and under a perturbation; and under two of its coalitions, the
# least number that makes 64 of the game: as it is it need not be run again for that.
REPLAYED = 48 + 48


@pytest.fixture
def networked(project: Project) -> Project:
    project.write(NETWORK)
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    return project


def ran(project: Project) -> bool:
    mark = project.root / "ran"
    found = mark.exists()
    mark.unlink(missing_ok=True)
    return found


def test_of_an_unchanged_model_some_is_replayed(networked: Project) -> None:
    (record,) = networked.records()
    assert record["verdict"] == "pass"
    candidate = record["comparison"]["candidate"]
    assert candidate["forward_passes"] == candidate["passes_from_cache"] == PASSES
    assert candidate["passes_replayed"] == REPLAYED
    result = networked.run()
    result.stdout.fnmatch_lines([f"test_robust *✓ pass *  {REPLAYED}  *"])
    result.stdout.fnmatch_lines([f"*cached, {REPLAYED} of {PASSES} passes replayed*"])


@pytest.mark.parametrize("how", ["--iaside-no-cache", "ini", "keyword"])
def test_it_is_run_where_the_cache_is_off(networked: Project, how: str) -> None:
    ran(networked)
    if how == "ini":
        networked.ini("iaside_cache = false")
    elif how == "keyword":
        networked.write(NETWORK.replace("(network)", "(network, cache=False)"))
    networked.run(*[how] * how.startswith("--")).assert_outcomes(passed=1)
    assert ran(networked)


def test_nothing_is_kept_where_the_cache_is_off(project: Project, cache_folder: Path) -> None:
    project.write(NETWORK)
    project.run("--iaside-update=new", "--iaside-no-cache").assert_outcomes(passed=1)
    assert not list(cache_folder.glob("results*"))


def test_a_changed_model_is_run(networked: Project) -> None:
    ran(networked)
    networked.write(NETWORK.replace("2.0", "2.01"))
    networked.run().assert_outcomes(passed=1)
    assert ran(networked)


def test_code_that_changed_is_run(networked: Project) -> None:
    """The weights are the same; what is computed with them is not."""
    networked.write(NETWORK.replace("@ self.weight", "@ self.weight * torch.tensor([2, -1, 2])"))
    result = networked.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the model has the weights of an earlier run but not its*"])


def test_workers_share_it(networked: Project) -> None:
    result = networked.pytester.runpytest_subprocess(*OTHERS_OFF, "-n", "2")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*cached, {REPLAYED} of {PASSES} passes replayed*"])


def test_a_wrong_value_is_named(project: Project) -> None:
    project.ini("iaside_cache = perhaps")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*iaside_cache: 'perhaps' cannot be used; expected true or false"])


BRIGHTEST = """
import pathlib
import torch
from pytest_iaside import assert_spectral_robustness
import models

LIGHT = models.reference().pixels().mean(dim=(1, 2, 3)).sort().values[-2:].mean()

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(models.WAVES.T * 2.0)

    def forward(self, images):
        logits = images.mean(dim=(1, 2)) @ self.weight
        if pathlib.Path("worse").exists():
            light = images.mean(dim=(1, 2, 3)) > LIGHT
            logits = torch.where(light[:, None], logits.roll(1, 1), logits)
        return logits

def test_robust():
    assert_spectral_robustness(Network(), panel=[("contrast", 2)])
"""


@pytest.mark.parametrize("attempt", range(3))
def test_answers_are_not_stale_where_the_game_finds_that_they_are(
    project: Project, attempt: int
) -> None:
    """One image of 24 is answered otherwise as it is; which view of it is replayed is chance."""
    project.write(BRIGHTEST)
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    (project.root / "worse").touch()
    (record,) = project.records()
    clean = next(e for e in record["comparison"]["answers"] if e["name"] == "accuracy, clean")
    assert (clean["baseline"], clean["candidate"]) == (1.0, pytest.approx(23 / 24))
    assert any("not its answers" in note for note in record["comparison"]["notes"])

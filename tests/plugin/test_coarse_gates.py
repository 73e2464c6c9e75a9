"""A spectral gate looks coarsely first, and closely only where that does not decide."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from project import OTHERS_OFF, Project

from pytest_iaside.compare import coarse
from pytest_iaside.measure.profile import SpectralProfile

IMAGES, PANEL, BANDS = 24, 5, 8
ANSWERS = IMAGES * (1 + PANEL)
ENDS, ORDER, ARCS, ALL = 2 * BANDS + 4, 2 * BANDS, BANDS * (BANDS - 1) + 2, 2**BANDS
EIGHT = ("-o", "iaside_bands=8", "-o", "iaside_cache=false")
UNLIMITED = (
    *("-o", "iaside_max_accuracy_drop=none", "-o", "iaside_max_log_likelihood_drop=none"),
    *("-o", "iaside_max_probability_drop=none"),
)
LOOSE = ("-o", "iaside_max_band_drop=0.2", "-o", "iaside_max_value_drop=0.2")


@pytest.fixture
def eight(project: Project) -> Project:
    """The project with its baseline, of eight bands."""
    project.run("--iaside-update=new", *EIGHT).assert_outcomes(passed=1)
    return project


def record(project: Project, *options: str, gain: float = 1.0) -> dict[str, Any]:
    (found,) = project.records(*EIGHT, *options, gain=gain)
    return found


def passes(found: dict[str, Any]) -> int:
    run: int = found["comparison"]["candidate"]["forward_passes"]
    return run


def notes(found: dict[str, Any]) -> str:
    return "\n".join(found["comparison"]["notes"])


def test_an_unchanged_model_is_known_after_the_ends(eight: Project) -> None:
    found = record(eight)
    assert (found["verdict"], passes(found)) == ("pass", ANSWERS + IMAGES * ENDS)
    assert "unchanged: every image is answered as by the baseline" in notes(found)
    assert f"under {ENDS} of {ALL} coalitions" in notes(found)
    # With everything it takes them all, and says no such thing.
    found = record(eight, "--iaside-budget=everything")
    assert (found["verdict"], passes(found)) == ("pass", ANSWERS + IMAGES * (ALL + 1))
    assert "unchanged" not in notes(found)


def test_answers_that_are_worse_are_red_before_the_game(eight: Project) -> None:
    found = record(eight, gain=0.1)
    assert (found["verdict"], found["failed"]) == ("drift", True)
    # The 32 images that moved most are played along one order: here all.
    assert passes(found) == ANSWERS + IMAGES * ORDER
    assert "the answers to all 24 images decide" in notes(found)
    assert found["comparison"]["images"] == IMAGES
    assert "of the 24 images that moved most: band " in found["summary"]
    assert {check["name"] for check in found["comparison"]["checks"]}.isdisjoint(
        {"band", "src", "value", "structured"}
    )
    whole = record(eight, "--iaside-budget=everything", gain=0.1)
    assert whole["verdict"] == "drift"
    names = ("clean accuracy", "mean log-likelihood", "perturbed probability")
    both = (
        {c["name"]: c for c in each["comparison"]["checks"] if c["name"] in names}
        for each in (found, whole)
    )
    first, fine = both
    assert first == fine and first


def test_one_order_decides_where_it_can(eight: Project) -> None:
    """Both are held against the same coalitions of the baseline."""
    found = record(eight, *UNLIMITED, *LOOSE, gain=0.98)
    assert found["verdict"] in ("pass", "nothing found")
    assert passes(found) == ANSWERS + IMAGES * ORDER
    assert "99.9%" in json.dumps(found["comparison"]["checks"], ensure_ascii=False)
    assert "decided by 16 of 256 coalitions of each image" in notes(found)
    # A drift that is plain is red without the rest.
    found = record(eight, *UNLIMITED, gain=-1.0)
    assert found["verdict"] == "drift"
    assert passes(found) in (ANSWERS + IMAGES * ORDER, ANSWERS + IMAGES * ARCS)


def test_arcs_decide_what_one_order_leaves_open(
    eight: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of these waves one order knows as much as arcs do: as if it did not."""
    looks = iter([False, True])
    monkeypatch.setattr(coarse, "decided", lambda *of: next(looks))
    found = record(eight, *UNLIMITED, *LOOSE, gain=0.98)
    assert passes(found) == ANSWERS + IMAGES * ARCS
    assert "decided by 58 of 256 coalitions of each image" in notes(found)
    assert not list(looks)


def test_what_arcs_leave_open_is_played_out(eight: Project) -> None:
    tight = ("-o", "iaside_max_band_drop=0.0001", "-o", "iaside_max_value_drop=0.0001")
    found = record(eight, *UNLIMITED, *tight, gain=0.98)
    assert passes(found) == ANSWERS + IMAGES * ALL
    whole = record(eight, *UNLIMITED, *tight, "--iaside-budget=everything", gain=0.98)
    for here, there in zip(
        found["comparison"]["checks"], whole["comparison"]["checks"], strict=True
    ):
        assert here["verdict"] == there["verdict"]
        assert here["change"] == pytest.approx(there["change"], abs=1e-5)


def test_any_change_is_looked_for_in_everything(eight: Project) -> None:
    found = record(eight, *UNLIMITED, "--iaside-fail-on=any-change", gain=0.98)
    assert passes(found) == ANSWERS + IMAGES * ALL


def test_an_accepted_baseline_is_played_whole(eight: Project) -> None:
    record(eight, "--iaside-accept-drift", gain=0.1)
    stored = SpectralProfile.load(eight.baseline)
    assert (len(stored), stored.rules.design) == (IMAGES, "exact")
    assert stored.log_likelihood is not None
    assert stored.forward_passes == ANSWERS + IMAGES * (ALL + 1)
    assert record(eight, gain=0.1)["verdict"] == "pass"


def test_what_an_early_look_played_is_kept(project: Project, tmp_path: Any) -> None:
    project.monkeypatch.setenv("IASIDE_CACHE_DIR", str(tmp_path / "cache"))
    cached = ("-o", "iaside_bands=8", *UNLIMITED, *LOOSE)
    project.call("Classifier(models.model, version=os.environ['GAIN'])")
    project.write(
        "import os\nfrom pytest_iaside import Classifier\n"
        + (project.root / "test_it.py").read_text()
    )
    project.run("--iaside-update=new", *cached).assert_outcomes(passed=1)
    first, second = (project.records(*cached, gain=0.98)[0] for _ in range(2))
    spectral = second["comparison"]["candidate"]
    assert passes(first) == passes(second) == ANSWERS + IMAGES * ORDER
    assert spectral["passes_from_cache"] == passes(second)
    assert first["verdict"] == second["verdict"]


VERSIONED = """
import os
import models
import pathlib
import torch
from pytest_iaside import Classifier, assert_spectral_robustness

def model(images):
    answers = models.model(images)
    if pathlib.Path("worse").exists():
        blank = images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3)) < 1e-6
        answers = answers + blank[:, None] * torch.tensor([2.0, 0.0, 0.0])
    return answers

def test_robust():
    assert_spectral_robustness(Classifier(model, version="1"))
"""


@pytest.mark.parametrize("changes", [False, True])
def test_ends_are_kept_where_the_whole_game_is_not(
    project: Project, tmp_path: Any, changes: bool
) -> None:
    """As in CI, which gets its baseline from git: of an unchanged model little is run again."""
    cached = ("-o", "iaside_bands=8")
    project.write(VERSIONED)
    project.run("--iaside-update=new", *cached).assert_outcomes(passed=1)
    project.monkeypatch.setenv("IASIDE_CACHE_DIR", str(tmp_path / "of another machine"))
    first, second = (project.records(*cached)[0] for _ in range(2))
    played = [each["comparison"]["candidate"] for each in (first, second)]
    assert passes(first) == passes(second) == ANSWERS + IMAGES * ENDS
    assert [each["passes_from_cache"] for each in played] == [0, passes(second)]
    # Of the answers two of each image; of the ends as many as make 64 with the images as they are.
    assert played[1]["passes_replayed"] == 2 * IMAGES + 2 * IMAGES
    assert all("unchanged: every image" in notes(each) for each in (first, second))
    if changes:
        # Seen where bands are missing alone, and by chance: the empty coalition must be drawn.
        (project.root / "worse").touch()
        for _ in range(8):
            third = project.records(*cached)[0]
            if "not its answers" in notes(third):
                break
        assert "not its answers" in notes(third)
        assert third["comparison"]["candidate"]["passes_from_cache"] < passes(third)


@pytest.mark.parametrize("budget", ["400", "1ms", "0.000001s"])
def test_a_small_budget_is_no_way_to_green(eight: Project, budget: str) -> None:
    if budget == "1ms":
        result = eight.run(*EIGHT, f"--iaside-budget={budget}")
        result.stderr.fnmatch_lines(["*'1ms'*decided, everything, a number of forward passes*"])
        return
    for gain in (1.0, 0.98):
        found = record(eight, *UNLIMITED, f"--iaside-budget={budget}", gain=gain)
        assert (found["verdict"], found["failed"]) == ("inconclusive", False)
        count = max(8, (400 - ANSWERS) // ARCS) if budget == "400" else 8
        assert passes(found) == ANSWERS + count * ARCS
        assert f"leaves out {IMAGES - count} of 24 images" in notes(found)
    # What is red by its answers is red at any budget.
    assert record(eight, f"--iaside-budget={budget}", gain=0.1)["verdict"] == "drift"


def test_a_budget_that_allows_arcs_alone(eight: Project) -> None:
    enough = ANSWERS + IMAGES * ARCS
    tight = (*UNLIMITED, "-o", "iaside_max_band_drop=0.0001", f"--iaside-budget={enough}")
    found = record(eight, *tight, gain=0.98)
    assert passes(found) == enough
    assert f"leaves out {IMAGES * (ALL - ARCS):,} forward passes" in notes(found)
    assert "95%" in json.dumps(found["comparison"]["checks"], ensure_ascii=False)


def test_a_baseline_without_its_table_is_compared_as_ever(eight: Project) -> None:
    stored = SpectralProfile.load(eight.baseline)
    replace(stored, log_likelihood=None).save(eight.root / "without.yaml")
    eight.call('models.model, baseline="without.yaml"')
    found = record(eight)
    assert (found["verdict"], passes(found)) == ("pass", ANSWERS + IMAGES * (ALL + 1))


def test_some_images_of_the_sample(eight: Project) -> None:
    found = record(eight, "--iaside-samples=10", gain=0.1)
    assert found["verdict"] == "drift"
    assert passes(found) == ANSWERS + 10 * ORDER
    found = record(eight, "--iaside-samples=10")
    assert passes(found) == ANSWERS + 10 * ENDS


def test_a_model_that_differs_where_bands_are_missing_alone(eight: Project) -> None:
    """The same answers are no proof: the ends are looked at, too."""
    eight.write(
        "import models, torch\nfrom pytest_iaside import assert_spectral_robustness\n"
        "def cut(x):\n"
        "    answers = models.model(x)\n"
        "    blank = (x.amax(dim=(1, 2, 3)) - x.amin(dim=(1, 2, 3))) < 1e-6\n"
        "    return answers + blank[:, None] * torch.tensor([2.0, 0.0, 0.0])\n"
        "def test_robust():\n    assert_spectral_robustness(cut)\n"
    )
    found = record(eight)
    assert "unchanged" not in notes(found)
    assert passes(found) > ANSWERS + IMAGES * (ENDS + 1)
    assert np.isfinite(found["comparison"]["checks"][0]["change"])


def test_an_executors_threads_run_what_this_one_has_just_run(project: Project) -> None:
    """A network that stayed open here would keep them waiting for ever."""
    project.write(
        "import models, pytest, torch\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from pytest_iaside import assert_spectral_robustness\n"
        "@pytest.fixture\n"
        "def spectral_executor():\n"
        "    with ThreadPoolExecutor(2) as executor:\n"
        "        yield executor\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return models.model(x)\n"
        "def test_robust():\n    assert_spectral_robustness(Net())\n"
    )
    for options in (["--iaside-update=new"], ["--iaside-budget=everything"], []):
        result = project.pytester.runpytest_subprocess(*OTHERS_OFF, *EIGHT, *options, timeout=100)
        result.assert_outcomes(passed=1)


def test_a_report_says_which_intervals_have_which_level(eight: Project) -> None:
    found = record(eight, *UNLIMITED, *LOOSE, "--iaside-report", gain=0.98)
    levels = [found["comparison"][name] for name in ("level", "answers_level")]
    assert levels == [pytest.approx(0.999), 0.95]
    page = (eight.root / "iaside-report" / "index.html").read_text()
    assert '<th scope="col">99.9% CI (answers: 95% CI)</th>' in page
    before, _, _ = page.partition('<th scope="row">accuracy under white_noise 3</th>')
    head = before[before.rindex("<thead>") :]
    assert '<th scope="col">95% CI</th>' in head

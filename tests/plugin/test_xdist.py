"""The same under xdist: results ride on the reports, the controller does the rest."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from project import Project

pytest.importorskip("xdist")

MANY = """
import models, pytest
from pytest_iaside import assert_spectral_robustness as gate

def test_one(): gate(models.model)
@pytest.mark.xdist_group("g")
def test_two(): gate(models.model, max_value_drop=None, max_band_drop=None, max_sid_shift=None)
def test_wrong(): gate(models.model, band=3)
def test_other(): pass
"""


def test_results_reach_the_controller(project: Project) -> None:
    project.monkeypatch.setenv("OMP_NUM_THREADS", "1")
    project.write(MANY)
    project.run("--iaside-update=new").assert_outcomes(passed=3, failed=1)
    assert len(project.baselines) == 2
    project.write(MANY.replace("test_two(", "test_three("))
    result = project.run("-n", "2", "--iaside-json=out.json", "--junit-xml=junit.xml", gain=0.3)
    # A wrong setting in one worker decides the exit status of the whole.
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["wrong setting: *unknown setting 'band'; did you mean 'bands'*"])
    result.stdout.fnmatch_lines(
        ["1 unused baseline (*):", "  __iaside__/test_it/test_two-????????.yaml"]
    )
    gates = json.loads((project.root / "out.json").read_text())["gates"]
    assert {gate["test"]: gate["verdict"] for gate in gates} == {
        "test_it.py::test_one": "drift",
        "test_it.py::test_three": None,
        "test_it.py::test_wrong": None,
    }
    assert (project.root / "iaside-report" / "index.html").exists()
    junit = ElementTree.parse(project.root / "junit.xml").getroot()
    values = {p.get("value") for p in junit.iter("property") if p.get("name") == "iaside_verdict"}
    assert values == {"drift", "refused"}
    assert all(len(p.get("value", "")) < 100 for p in junit.iter("property"))


def test_groups_do_not_change_whose_a_baseline_is(gated: Project) -> None:
    gated.write(
        "import models, pytest\nfrom pytest_iaside import assert_spectral_robustness as gate\n"
        "@pytest.mark.xdist_group('g')\ndef test_robust(): gate(models.model)\n"
    )
    result = gated.run("-n", "1", "--dist=loadgroup", "--iaside-prune")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["0 unused baselines removed"])


@pytest.fixture
def stored(project: Project) -> Project:
    """Baselines of test_here, which is collected, and of test_gone, which is not."""
    folder = project.root / "__iaside__" / "test_it"
    folder.mkdir(parents=True)
    for test in ("test_here", "test_gone"):
        text = f"test: {{node_id: 'test_it.py::{test}', name: null}}"
        (folder / f"{test}-0.yaml").write_text(text)
        (folder / f"{test}-0.npz").write_text("")
    project.write("", "conftest")
    project.write("import pytest\ndef test_here(): pytest.skip()\ndef test_b(): pass")
    return project


def test_pruning(stored: Project) -> None:
    result = stored.run("-n", "2", "--iaside-prune")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["1 unused baseline removed:"])
    assert [path.name for path in stored.baselines] == ["test_here-0.yaml"]


@pytest.mark.parametrize(
    ("change", "arguments", "why"),
    [
        (("test_broken", "import nowhere"), (), "could not be collected"),
        (("test_a", "def test_a(): assert 0"), ("-x",), "stopped before its end"),
        (("test_a", "import os\ndef test_a(): os._exit(1)"), (), "stopped before its end"),
        (
            (
                "conftest",
                "def pytest_collection_modifyitems(config, items):\n"
                "    config.hook.pytest_deselected(items=[items.pop()])\n",
            ),
            (),
            "some tests were deselected",
        ),
    ],
)
def test_pruning_is_refused(
    stored: Project, change: tuple[str, str], arguments: tuple[str, ...], why: str
) -> None:
    module, source = change
    stored.write(source, module)
    result = stored.run("-n", "1", "--iaside-prune", *arguments)
    assert result.ret not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    result.stdout.fnmatch_lines([f"--iaside-prune refused: *{why}; nothing was removed"])
    assert len(stored.baselines) == 2


def test_a_wrong_marker_stops_the_run(project: Project) -> None:
    project.write("", "conftest")
    project.write(
        "import pytest\n@pytest.mark.iaside(band=3)\ndef test_a(): assert 0\ndef test_b(): pass"
    )
    result = project.run("-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        ["wrong setting: test_it.py::test_a: @pytest.mark.iaside: unknown setting 'band'; *"]
    )
    result.assert_outcomes()

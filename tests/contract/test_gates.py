"""What every kind of gate promises, from its first baseline to the reports of a failure."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from project import Project

import pytest_iaside
from pytest_iaside.report.wings import wings
from pytest_iaside.testing.kinds import GateKind
from pytest_iaside.testing.session import CI_VARIABLES

# pytester forgets, after each run, the modules that the run imported; wings are loaded once.
wings()

PACKAGE = Path(pytest_iaside.__file__).parent
TEST = "test_it.py::test_robust"

# Models that noise or fine detail sways unless GAIN is 1, and a training run whose last checkpoint
# has that GAIN.
MORE_MODELS = """
import os
from functools import partial
import torch
import models
import numpy as np
from pathlib import Path
from pytest_iaside import measure
from pytest_iaside.track import Point

def steady(images, gain):
    # As models.model, whatever GAIN is.
    return (images.mean(dim=(1, 2)) @ models.WAVES.T) * torch.tensor([2.0, 2.0 * gain, 2.0])

def plain(images):
    return steady(images, 1.0)

def files():
    # The images as files that only their reader knows.
    for place, image in enumerate(models.reference().pixels()):
        np.save(f"image{place:02}.npy", image.numpy())
    return sorted(Path().glob("image*.npy"))

CLASSES = models.reference().labels.tolist()

def read(path):
    return torch.from_numpy(np.load(path))

def pale(path):
    return 0.5 + (read(path) - 0.5) * float(os.environ["GAIN"])

def swayed(images):
    sway = (float(os.environ["GAIN"]) - 1) * images.var(dim=(1, 2, 3))[:, None]
    return steady(images, 1.0) - 60 * sway * torch.tensor([1.0, -1.0, 0.0])

def edgy(images):
    edges = images.diff(dim=3).abs().mean(dim=(1, 2, 3))[:, None]
    sway = (float(os.environ["GAIN"]) - 1) * edges
    return steady(images, 1.0) + sway * torch.tensor([-1.0, 0.0, 1.0])

def checkpoint(step, gain):
    profile = measure(partial(steady, gain=gain), models.reference(), bands=4)
    return Point(step=step, name=f"epoch{step}.pt", profile=profile)

def history():
    return [checkpoint(0, 1.0), checkpoint(1, 1.0), checkpoint(2, float(os.environ["GAIN"]))]
"""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How the contract calls one kind of gate, and what it is to see."""

    kind: str
    module: str
    """Where its assertion is imported from."""
    subject: str
    """What is asserted of, with which settings."""
    gain: float = 1.0
    """The GAIN of a worse model."""
    bound: str = ""
    """A setting under which the same model is too bad, where no GAIN makes a worse one."""
    other: str = ""
    """Another setting, that a baseline was not made with."""
    difference: str = ""
    """What is said of that."""

    @property
    def stores(self) -> bool:
        """Whether it compares with a baseline in the repository."""
        return bool(self.difference)

    @property
    def name(self) -> str | None:
        """What tells it from gates of other kinds in one test."""
        return None if self.kind == "spectral" else self.kind


# By the name of the assertion.
KINDS = {
    "assert_spectral_robustness": Kind(
        kind="spectral",
        module="pytest_iaside",
        subject="models.model",
        gain=0.3,
        other="bands=3",
        difference="bands: candidate 3, baseline 4",
    ),
    "assert_perturbation_robustness": Kind(
        kind="perturbations",
        module="pytest_iaside",
        subject="more_models.swayed, perturbations=[('white_noise', 5)]",
        gain=2.0,
        other="temperature=2.0",
        difference="temperature: candidate 2.0, baseline 1.0",
    ),
    "assert_spectral_response": Kind(
        kind="band response",
        module="pytest_iaside",
        subject="more_models.swayed, energies=[0.1, 1.0], bands=4",
        gain=3.0,
        other="seed=1",
        difference="seed: candidate 1, baseline 0",
    ),
    "assert_equivalent_robustness": Kind(
        kind="equivalence",
        module="pytest_iaside",
        subject="models.model, more_models.plain",
        gain=-0.5,
    ),
    "assert_preprocessing_robustness": Kind(
        kind="preprocessing",
        module="pytest_iaside",
        subject="more_models.plain, more_models.pale, more_models.read, more_models.files(), "
        "labels=more_models.CLASSES, reads='path'",
        gain=-0.5,
    ),
    "assert_scale_reliance": Kind(
        kind="scale reliance",
        module="pytest_iaside.explain",
        subject="more_models.edgy, samples=12",
        gain=40.0,
        other="seed=1",
        difference="seed: candidate 1, baseline 0",
    ),
    "assert_reconstruction_depth": Kind(
        kind="reconstruction depth",
        module="pytest_iaside.explain",
        subject="models.model, samples=12",
        bound="max_depth=0.5",
        other="wavelet='db2'",
        difference="wavelet: candidate 'db2', baseline 'haar'",
    ),
    "assert_lens_smoothness": Kind(
        kind="lens smoothness",
        module="pytest_iaside.explain",
        subject="more_models.edgy, samples=12, scales=[0, .5, 1]",
        gain=40.0,
        other="noise=0.1",
        difference="noise: candidate 0.1, baseline 0.3",
    ),
    "assert_no_robustness_decline": Kind(
        kind="trend", module="pytest_iaside", subject="more_models.history()", gain=0.3
    ),
}
every_kind = pytest.mark.parametrize("function", KINDS)
STORING = [function for function, kind in KINDS.items() if kind.stores]
NOT_STORING = [function for function in KINDS if function not in STORING]
every_storing_kind = pytest.mark.parametrize("function", STORING)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in (*CI_VARIABLES, "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    found = Project(pytester, monkeypatch)
    pytester.makepyfile(more_models=MORE_MODELS)
    return found


def write(project: Project, function: str, *settings: str, calls: int = 1) -> None:
    """A test that asserts ``calls`` times; the words of ``settings`` go to each call in turn."""
    kind = KINDS[function]
    more = [*settings, *[""] * calls][:calls]
    asserted = [f"    {function}({', '.join(filter(None, (kind.subject, m)))})" for m in more]
    head = f"import models, more_models\nfrom {kind.module} import {function}\n"
    project.write("\n".join([head, "def test_robust():", *asserted]))


def start(project: Project, function: str) -> Kind:
    """Write the test of ``function``, and its baseline where it stores one."""
    write(project, function)
    kind = KINDS[function]
    if kind.stores:
        result = project.run("--iaside-update=new")
        assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    return kind


def run_worse(project: Project, function: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    """Run a worse model, or the same under a bound that it breaks; result and record."""
    kind = start(project, function)
    if kind.bound:
        write(project, function, kind.bound)
    result = project.run("--iaside-json=out.json", "--junit-xml=out.xml", gain=kind.gain)
    (record,) = document(project)["gates"]
    return result, record


def document(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.root / "out.json").read_text(encoding="utf-8"))
    return found


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the package, with what is written in it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text(encoding="utf-8"))


def rows() -> Iterator[GateKind]:
    """Every GateKind that stands in a module of the package."""
    for name, tree in sources():
        made = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        if any(isinstance(call.func, ast.Name) and call.func.id == "GateKind" for call in made):
            values = vars(importlib.import_module(name)).values()
            yield from (value for value in values if isinstance(value, GateKind))


def test_every_assertion_is_covered() -> None:
    written = {
        node.name
        for _, tree in sources()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("assert_")
    }
    # What gates of one row share is none of its own.
    assert written - {"assert_kind"} == set(KINDS)


def test_every_row_is_covered() -> None:
    found = {row.function: row.kind for row in rows()}
    assert len(found) >= 4
    assert found.items() <= {name: kind.kind for name, kind in KINDS.items()}.items()


@every_kind
def test_an_unchanged_model_passes(project: Project, function: str) -> None:
    kind = start(project, function)
    assert len(project.baselines) == kind.stores
    before = project.contents()
    result = project.run("--iaside-json=out.json", "--junit-xml=out.xml")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=1)
    assert project.contents() == before
    (record,) = document(project)["gates"]
    assert (record["kind"], record["name"]) == (kind.kind, kind.name)
    assert (record["status"], record["verdict"], record["failed"]) == ("compared", "pass", False)
    checks = record["comparison"]["checks"]
    assert checks and {check["verdict"] for check in checks} == {"pass"}
    assert all(check["sentence"] for check in checks if check["name"] != "structured")


@every_storing_kind
def test_a_missing_baseline_is_no_pass_and_says_how_to_make_one(
    project: Project, function: str
) -> None:
    write(project, function)
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*there is no baseline for this test yet*", f'*pytest "{TEST}" --iaside-update=new']
    )
    assert not project.baselines


@every_kind
def test_a_worse_model_fails_with_the_verdict_in_the_first_line(
    project: Project, function: str
) -> None:
    result, record = run_worse(project, function)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    assert (record["verdict"], record["failed"]) == ("drift", True)
    drifted = [check for check in record["comparison"]["checks"] if check["verdict"] == "drift"]
    assert drifted and all(check["sentence"] for check in drifted)
    errors = [line for line in result.outlines if line.startswith("E  ")]
    assert errors[0] == f"E       AssertionError: {record['summary']}"
    # The number that decides, with its interval and its limit.
    assert "95% CI" in errors[0]
    assert any(word in errors[0] for word in ("allowed", "at most", "at least"))
    where = {check["where"] or check["sentence"] for check in drifted}
    assert any(each in record["summary"] for each in where)


@every_kind
def test_a_failure_reaches_every_report(project: Project, function: str) -> None:
    result, record = run_worse(project, function)
    kind = KINDS[function]
    assert (record["test"], record["kind"], record["name"]) == (TEST, kind.kind, kind.name)
    assert document(project)["failed"] is True
    case = ElementTree.parse(project.root / "out.xml").find(".//testcase")
    assert case is not None
    failure = case.find("failure")
    assert failure is not None
    message = failure.get("message") or ""
    assert message.splitlines()[0] == f"AssertionError: {record['summary']}"
    suffix = "" if kind.name is None else f"[{kind.name}]"
    properties = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert properties[f"iaside_verdict{suffix}"] == "drift"
    label = "✗ test_robust" if kind.name is None else f"✗ test_robust · {kind.name}"
    lines = result.outlines
    summary = lines[next(i for i, line in enumerate(lines) if " spectral robustness " in line) :]
    assert f"{label}:" in summary
    assert any(line.startswith(label.removeprefix("✗ ")) for line in summary)
    page = (project.root / "iaside-report" / "index.html").read_text(encoding="utf-8")
    assert label.removeprefix("✗ ") in page


@every_storing_kind
def test_a_baseline_of_other_settings_is_refused_and_the_difference_named(
    project: Project, function: str
) -> None:
    kind = start(project, function)
    before = project.contents()
    write(project, function, kind.other)
    result = project.run("--iaside-json=out.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (error, *_) = [line for line in result.outlines if line.startswith("E  ")]
    assert "BaselineError: the baseline was made for something else" in error
    assert kind.difference in error
    (record,) = document(project)["gates"]
    assert (record["status"], record["verdict"], record["failed"]) == ("refused", None, True)
    assert kind.difference in record["summary"]
    assert project.contents() == before


@every_storing_kind
def test_two_of_a_kind_in_a_test_need_names(project: Project, function: str) -> None:
    write(project, function, calls=2)
    result = project.run("--iaside-update=new")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*has two assertions without a name*with name=*"])
    write(project, function, "", "name='other'", calls=2)
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    names = {record["name"] for record in project.records()}
    other = "other" if KINDS[function].name is None else f"{KINDS[function].name} other"
    assert names == {KINDS[function].name, other}
    assert len(project.baselines) == 2


@pytest.mark.parametrize("function", NOT_STORING)
def test_what_stores_nothing_needs_no_names(project: Project, function: str) -> None:
    # It has no baseline to be missing, made with other settings, or shared by two gates.
    write(project, function, calls=2)
    names = [record["name"] for record in project.records()]
    assert names == [KINDS[function].name, f"{KINDS[function].name} 2"]
    project.run("--iaside-update=all").assert_outcomes(passed=1)
    assert not project.baselines

"""Baselines that no test uses are listed, and removed when asked for on a full run only."""

from __future__ import annotations

import pytest
from project import Project

TWO = """
import models, pytest
from pytest_iaside import assert_spectral_robustness as gate
def test_one(): gate(models.model)
def test_two(): gate(models.model, name='n')
"""
ONE = TWO.replace("def test_two(): gate(models.model, name='n')", "")
UNUSED = "1 unused baseline (a full run with --iaside-prune removes those whose test is gone):"


@pytest.fixture
def two(project: Project) -> Project:
    """Two tests with a baseline each, in a folder of their own."""
    project.pytester.mkdir("sub")
    (project.root / "test_it.py").unlink()
    project.write(TWO, "sub/test_two")
    project.run("--iaside-update=new").assert_outcomes(passed=2)
    return project


def names(project: Project) -> list[str]:
    return [path.name.rpartition("-")[0] for path in project.baselines]


def test_nothing_is_listed_while_all_are_used(two: Project) -> None:
    result = two.run("--iaside-prune")
    assert result.ret == pytest.ExitCode.OK
    assert names(two) == ["test_one", "test_two-n"]
    result.stdout.fnmatch_lines(["0 unused baselines removed"])
    assert "unused" not in two.run().stdout.str()


@pytest.mark.parametrize("arguments", [(), ("sub",), ("sub/test_two.py",), (".",)])
def test_those_whose_test_is_gone_are_listed_and_removed(
    two: Project, arguments: tuple[str, ...]
) -> None:
    two.write(ONE, "sub/test_two")
    result = two.run(*arguments)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([UNUSED, "  sub/__iaside__/test_two/test_two-n-????????.yaml"])
    assert names(two) == ["test_one", "test_two-n"]
    result = two.run("--iaside-prune", *arguments)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["1 unused baseline removed:", "  sub/__iaside__/test_two/test_two-n-????????.yaml"]
    )
    files = sorted(path.suffix for path in two.root.rglob("__iaside__/*/*"))
    assert files == [".npz", ".yaml"]
    assert names(two) == ["test_one"]


def test_those_whose_file_is_gone_are_removed_with_their_folder(two: Project) -> None:
    (two.root / "sub" / "test_two.py").unlink()
    two.write("def test_other(): pass", "test_other")
    assert "unused" not in two.run().stdout.str()  # nothing of ours ran
    assert two.run("--iaside-prune").ret == pytest.ExitCode.OK
    assert not (two.root / "sub" / "__iaside__").exists()


def test_those_that_a_passing_test_no_longer_asks_for_are_listed(two: Project) -> None:
    two.write(TWO.replace("'n'", "'m'"), "sub/test_two")
    # While it fails, for want of its baseline, it may still come to ask for the other.
    assert "unused" not in two.run().stdout.str()
    two.run("--iaside-update=new").stdout.fnmatch_lines([UNUSED])
    # Tomorrow it may ask for it again: only those of tests that are gone are removed.
    two.run("--iaside-prune").stdout.fnmatch_lines(["0 unused baselines removed"])
    assert names(two) == ["test_one", "test_two-m", "test_two-n"]


def test_a_conftest_that_takes_tests_away_makes_the_run_a_part(two: Project) -> None:
    hook = "def pytest_collection_modifyitems(items):\n    items[:] = items[:1]\n"
    conftest = two.root / "conftest.py"
    conftest.write_text(f"{conftest.read_text()}\n\n{hook}")
    result = two.run("--iaside-prune")
    result.stdout.fnmatch_lines(
        ["--iaside-prune refused: some of the tests that were found are left out; nothing was *"]
    )
    assert names(two) == ["test_one", "test_two-n"]


@pytest.mark.parametrize("body", ["pytest.skip('today')", "assert 0", "pytest.xfail('known')"])
def test_those_of_tests_that_did_not_get_there_are_kept(two: Project, body: str) -> None:
    two.write(TWO.replace("gate(models.model, name='n')", body), "sub/test_two")
    assert "1 unused" not in two.run("--iaside-prune").stdout.str()
    assert names(two) == ["test_one", "test_two-n"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("-k", "one"), "-k"),
        (("-m", "not slow"), "-m"),
        (("--deselect", "sub/test_two.py::test_two"), "--deselect"),
        (("--lf",), "--lf"),
        (("--sw",), "--sw"),
        (("sub/test_two.py::test_one",), "sub/test_two.py::test_one"),
        (("--collect-only",), "--collect-only"),
    ],
)
def test_pruning_is_refused_on_a_partial_run(
    two: Project, arguments: tuple[str, ...], why: str
) -> None:
    result = two.run("--iaside-prune", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: --iaside-prune is refused because {why} runs only some of the tests, *"]
    )
    two.write(ONE, "sub/test_two")
    assert "unused" not in two.run(*arguments).stdout.str()
    assert names(two) == ["test_one", "test_two-n"]


def test_pruning_is_refused_when_the_run_stopped(two: Project) -> None:
    two.write(ONE + "def test_0(): assert 0\ndef test_9(): pass", "sub/test_two")
    result = two.run("--iaside-prune", "-x")
    result.stdout.fnmatch_lines(
        ["--iaside-prune refused: the run stopped before its end; nothing was removed"]
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert names(two) == ["test_one", "test_two-n"]


@pytest.mark.parametrize("arguments", [(), ("--continue-on-collection-errors",)])
def test_pruning_is_refused_after_collection_errors(
    two: Project, arguments: tuple[str, ...]
) -> None:
    two.write("import nowhere", "test_broken")
    two.write(ONE, "sub/test_two")
    result = two.run("--iaside-prune", *arguments)
    result.stdout.fnmatch_lines(
        ["--iaside-prune refused: some tests could not be collected; nothing was removed"]
    )
    assert result.ret != pytest.ExitCode.OK
    assert names(two) == ["test_one", "test_two-n"]


def test_pruning_is_refused_when_a_conftest_deselects(two: Project) -> None:
    two.write(
        (two.root / "conftest.py").read_text()
        + "\ndef pytest_collection_modifyitems(config, items):\n"
        "    config.hook.pytest_deselected(items=[items.pop()])\n",
        "conftest",
    )
    result = two.run("--iaside-prune")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["--iaside-prune refused: some tests were deselected; *"])
    assert names(two) == ["test_one", "test_two-n"]


def test_files_that_were_not_collected_keep_their_baselines(two: Project) -> None:
    two.write(TWO, "test_here")
    two.run("--iaside-update=new").assert_outcomes(passed=4)
    for arguments in (["--ignore=sub"], ["test_here.py"], ["-o", "python_files=test_h*.py"]):
        result = two.run("--iaside-prune", *arguments)
        assert result.ret == pytest.ExitCode.OK
        assert len(two.baselines) == 4


def test_files_that_are_skipped_keep_their_baselines(two: Project) -> None:
    two.write("import pytest\npytest.importorskip('nowhere')\n" + TWO, "sub/test_two")
    two.write("def test_other(): pass", "test_other")
    assert two.run("--iaside-prune").ret == pytest.ExitCode.OK
    assert names(two) == ["test_one", "test_two-n"]


def test_what_is_not_ours_is_left_alone(two: Project) -> None:
    folder = two.root / "sub" / "__iaside__" / "test_two"
    (folder / "notes.yaml").write_text("mine: true\n")
    (folder / "broken.yaml").write_text("test: [")
    environment = two.root / "env"
    (environment / "__iaside__" / "test_x").mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text("")
    other = environment / "__iaside__" / "test_x" / "test_x-00000000.yaml"
    other.write_text("test: {node_id: 'test_x.py::test_x', name: null}\n")
    two.write(ONE, "sub/test_two")
    two.run("--iaside-prune").stdout.fnmatch_lines(["1 unused baseline removed:"])
    assert other.exists()
    assert (folder / "notes.yaml").exists()
    assert (folder / "broken.yaml").exists()

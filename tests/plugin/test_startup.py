"""A session that never touches us pays nothing for us."""

from __future__ import annotations

import contextvars
import subprocess
import sys

import pytest
from project import OTHERS_OFF, Project

HEAVY = ("torch", "numpy", "scipy", "jinja2", "yaml")
# Prints, after everything, which of the heavy modules were imported.
SPY = (
    "import sys, pytest; status = pytest.main(sys.argv[1:]); "
    f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules]); "
    "print('OURS', 'pytest_iaside.plugin' in sys.modules); sys.exit(status)"
)


def spy(project: Project, *arguments: str) -> str:
    process = subprocess.run(
        [sys.executable, "-c", SPY, *OTHERS_OFF, *arguments],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.mark.parametrize("arguments", [("--help",), (), ("-n", "1"), ("--markers",)])
def test_nothing_heavy_is_imported(project: Project, arguments: tuple[str, ...]) -> None:
    project.write("", "conftest")
    project.write("import pytest\n@pytest.mark.iaside(bands=3)\ndef test_other(): pass")
    output = spy(project, *arguments)
    assert "HEAVY []" in output
    assert "OURS True" in output
    assert "spectral robustness =" not in output


def test_workers_import_nothing_heavy_either(project: Project) -> None:
    project.write("", "conftest")
    project.write(
        "import sys\ndef test_other():\n"
        f"    assert not [name for name in {HEAVY!r} if name in sys.modules]\n"
    )
    assert "1 passed" in spy(project, "-n", "1")


def test_the_controller_of_workers_does_without_torch(gated: Project) -> None:
    gated.monkeypatch.setenv("GAIN", "1")
    output = spy(gated, "-n", "1", "--iaside-report", "--iaside-json=out.json")
    assert "HEAVY ['numpy', 'jinja2', 'yaml']" in output
    assert (gated.root / "iaside-report" / "index.html").exists()


def test_the_plugin_can_be_switched_off(project: Project) -> None:
    project.pytester.makeini("[pytest]")
    # In a context of its own: this very test runs in pytest with the plugin switched on.
    result = contextvars.Context().run(project.run, "-p", "no:iaside")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "E *SettingsError: no test is running (but a fixture, or the plugin is switched off), "
            "*pass baseline=*"
        ]
    )
    project.write("def test_other(): pass")
    assert project.run("-p", "no:iaside").ret == pytest.ExitCode.OK
    assert "iaside" not in project.run("-p", "no:iaside", "--help").stdout.str()


def test_the_help_names_every_option_and_key(project: Project) -> None:
    text = project.run("--help").stdout.str()
    for option in ("update", "update-in-ci", "prune", "report", "json", "samples", "fail-on"):
        assert f"--iaside-{option}" in text
    for key in ("bands", "max_src_drop", "reference_labels", "model"):
        assert f"iaside_{key} " in text

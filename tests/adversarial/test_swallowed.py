"""A red gate whose test passes: the session fails all the same."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from wave_models import CONFTEST, MODELS

# pytester forgets, after each run in process, the modules that the run imported; torch cannot be
# imported twice.
import pytest_iaside.report.html
import pytest_iaside.report.terminal
import pytest_iaside.testing.spectral  # noqa: F401
from pytest_iaside.testing.session import CI_VARIABLES

GATE = """
import contextlib, threading, functools, concurrent.futures, warnings
import pytest
from pytest_iaside import assert_spectral_robustness

def gate(**settings):
    return assert_spectral_robustness(model, bands=4, **settings)
"""

SWALLOWING = {
    "try and except": """
        def test_robust():
            try:
                gate()
            except AssertionError:
                pass
        """,
    "except Exception": """
        def test_robust():
            try:
                gate()
            except Exception as error:
                print(error)
        """,
    "suppress": """
        def test_robust():
            with contextlib.suppress(AssertionError):
                gate()
        """,
    "pytest.raises": """
        def test_robust():
            with pytest.raises(AssertionError):
                gate()
        """,
    "a thread": """
        def test_robust():
            thread = threading.Thread(target=lambda: contextlib.suppress(Exception) and gate())
            with warnings.catch_warnings():
                thread.start(); thread.join()
        """,
    "a pool that nobody asks": """
        def test_robust():
            with concurrent.futures.ThreadPoolExecutor() as pool:
                pool.submit(gate)
        """,
    "return in finally": """
        def test_robust():
            try:
                gate()
            finally:
                return
        """,
    "a decorator": """
        def quiet(function):
            @functools.wraps(function)
            def run():
                try:
                    function()
                except BaseException:
                    pass
            return run

        @quiet
        def test_robust():
            gate()
        """,
    "one of two": """
        def test_robust():
            gate()

        def test_other():
            with contextlib.suppress(AssertionError):
                gate()
        """,
    "skipped afterwards": """
        def test_robust():
            try:
                gate()
            except AssertionError:
                pytest.skip("not today")
        """,
    "called an expected failure afterwards": """
        def test_robust():
            try:
                gate()
            except AssertionError:
                pytest.xfail("known")
        """,
    "a class": """
        class TestModel:
            def test_robust(self):
                with contextlib.suppress(AssertionError):
                    gate()
        """,
}
USUAL = ("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:html")
QUIET = (
    "-W",
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "-W",
    "ignore::SyntaxWarning",
)


class Project:
    def __init__(self, pytester: pytest.Pytester, patch: pytest.MonkeyPatch) -> None:
        self.pytester, self.patch = pytester, patch
        for name in (*CI_VARIABLES, "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS"):
            patch.delenv(name, raising=False)
        pytester.makepyfile(models=MODELS + GATE, conftest=CONFTEST)

    def write(self, source: str) -> None:
        self.pytester.makepyfile(test_it="from models import *\n" + textwrap.dedent(source))

    def run(self, *options: str, gain: float = 1.0) -> pytest.RunResult:
        self.patch.setenv("GAIN", str(gain))
        if any(option.startswith("-n") for option in options):
            return self.pytester.runpytest_subprocess(*USUAL, *QUIET, *options)
        return self.pytester.runpytest_inprocess(*USUAL, *QUIET, *options)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)


@pytest.mark.parametrize(
    ("trick", "workers"),
    [*((trick, ()) for trick in SWALLOWING), ("suppress", ("-n1",)), ("one of two", ("-n2",))],
)
def test_the_session_fails(project: Project, trick: str, workers: tuple[str, ...]) -> None:
    project.write(SWALLOWING[trick])
    project.run("--iaside-update=new")
    good = project.run(*workers)
    if trick != "pytest.raises":
        assert good.ret == pytest.ExitCode.OK
    bad = project.run(*workers, "--iaside-json=out.json", gain=-0.5)
    assert bad.ret == pytest.ExitCode.TESTS_FAILED
    bad.stdout.fnmatch_lines(["*did not fail although a gate in it did*xfail(strict=True)*"])
    gates = json.loads(Path(project.pytester.path / "out.json").read_text())["gates"]
    assert {each["verdict"] for each in gates} == {"drift"}


def test_a_missing_baseline_is_not_swallowed_either(project: Project) -> None:
    project.write(SWALLOWING["except Exception"])
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*test_robust did not fail although a gate in it did*"])


def test_a_thread_that_outlives_its_test(project: Project) -> None:
    project.write("""
        go = threading.Event()

        def later():
            go.wait(20)
            gate()

        thread = threading.Thread(target=later)

        def test_robust():
            thread.start()

        def test_other():
            go.set()
            thread.join()
        """)
    result = project.run("--iaside-update=new")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["a thread that outlived the test that started it did not fail*"])
    assert not list(project.pytester.path.rglob("__iaside__/*/*.yaml"))


def test_a_wrong_setting_is_not_swallowed_either(project: Project) -> None:
    project.write("""
        def test_robust():
            with contextlib.suppress(Exception):
                gate(level=95)
        """)
    assert project.run().ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("strict", [False, True])
def test_a_drift_that_is_expected(project: Project, strict: bool) -> None:
    project.write(f"""
        @pytest.mark.xfail(strict={strict})
        def test_robust():
            gate()
        """)
    project.run("--iaside-update=new")
    result = project.run(gain=-0.5)
    result.assert_outcomes(xfailed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*✗ drift*"])


def test_a_gate_in_a_fixture_says_what_to_do(project: Project) -> None:
    project.write("""
        @pytest.fixture
        def checked():
            gate()

        def test_robust(checked):
            pass
        """)
    # In a process of its own: in this one a test is running.
    result = project.run("--iaside-update=new", "-n0")
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["*no test is running (but a fixture*call the assertion in the test*"]
    )

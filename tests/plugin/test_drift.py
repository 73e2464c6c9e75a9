"""A model that drifted: what the terminal, the reports and the exit status say."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from project import Project

WORSE = 0.3


def test_drift_fails_with_the_verdict_in_its_first_line(gated: Project) -> None:
    (record,) = gated.records(gain=WORSE)
    assert (record["status"], record["verdict"], record["failed"]) == ("compared", "drift", True)
    assert record["test"] == "test_it.py::test_robust"
    assert record["accept"] == 'pytest "test_it.py::test_robust" --iaside-accept-drift'
    assert record["reproduce"] == 'pytest "test_it.py::test_robust"'
    assert record["seconds"] > 0
    result = gated.run(gain=WORSE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    errors = [line for line in result.outlines if line.startswith("E  ")]
    assert errors[0] == f"E       AssertionError: {record['summary']}"
    assert record["summary"].startswith(
        "the model relies much less on coarse structures (band 1). Failed: v(all) 1.02 → 0.86 nats"
    )
    assert "band 1 (0.12–0.25 cycles/px) −0.16 nats" in record["summary"]
    # The line that CI annotations show.
    result.stdout.fnmatch_lines(
        ["FAILED test_it.py::test_robust - AssertionError: the model relies much less o*"]
    )


def test_in_ci_the_change_is_accepted_elsewhere(
    gated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "1")
    result = gated.run(gain=WORSE)
    result.stdout.fnmatch_lines(["E *to accept the change on your own machine, if it is meant *"])


def test_a_failure_says_what_why_and_what_to_do_in_eighty_columns(gated: Project) -> None:
    result = gated.run(gain=WORSE)
    errors = [line for line in result.outlines if line.startswith("E  ")][1:]
    assert max(map(len, errors)) <= 80
    said = " ".join(line.removeprefix("E").strip() for line in errors)
    value = next(
        c for c in gated.records(gain=WORSE)[0]["comparison"]["checks"] if c["name"] == "value"
    )
    assert f"value: drift: {value['sentence']}" in said
    assert "band 1 (0.12–0.25 cycles/px) 0.34 → 0.18 nats (−0.16, 95% CI −0." in said
    assert "structured" not in said  # it passed
    baseline = gated.baseline.relative_to(gated.root)
    assert f"baseline: {baseline} (24 images)" in said
    assert "report: iaside-report/index.html" in said
    assert "ψ: what a band adds to the log-likelihood of the right class" in said
    assert said.index("reproduce: ") < said.index("to accept the change")
    assert said.endswith('pytest "test_it.py::test_robust" --iaside-accept-drift')


def test_the_commands_are_for_the_folder_that_pytest_was_started_in(project: Project) -> None:
    folder = project.root / "sub"
    folder.mkdir()
    (project.root / "test_it.py").rename(folder / "test_it.py")
    project.monkeypatch.chdir(folder)
    (record,) = project.records("--iaside-json=../out.json")
    assert record["accept"] == 'pytest "test_it.py::test_robust" --iaside-update=new'
    assert record["test"] == "sub/test_it.py::test_robust"


def test_the_call_returns_the_comparison(gated: Project) -> None:
    gated.write(
        "import models\nfrom pytest_iaside import assert_spectral_robustness, Comparison\n"
        "def test_robust():\n"
        "    comparison = assert_spectral_robustness(models.model, max_src_drop=0.5)\n"
        "    assert isinstance(comparison, Comparison)\n"
        "    assert comparison.images == 24 and comparison.verdict == 'pass'\n"
        "    assert comparison.limits['src'].change == 0.5\n"
    )
    assert gated.run().ret == pytest.ExitCode.OK


def test_fail_on_decides_when_the_gate_is_red(gated: Project) -> None:
    # Half a percent of v(all): allowed, unless any change counts.
    assert gated.run(gain=0.95).ret == pytest.ExitCode.OK
    result = gated.run("--iaside-fail-on=any-change", gain=0.95)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E * value: changed: *"])


def test_the_report_is_written_on_failure_or_when_asked_for(gated: Project) -> None:
    report = gated.root / "iaside-report" / "index.html"
    result = gated.run()
    assert not report.exists()
    result = gated.run("--iaside-report")
    assert "test_robust" in report.read_text()
    result.stdout.fnmatch_lines(["report: iaside-report/index.html"])
    report.unlink()
    gated.run("--iaside-report=elsewhere/r.html")
    assert (gated.root / "elsewhere" / "r.html").exists()
    assert not report.exists()
    gated.run(gain=WORSE)
    assert report.exists()


def test_junit_has_small_properties_and_not_the_record(gated: Project) -> None:
    (record,) = gated.records("--junit-xml=junit.xml", gain=WORSE)
    root = ElementTree.parse(gated.root / "junit.xml").getroot()
    (suite,) = root.iter("testsuite")
    assert suite.get("failures") == "1"
    found = {p.get("name"): p.get("value") for p in root.iter("property")}
    assert sorted(found) == ["iaside_interval", "iaside_src", "iaside_src_change", "iaside_verdict"]
    assert found["iaside_verdict"] == "drift"
    (check,) = [c for c in record["comparison"]["checks"] if c["name"] == "src"]
    assert float(found["iaside_src"]) == pytest.approx(0.044, abs=1e-3)
    assert float(found["iaside_src_change"]) == pytest.approx(check["change"], abs=1e-4)
    interval = json.loads(found["iaside_interval"])
    assert interval == pytest.approx([check["low"], check["high"]], abs=1e-4)
    (failure,) = root.iter("failure")
    assert failure.get("message", "").startswith(
        "AssertionError: the model relies much less on coarse structures (band 1). Failed: v(all)"
    )


def test_the_step_summary_is_appended_to(gated: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = gated.root / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    gated.run(gain=WORSE)
    text = summary.read_text()
    assert text.startswith("before\n")
    assert "test_robust" in text and "0.044" in text


def test_an_export_that_fails_costs_no_result(gated: Project) -> None:
    (gated.root / "file").write_text("")
    result = gated.run("--iaside-json=file/out.json", "--iaside-report=file/r.html")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "warning: the HTML report could not be written (*file*)",
            "warning: the JSON could not be written (*Error: *)",
            "*1 passed*",
        ]
    )


def test_errors_of_ours_and_of_the_model_are_told_apart(gated: Project) -> None:
    gated.call("lambda images: images[:, :, 0, 0, 0]")
    result = gated.run()
    # The user's own line is shown, none of ours but the message.
    result.stdout.fnmatch_lines(["E *IndexError: *", "*direct cause*", "E *ModelError: *"])
    (record,) = gated.records()
    assert (record["status"], record["failed"], record["verdict"]) == ("refused", True, None)
    gated.call("models.model, 'images'")
    result = gated.run()
    result.stdout.fnmatch_lines(["E *ReferenceSampleError: the reference is a str; expected *"])
    assert "pytest_iaside/" not in result.stdout.str()


def test_several_assertions_of_a_test_have_names(project: Project) -> None:
    project.write(
        "import models\nfrom pytest_iaside import assert_spectral_robustness as gate\n"
        "def test_robust():\n    gate(models.model, name='a')\n    gate(models.model, name='b')\n"
    )
    records = project.records("--iaside-update=new", "--junit-xml=junit.xml")
    assert sorted(record["name"] for record in records) == ["a", "b"]
    assert [path.name[:14] for path in project.baselines] == ["test_robust-a-", "test_robust-b-"]
    properties = ElementTree.parse(project.root / "junit.xml").getroot().iter("property")
    names = {p.get("name") for p in properties}
    assert {"iaside_verdict[a]", "iaside_verdict[b]"} <= names
    assert project.run().ret == pytest.ExitCode.OK


def test_two_assertions_may_not_share_a_baseline(project: Project) -> None:
    project.write(
        "import models\nfrom pytest_iaside import assert_spectral_robustness as gate\n"
        "def test_robust():\n    gate(models.model)\n    gate(models.model)\n"
    )
    result = project.run("--iaside-update=new")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        ["E *SettingsError: test_it.py::test_robust has two assertions without a name, *name=*"]
    )


@pytest.mark.parametrize(("terminal", "ci"), [(True, ""), (False, ""), (True, "1")])
def test_progress_is_shown_on_a_terminal_and_not_in_ci(
    gated: Project, terminal: bool, ci: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    gated.write(
        (gated.root / "conftest.py").read_text()
        + "\ndef pytest_sessionstart(session):\n"
        + "    reporter = session.config.pluginmanager.getplugin('terminalreporter')\n"
        + f"    reporter.isatty = type(reporter.isatty)({terminal})\n",
        "conftest",
    )
    text = gated.run().stdout.str()
    assert ("24/24 images" in text) == (terminal and not ci)
    # On a line of its own, for it is erased and pytest's is to stay. (pytester takes the
    # carriage return for one more line.)
    assert ("test_it.py \n\niaside test_robust: 8/24 images" in text) == (terminal and not ci)


def test_the_report_keeps_to_the_size_that_is_set(gated: Project) -> None:
    gated.run(gain=0.3).assert_outcomes(failed=1)
    report = gated.root / "iaside-report" / "index.html"
    assert "Left out" not in report.read_text(encoding="utf-8")
    gated.ini("iaside_report_mb = 0.1")
    gated.pytester.makepyfile(
        test_it="import models, pytest\n"
        "from pytest_iaside import assert_spectral_robustness\n"
        "@pytest.mark.parametrize('i', range(8))\n"
        "def test_robust(i):\n"
        "    assert_spectral_robustness(models.model)\n"
    )
    gated.run("--iaside-update=new").assert_outcomes(passed=8)
    gated.run(gain=0.3).assert_outcomes(failed=8)
    assert report.stat().st_size <= 100_000
    assert "Left out, so that this file stays small: the charts of " in report.read_text("utf-8")
    gated.ini("iaside_report_mb = 11")
    result = gated.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*iaside_report_mb*expected a number from 0.1 to 10*"])

"""A wrong setting, wherever it stands, is a usage error (exit 4) that says what is right."""

from __future__ import annotations

from dataclasses import fields

import pytest
from project import Project

from pytest_iaside import Thresholds
from pytest_iaside.settings import SETTINGS

VALID = ", ".join(SETTINGS)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "iaside_max_src_dorp = 0.1",
            "unknown key 'iaside_max_src_dorp'; did you mean 'iaside_max_src_drop'? "
            "Valid are iaside_bands, *, iaside_report_mb",
        ),
        ("iaside_samples = few", "iaside_samples: 'few' cannot be used; expected a whole number*"),
        ("iaside_bands = four", "tox.ini: iaside_bands: *four*; expected a whole number"),
        (
            "iaside_level = 95",
            "level=95.0 cannot be used; expected a number between 0 and 1: write *",
        ),
        ("iaside_max_src_drop = -1", "max_src_drop=-1 must be finite and not negative"),
        ("iaside_min_src = nan", "min_src=nan must lie between -1 and 1, as SRC does"),
        ("iaside_max_value_drop = 5", "max_value_drop=5 is a share of v(all): write 0.05 for 5 %"),
        (
            "iaside_fail_on = any",
            "iaside_fail_on: 'any' cannot be used; expected one of drift, inconclusive, any-change",
        ),
        ("iaside_reference_limit = all", "*all*"),
    ],
)
def test_in_the_ini_file(project: Project, line: str, message: str) -> None:
    # Also in a session that has no test of ours: it is wrong all the same.
    project.write("def test_other(): pass")
    project.pytester.makeini(f"[pytest]\n{line}")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{message}"])
    assert "test_other" not in result.stdout.str()


def test_strict_config_knows_our_keys(project: Project) -> None:
    project.write("def test_other(): pass")
    lines = ("iaside_max_src_drop = none", "iaside_model = a:b", "iaside_reference_limit = 3")
    project.ini(*lines)
    result = project.run("--strict-config", "--strict-markers", "-W", "error")
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--iaside-samples=few", "--iaside-samples: 'few' cannot be used; expected a whole *"),
        ("--iaside-level=0", "--iaside-level: '0' cannot be used; expected a number between *"),
        ("--iaside-fail-on=no", "--iaside-fail-on: 'no' cannot be used; expected one of drift, *"),
        ("--iaside-update=newest", "*invalid choice: 'newest'*"),
        ("--iaside-sample=3", "*unrecognized arguments: --iaside-sample=3"),
        ("--iaside-report=test_it.py", "--iaside-report=test_it.py: expected the path of an .ht*"),
    ],
)
def test_on_the_command_line(project: Project, argument: str, message: str) -> None:
    result = project.run(argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            "max_band=0.1",
            f"unknown setting 'max_band'; did you mean 'max_band_drop'? Valid are {VALID}",
        ),
        ("bands='8'", "bands='8' cannot be used; expected a whole number"),
        ("0.1", "takes keywords only, got (0.1,)"),
        ("direction='better'", "direction='better' cannot be used; expected one of worse, any"),
    ],
)
def test_in_a_marker(project: Project, marker: str, message: str) -> None:
    project.write(f"import pytest\n@pytest.mark.iaside({marker})\ndef test_robust(): pass")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    start = "ERROR: test_it.py::test_robust: @pytest.mark.iaside"
    assert any(line.startswith(start) and line.endswith(message) for line in result.errlines), (
        result.errlines
    )


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("band=4", f"unknown setting 'band'; did you mean 'bands'? Valid are {VALID}"),
        ("max_src_drop='0.1'", "max_src_drop='0.1' cannot be used; expected a number or none"),
        ("max_band_drop=3", "max_band_drop=3 is a share of v(all): write 0.03 for 3 %"),
        ("level=95", "level=95 cannot be used; expected * between 0 and 1: write 0.95 for 95 %"),
        ("partition='l3'", "partition='l3' is unknown; use one of linf, l2"),
        ("bands=64", "bands=64 is out of range; use 2 to 32"),
        ("bands=12", "band 2 of 12 holds no frequency for 16×16 images; use at most 9 bands"),
        ("backend='fast'", "*'fast'*"),
        ("samples=100", "samples=100 images asked for, but the reference sample holds 24; *"),
        ("name=3", "name=3 cannot be used; expected text"),
    ],
)
def test_in_a_call(project: Project, keyword: str, message: str) -> None:
    project.call(f"models.model, {keyword}")
    result = project.run("--iaside-update=new")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines([f"E *SettingsError: *{message}", f"wrong setting: *{message}"])
    assert project.baselines == []


def test_an_expected_settings_error_is_no_usage_error(project: Project) -> None:
    project.write(
        "import models, pytest\n"
        "from pytest_iaside import assert_spectral_robustness, measure, SettingsError\n"
        "def test_raises():\n"
        "    with pytest.raises(SettingsError):\n"
        "        measure(models.model, models.reference(), bands=64)\n"
        "@pytest.mark.xfail(strict=True)\n"
        "def test_fails():\n    assert_spectral_robustness(models.model, bands=64)\n"
    )
    result = project.run()
    result.assert_outcomes(passed=1, xfailed=1)
    assert result.ret == pytest.ExitCode.OK


def test_the_nearest_source_counts(project: Project) -> None:
    # keyword > marker of the function > of the module > command line > ini
    project.ini("iaside_level = 0.5", "iaside_samples = 10", "iaside_max_src_drop = none")
    project.write(
        "import models, pytest\nfrom pytest_iaside import assert_spectral_robustness as gate\n"
        "pytestmark = pytest.mark.iaside(level=0.7, max_sid_shift=0.7, max_value_drop=0.7)\n"
        "@pytest.mark.iaside(max_sid_shift=0.8, max_value_drop=0.8)\n"
        "def test_robust():\n    gate(models.model, max_value_drop=0.9)\n"
    )
    (record,) = project.records("--iaside-update=new", "--iaside-level=.6", "--iaside-samples=12")
    comparison = record["comparison"]
    assert comparison["level"] == 0.7
    assert comparison["images"] == 12
    assert comparison["candidate"]["settings"]["bands"] == 4
    limits = comparison["limits"]
    assert "src" not in limits
    assert limits["sid"] == {"change": 0.8, "bound": None}
    assert limits["value"] == {"change": 0.9, "bound": None}
    assert limits["band"] == {"change": 0.01, "bound": None}


def test_the_header_shows_what_is_set(project: Project) -> None:
    project.ini("iaside_level = 0.9", "iaside_model = a:b")
    result = project.run("--iaside-samples=6", "--iaside-update=new", "--collect-only")
    result.stdout.fnmatch_lines(["iaside: bands=4, *level=0.9, samples=6, model=a:b, update=new"])
    project.pytester.makeini("[pytest]")
    assert "iaside:" not in project.run("--collect-only").stdout.str()


def test_missing_sources_of_the_fixtures_are_told(project: Project) -> None:
    project.write("", "conftest")
    result = project.run("--iaside-update=new")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["E *SettingsError: there is no reference sample; pass one to *"])
    project.write("def test_model(spectral_classifier): pass")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["E *SettingsError: there is no model; set the ini key *"])


def test_the_fixtures_read_the_ini_file(project: Project) -> None:
    project.write("", "conftest")
    project.write(
        "from pytest_iaside import assert_spectral_robustness\n"
        "def test_robust(spectral_classifier, spectral_executor):\n"
        "    assert spectral_executor is None\n"
        "    assert assert_spectral_robustness(spectral_classifier).images == 24\n"
    )
    project.write(project.root.joinpath("models.py").read_text(), "mine")
    with (project.root / "mine.py").open("a") as file:
        file.write("\ndef make():\n    return model\n")
    project.ini("iaside_model = mine:make", "iaside_reference = mine:reference", "pythonpath = .")
    assert project.run("--iaside-update=new").ret == pytest.ExitCode.OK
    project.ini("iaside_model = mine:make", "iaside_reference = mine:samples", "pythonpath = .")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["E *SettingsError: 'mine:samples': mine has no 'samples'; *"])


def test_a_gate_that_checks_nothing_is_refused(gated: Project) -> None:
    names = [each.name for each in fields(Thresholds) if each.name != "direction"]
    gated.ini(*(f"iaside_{name} = none" for name in names))
    result = gated.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        [
            "*assert_spectral_robustness: every limit is None, so nothing would be checked; give "
            "max_accuracy_drop, max_log_likelihood_drop, *, or some of them*"
        ]
    )

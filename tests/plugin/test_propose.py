"""Baselines that one run proposes and ``iaside accept`` puts into the repository."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from project import Project

from pytest_iaside import SpectralProfile
from pytest_iaside.cli.main import main

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the baseline and what is proposed in its place lie, once they were made."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def gated(project: Project, kept: Path) -> Project:
    """The project with its baseline, made once for all tests here."""
    if not (kept / "__iaside__").exists():
        project.run("--iaside-update=new").assert_outcomes(passed=1)
        shutil.copytree(project.root / "__iaside__", kept / "__iaside__")
        red = project.run(f"--iaside-propose={kept / 'proposals'}", gain=0.3)
        red.assert_outcomes(failed=1)
    shutil.copytree(kept / "__iaside__", project.root / "__iaside__", dirs_exist_ok=True)
    return project


@pytest.fixture
def proposed(gated: Project, kept: Path, tmp_path: Path) -> Path:
    """The folder of what a red gate proposed."""
    return Path(shutil.copytree(kept / "proposals", tmp_path / "proposals"))


def manifest(folder: Path) -> Path:
    (path,) = folder.rglob("*.proposal.json")
    return path


def edited(folder: Path, edit: Edit) -> None:
    path = manifest(folder)
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def refused(
    project: Project, folder: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> str:
    """What ``iaside accept`` says where it refuses; it has written nothing then."""
    root = project.root
    before = {path: path.read_bytes() for path in root.rglob("__iaside__/*/*")}
    capsys.readouterr()
    assert main(["accept", str(folder), "--root", str(root), *options]) == 2
    after = {path: path.read_bytes() for path in root.rglob("__iaside__/*/*")}
    assert after == before
    return " ".join(capsys.readouterr().err.split())


def test_a_red_gate_stays_red_and_proposes_what_it_would_become(
    gated: Project, proposed: Path
) -> None:
    told = json.loads(manifest(proposed).read_text())
    assert told["path"] == gated.baseline.relative_to(gated.root).as_posix()
    assert (told["verdict"], told["node_id"]) == ("drift", "test_it.py::test_robust")
    # Whole, though the gate was decided by less.
    found = SpectralProfile.load(proposed / told["path"])
    assert len(found) == 24 and found.image_psi.shape == (24, 4)


def test_it_is_what_an_update_would_have_written(
    gated: Project, proposed: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["accept", str(proposed), "--root", str(gated.root)]) == 0
    accepted = gated.contents()
    assert "git add __iaside__/test_it/test_robust-" in capsys.readouterr().out
    assert sorted(Path(name).suffix for name in accepted if "test_it" in name) == [".npz", ".yaml"]
    gated.run(gain=0.3).assert_outcomes(passed=1)
    shutil.copytree(kept / "__iaside__", gated.root / "__iaside__", dirs_exist_ok=True)
    gated.run("--iaside-accept-drift", "--iaside-no-cache", gain=0.3).assert_outcomes(passed=1)
    assert gated.contents() == accepted


def test_a_green_gate_proposes_nothing(gated: Project) -> None:
    before = gated.contents()
    gated.run("--iaside-propose=ci").assert_outcomes(passed=1)
    assert not (gated.root / "ci").exists()
    assert gated.contents() == before


def test_one_without_a_baseline_fails_and_proposes_the_first(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    result = project.run("--iaside-propose=ci")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*a new baseline is proposed in ci/__iaside__/test_it/*"])
    assert project.baselines == [] or all("ci" in path.parts for path in project.baselines)
    folder = project.root / "ci"
    assert main(["accept", str(folder), "--root", str(project.root), "--check"]) == 0
    assert "there is no baseline yet" in capsys.readouterr().out
    assert not (project.root / "__iaside__").exists()
    assert main(["accept", str(folder), "--root", str(project.root)]) == 0
    shutil.rmtree(folder)
    project.run().assert_outcomes(passed=1)


def test_it_excludes_an_update(project: Project) -> None:
    result = project.run("--iaside-propose=ci", "--iaside-update=all")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--iaside-propose and --iaside-update=all exclude each other*"])


def test_under_xdist(gated: Project) -> None:
    pytest.importorskip("xdist")
    gated.monkeypatch.setenv("GAIN", "0.3")
    result = gated.run("-n2", "--iaside-propose=ci", gain=0.3)
    result.assert_outcomes(failed=1)
    assert json.loads(manifest(gated.root / "ci").read_text())["verdict"] == "drift"


def test_a_zip_as_github_packs_it(
    gated: Project, proposed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "artifact"), "zip", proposed))
    assert main(["accept", str(packed), "--root", str(gated.root)]) == 0
    gated.run(gain=0.3).assert_outcomes(passed=1)


def test_it_commits(
    gated: Project,
    proposed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "somebody@example.org")
    other = gated.root / "other.txt"
    other.write_text("not to be committed")
    for command in (["init", "-q"], ["add", "--", "other.txt"]):
        subprocess.run(["git", *command], cwd=gated.root, check=True)
    assert main(["accept", str(proposed), "--root", str(gated.root), "--commit"]) == 0
    shown = subprocess.run(
        ["git", "show", "--stat", "--format=%s%n%b", "HEAD"],
        cwd=gated.root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "Accept 1 spectral baseline(s) that CI measured" in shown
    assert "- test_it.py::test_robust" in shown
    assert "other.txt" not in shown and shown.count("__iaside__") >= 2


class TestRefused:
    """Whatever an artifact says, it is held against the repository."""

    def test_another_baseline_since(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gated.run("--iaside-update=all", "--iaside-accept-drift", gain=0.9)
        assert "is not the baseline that the proposal was compared with" in refused(
            gated, proposed, capsys
        )

    def test_a_baseline_that_is_gone(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        next(gated.root.glob("__iaside__/*/*.yaml")).unlink()
        assert "compared with (that was another one)" in refused(gated, proposed, capsys)

    def test_a_changed_file(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (path,) = proposed.rglob("*.yaml")
        path.write_text(path.read_text().replace("forward_passes: 1", "forward_passes: 2", 1))
        assert "its SHA-256 differs" in refused(gated, proposed, capsys)

    def test_changed_numbers(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (path,) = proposed.rglob("*.npz")
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        assert "is not the file that" in refused(gated, proposed, capsys)

    def test_another_test_s(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        edited(proposed, lambda told: told.update(node_id="test_it.py::test_other"))
        assert "is not where the baseline of test_it.py::test_other lies" in refused(
            gated, proposed, capsys
        )

    def test_a_test_that_is_gone(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gated.write("def test_another(): pass\n")
        assert "holds no test 'test_robust'" in refused(gated, proposed, capsys)

    def test_another_model(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        edited(proposed, lambda told: told.update(fingerprint="0" * 16))
        assert "and the proposal says 0000000000000000" in refused(gated, proposed, capsys)

    def test_a_model_that_is_not_to_be_merged(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = refused(gated, proposed, capsys, "--fingerprint", "f" * 16)
        assert "expected ffffffffffffffff" in told

    def test_other_settings_unless_they_are_meant(
        self, gated: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gated.call("models.model, bands=6")
        folder = tmp_path / "other"
        result = gated.run(f"--iaside-propose={folder}")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*a new baseline is proposed in*"])
        assert "measured otherwise than the old baseline: bands" in refused(gated, folder, capsys)
        arguments = ["accept", str(folder), "--root", str(gated.root), "--changed-settings"]
        assert main(arguments) == 0

    def test_a_single_training_in_place_of_several(
        self, gated: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gated.run("--iaside-update=add", "--iaside-accept-drift", gain=0.98)
        folder = tmp_path / "single"
        result = gated.run(f"--iaside-propose={folder}", gain=0.15)
        result.stdout.fnmatch_lines(["*a new baseline is proposed in*"])
        told = refused(gated, folder, capsys)
        assert "trainings: it holds 1, the old one 2; what those differ by would be lost" in told

    @pytest.mark.parametrize(
        "path",
        [
            "../out/__iaside__/test_it/test_robust-90186ef2.yaml",
            "/etc/__iaside__/test_it/x.yaml",
            "C:/x/__iaside__/test_it/x.yaml",
            "a\\b/__iaside__/test_it/x.yaml",
            "",
            "a" * 2000,
        ],
    )
    def test_a_path_that_leads_elsewhere(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str], path: str
    ) -> None:
        edited(proposed, lambda told: told.update(path=path))
        assert "leads out of the folder" in refused(gated, proposed, capsys)

    def test_links_in_the_repository(
        self, gated: Project, proposed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        elsewhere = tmp_path / "elsewhere"
        shutil.move(gated.root / "__iaside__", elsewhere)
        (gated.root / "__iaside__").symlink_to(elsewhere)
        assert "nothing is written through links" in refused(gated, proposed, capsys)

    @pytest.mark.parametrize(
        ("edit", "told"),
        [
            (lambda told: told.update(format="iaside-proposal/9"), "its format is not"),
            (lambda told: told.update(more=1), "unexpected keyword"),
            (lambda told: told.pop("sha256"), "sha256"),
            (lambda told: told.update(sha256=None), "a value is of the wrong type"),
            (lambda told: told.update(name=3), "a value is of the wrong type"),
        ],
    )
    def test_what_is_no_proposal(
        self,
        gated: Project,
        proposed: Path,
        capsys: pytest.CaptureFixture[str],
        edit: Edit,
        told: str,
    ) -> None:
        edited(proposed, edit)
        assert told in refused(gated, proposed, capsys)

    def test_an_empty_folder_and_none(
        self, gated: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["accept", str(tmp_path)]) == 2
        assert "holds no proposed baselines" in capsys.readouterr().err
        assert main(["accept", str(tmp_path / "none")]) == 2
        assert "cannot read" in capsys.readouterr().err

    def test_one_of_two_is_enough(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = manifest(proposed)
        other = path.with_name("other.proposal.json")
        shutil.copy(path, other)
        document = json.loads(other.read_text())
        other.write_text(json.dumps({**document, "node_id": "test_it.py::test_other"}))
        assert "nothing was written" in refused(gated, proposed, capsys)

    @pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "C:\\evil"])
    def test_archives_that_lead_elsewhere(
        self, gated: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
    ) -> None:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr(name, "x")
        assert main(["accept", str(tmp_path / "x.zip"), "--root", str(gated.root)]) == 2
        assert "leads out of the folder" in capsys.readouterr().err

    def test_archives_of_links_and_bombs(
        self, gated: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        large = zipfile.ZipInfo("large")
        for name, info, told in (("l", link, "is a link"), ("b", large, "larger than")):
            with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                size = 2**28 + 1 if name == "b" else 4
                with archive.open(info, "w", force_zip64=True) as file:
                    for _ in range(0, size, 2**20):
                        file.write(bytes(min(size, 2**20)))
            assert main(["accept", str(tmp_path / f"{name}.zip"), "--root", str(gated.root)]) == 2
            assert told in capsys.readouterr().err

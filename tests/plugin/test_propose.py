"""Baselines that one run proposes and ``iaside accept`` puts into the repository."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from project import Project

from pytest_iaside import SpectralProfile
from pytest_iaside.cli.main import main
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.store.baselines import Owner, path_for
from pytest_iaside.store.proposals import digest_of
from pytest_iaside.testing import judging
from pytest_iaside.testing.watch import TimeIsUp

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


def forged(folder: Path, change: Callable[[Measurement], Measurement], **told: Any) -> None:
    """Make what is proposed ``change``, and its JSON file fit it."""

    def edit(document: dict[str, Any]) -> None:
        document.update(told)
        path = folder / document["path"]
        owner = Owner(document["node_id"], document["name"])
        change(Measurement.load(path)).save(path, test=asdict(owner))
        document["sha256"] = digest_of(path)

    edited(folder, edit)


def another(folder: Path, owner: Owner) -> None:
    """Propose the same as the first baseline of ``owner`` as well."""
    document = json.loads(manifest(folder).read_text())
    path = path_for(folder / owner.node_id.partition("::")[0], owner)
    Measurement.load(folder / document["path"]).save(path, test=asdict(owner))
    told = {"path": path.relative_to(folder).as_posix(), "replaces": None, **asdict(owner)}
    path.with_suffix(".proposal.json").write_text(
        json.dumps({**document, **told, "sha256": digest_of(path)})
    )


def named(text: str) -> Callable[[Measurement], Measurement]:
    """A change of the model's name."""

    def change(found: Measurement) -> Measurement:
        model = replace(found.model, name=text)
        assert found.answers is not None
        return replace(found, model=model, answers=replace(found.answers, model=model))

    return change


def others(found: Measurement) -> Measurement:
    """The same of other images."""
    digests = tuple(f"a{each[1:]}" for each in found.digests)
    assert found.answers is not None
    return replace(found, digests=digests, answers=replace(found.answers, digests=digests))


def grouped(found: Measurement) -> Measurement:
    """The same with images in few groups, which makes every interval wider."""
    groups = tuple(str(place % 4) for place in range(len(found)))
    assert found.answers is not None
    return replace(found, groups=groups, answers=replace(found.answers, groups=groups))


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
    assert ", of test_it.py::test_robust\n" in shown
    assert "by the usual limits, not the gate's own: " in shown
    assert "other.txt" not in shown and shown.count("__iaside__") >= 2


def test_a_green_run_takes_back_what_a_red_one_proposed(gated: Project) -> None:
    gated.run("--iaside-propose=ci", gain=0.3).assert_outcomes(failed=1)
    assert len(list(gated.root.rglob("ci/__iaside__/*/*"))) == 3
    gated.run("--iaside-propose=ci").assert_outcomes(passed=1)
    assert list(gated.root.rglob("ci/__iaside__/*/*")) == []


@pytest.mark.parametrize("folder", ["", ".", "sub/.."])
def test_it_is_not_written_over_the_baselines(gated: Project, folder: str) -> None:
    before = gated.contents()
    result = gated.run(f"--iaside-propose={folder}", gain=0.3)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*would overwrite the baselines themselves*"])
    assert gated.contents() == before


def test_nor_over_those_of_tests_in_that_folder(gated: Project) -> None:
    shutil.copytree(gated.root / "__iaside__", gated.root / "sub" / "__iaside__")
    shutil.copy(gated.root / "test_it.py", gated.root / "sub" / "test_it.py")
    before = gated.contents()
    for run in range(2):
        result = gated.run("--iaside-propose=sub", "test_it.py", gain=0.3)
        result.stdout.fnmatch_lines(["*no new baseline is proposed:*"])
        assert gated.contents() == before
        if not run:  # Nor is it the first one there.
            shutil.rmtree(gated.root / "sub" / "__iaside__")
            before = gated.contents()


def test_what_a_killed_run_left_is_replaced(gated: Project, proposed: Path) -> None:
    manifest(proposed).unlink()
    gated.run(f"--iaside-propose={proposed}", gain=0.3).assert_outcomes(failed=1)
    assert manifest(proposed).is_file()


def test_the_verdict_stands_where_the_time_is_up_for_a_proposal(
    gated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: Any) -> None:
        raise TimeIsUp

    monkeypatch.setattr(judging, "_as_a_first_one", late)
    (record,) = gated.records("--iaside-propose=ci", "--iaside-timeout=1h", gain=0.3)
    assert record["verdict"] == "drift"
    told = "no new baseline is proposed: timeout=1h was over before all was measured"
    assert [note for note in record["comparison"]["notes"] if note.startswith(told)]
    assert not (gated.root / "ci").exists()


def accepted(root: Path, folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What ``iaside accept`` says where it takes what is proposed."""
    capsys.readouterr()
    assert main(["accept", str(folder), "--root", str(root), *options]) == 0
    return capsys.readouterr().out


class TestTold:
    """Who accepts sees what got worse, and no line that the artifact made up."""

    def test_what_the_gate_said_and_what_got_worse(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = accepted(gated.root, proposed, capsys, "--check")
        assert "\n  the gate, as the artifact says: drift: the model relies much less" in said
        # By the usual limits, which are wider than this project's.
        assert "\n  by the usual limits, not the gate's own: inconclusive: " in said
        assert "\n  worse, and not by chance: band 1 (0.12–0.25 cycles/px) 0.338 → 0.177" in said

    def test_of_perturbations(self, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
        project.write(
            "import models\nfrom pytest_iaside import assert_perturbation_robustness\n"
            "def test_robust():\n"
            "    half = {'half': lambda images: images / 2}\n"
            "    assert_perturbation_robustness(models.model, perturbations=half)\n"
        )
        project.run("--iaside-update=new").assert_outcomes(passed=1)
        folder = project.root / "ci"
        project.run("--iaside-propose=ci", gain=0.1).assert_outcomes(failed=1)
        said = accepted(project.root, folder, capsys, "--check")
        assert "cannot be compared" not in said
        assert "not the gate's own: drift: the model finds the right class" in said
        assert (
            "probability of the label, clean 0.987 → 0.905 (−0.081)" in said.partition("worse, ")[2]
        )

    def test_a_test_that_was_given_another_name(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        another(proposed, Owner("test_it.py::test_renamed"))
        next(proposed.rglob("test_robust-*.proposal.json")).unlink()
        gated.call(test="test_renamed")
        said = accepted(gated.root, proposed, capsys, "--check")
        assert "there is no baseline yet, so it was compared with nothing" in said
        assert "beside it: that of test_it.py::test_robust, a test that is gone" in said
        assert "worse, and not by chance: band 1" in said

    def test_how_much_of_the_sample_was_measured(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "measured:" not in accepted(gated.root, proposed, capsys, "--check")
        forged(proposed, lambda found: found.take(range(5)))
        said = accepted(gated.root, proposed, capsys, "--check", "--changed-settings")
        assert "\n  measured: 5 of the 24 images of its sample\n" in said

    @pytest.mark.parametrize("text", ["x\n  pass: all is well\n::error::x", "\x1b[2Jx"])
    def test_no_line_is_made_up(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str], text: str
    ) -> None:
        forged(proposed, named(text), summary=text, verdict=text)
        another(proposed, Owner(f"test_it.py::test_robust[{text}]", text))
        said = accepted(gated.root, proposed, capsys, "--check")
        assert "pass: all is well" in said or "[2J" in said
        for line in said.splitlines():
            assert line.startswith(("__iaside__/", "  ", "all 2 can be accepted"))
            assert not line.startswith("  pass") and "\x1b" not in line

    def test_nor_a_trailer_of_the_commit(self, gated: Project, proposed: Path) -> None:
        from pytest_iaside.cli import accept

        told = ["__iaside__/x.yaml, of x[a\n\nSigned-off-by: b <b@x>\n]", "  new: [Skip CI]\n\nz"]
        subprocess.run(["git", "init", "-q"], cwd=gated.root, check=True)
        for key in ("user.name", "user.email"):
            subprocess.run(["git", "config", key, "n@x"], cwd=gated.root, check=True)
        accept._commit(gated.root, [gated.baseline], [told])
        done = subprocess.run(
            ["git", "log", "-1", "--format=%B"], cwd=gated.root, capture_output=True, text=True
        )
        head, empty, *lines = done.stdout.rstrip("\n").split("\n")
        assert (head, empty) == ("Accept 1 spectral baseline(s) that CI measured", "")
        assert [line[:2] for line in lines] == ["- ", "  "]
        assert "[skip ci]" not in done.stdout.lower()


def test_a_folder_that_looks_like_a_repository_runs_nothing(
    gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Git takes a folder with HEAD, objects and refs for a repository, and obeys its config."""
    top, ran = gated.root / "top", gated.root / "ran"
    sub = top / "sub"
    sub.mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=top, check=True)
    for name in ("__iaside__", "test_it.py"):
        shutil.move(gated.root / name, sub / name)
    for name in ("objects", "refs"):
        (sub / name).mkdir()
    (sub / "HEAD").write_text("ref: refs/heads/main\n")
    (sub / "config").write_text(
        "[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\n"
        f'fsmonitor = "touch {ran.as_posix()}; echo"\n'
    )
    assert main(["accept", str(proposed), "--root", str(sub), "--commit"]) in (0, 2)
    assert not ran.exists()


def test_all_are_written_or_none(
    gated: Project,
    proposed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    another(proposed, Owner("test_it.py::test_robust", "two"))
    before, save, calls = gated.contents(), Measurement.save, iter([0])

    def interrupted(self: Measurement, path: Path, **header: Any) -> Path:
        found = save(self, path, **header)
        if next(calls, None) is None:  # The second is written, and its reader not told.
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(Measurement, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["accept", str(proposed), "--root", str(gated.root)])
    assert gated.contents() == before


def test_arrays_that_are_lost_can_be_replaced(
    gated: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gated.baseline.with_suffix(".npz").unlink()
    folder = tmp_path / "lost"
    gated.run(f"--iaside-propose={folder}").assert_outcomes(failed=1)
    assert "there is nothing to compare it with" in refused(gated, folder, capsys)
    said = accepted(gated.root, folder, capsys, "--changed-settings")
    assert "the old one cannot be read, nothing was compared" in said
    gated.run().assert_outcomes(passed=1)


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
        ("change", "told"),
        [
            (lambda found: found.take(range(5)), "images: 19 of the 24 of the old one are missing"),
            (lambda found: replace(found, answers=None), "answers: it holds none"),
            (others, "of the 24 of the old one are missing"),
            (grouped, "groups: images belong together otherwise than before"),
        ],
    )
    def test_less_than_the_old_one_holds(
        self,
        gated: Project,
        proposed: Path,
        capsys: pytest.CaptureFixture[str],
        change: Callable[[Measurement], Measurement],
        told: str,
    ) -> None:
        forged(proposed, change)
        assert told in refused(gated, proposed, capsys)
        assert accepted(gated.root, proposed, capsys, "--changed-settings", "--check")

    def test_a_test_of_another_folder(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        forged(proposed, lambda found: found, node_id="else/test_it.py::test_robust")
        assert "is not the test whose baseline lies there" in refused(gated, proposed, capsys)

    def test_links_in_the_artifact(
        self, gated: Project, proposed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for suffix in (".npz", ".yaml"):
            (file,) = proposed.rglob(f"*{suffix}")
            shutil.move(file, tmp_path / file.name)
            file.symlink_to(tmp_path / file.name)
            assert "nothing is read through links" in refused(gated, proposed, capsys)

    def test_a_name_that_no_file_can_have(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = "a" * 300
        edited(
            proposed,
            lambda told: told.update(
                path=f"{folder}/{told['path']}", node_id=f"{folder}/{told['node_id']}"
            ),
        )
        assert "nothing was written" in refused(gated, proposed, capsys)

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

    @pytest.mark.parametrize("text", ["a\nb", "a\x1b[2J", "\ud800"])
    def test_a_path_that_would_command_a_terminal(
        self, gated: Project, proposed: Path, capsys: pytest.CaptureFixture[str], text: str
    ) -> None:
        edited(proposed, lambda told: told.update(path=f"{text}/{told['path']}"))
        assert "is not one of plain characters" in refused(gated, proposed, capsys)
        folder = proposed / "a\n::error::b"
        folder.mkdir()
        (folder / "x.proposal.json").write_text("x")
        assert main(["accept", str(proposed)]) == 2
        assert "\n::error" not in capsys.readouterr().err

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
        assert "twice" in refused(gated, proposed, capsys)
        other.write_text(json.dumps({**document, "path": "other/__iaside__/test_it/x.yaml"}))
        assert "nothing was written" in refused(gated, proposed, capsys)

    @pytest.mark.parametrize("damage", ["deflate", "lzma", "names", "cut"])
    def test_damaged_archives(
        self, gated: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
    ) -> None:
        path = tmp_path / "x.zip"
        kind = zipfile.ZIP_LZMA if damage == "lzma" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("é.txt", "hello world " * 1000)
        content = path.read_bytes()
        if damage == "names":
            content = content.replace("é".encode(), b"\xff\xfe")
        content = content[:45] + b"\xff" * 15 + content[60:]
        path.write_bytes(content[:80] if damage == "cut" else content)
        assert main(["accept", str(path), "--root", str(gated.root)]) == 2
        assert "give the artifact as it was downloaded" in capsys.readouterr().err

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

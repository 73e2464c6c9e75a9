"""The baseline store, without pytest around it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from profiles import make_profile

from pytest_iaside.store import baselines as baseline
from pytest_iaside.store.baselines import ForeignBaselineError, Owner

OWNER = Owner("tests/test_a.py::TestX::test_b[a/b]", "fine")


def test_the_path_is_readable_and_tells_apart_what_looks_the_same() -> None:
    path = baseline.path_for(Path("tests/test_a.py"), OWNER)
    assert path.parent == Path("tests/__iaside__/test_a")
    assert path.name.startswith("TestX-test_b-a-b-fine-")
    assert len(path.name) == len("TestX-test_b-a-b-fine-") + 8 + len(".yaml")
    others = {
        baseline.path_for(Path("tests/test_a.py"), owner)
        for owner in (
            Owner("tests/test_a.py::TestX::test_b[a-b]", "fine"),
            Owner("tests/test_a.py::TestX::test_b[a/b]"),
            Owner("tests/test_a.py::TestX::test_b[a/b]-fine"),
            Owner("tests/test_a.py::TestX::test_b[a/b]", "Fine"),
        )
    }
    assert len({path.name.lower() for path in others} | {path.name.lower()}) == 5


def test_the_path_does_not_depend_on_the_root() -> None:
    inner = Owner("test_a.py::TestX::test_b[a/b]", "fine")
    assert baseline.path_for(Path("t/test_a.py"), inner) == baseline.path_for(
        Path("t/test_a.py"), OWNER
    )
    assert inner.key == OWNER.key


@pytest.mark.parametrize("test", ["test_" + "x" * 400, "test_b[" + "ü" * 300 + "]", "测试", "::"])
def test_names_are_ascii_and_short(test: str) -> None:
    name = baseline.path_for(Path("test_a.py"), Owner(f"test_a.py::{test}")).name
    assert name.isascii()
    assert 0 < len(name) <= baseline.SLUG_LENGTH + len("-01234567.yaml")
    assert not name.startswith("-")


def test_what_is_stored_says_whose_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.yaml"
    make_profile().save(path, test=asdict(OWNER))
    baseline.check_owner(path, OWNER)
    assert baseline.owner_of(path) == OWNER


def test_another_owner_s_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    make_profile().save(path, test=asdict(OWNER))
    for other in (Owner(OWNER.node_id), Owner("tests/test_b.py::TestX::test_b[a/b]", "fine")):
        with pytest.raises(ForeignBaselineError, match=r"b\.yaml belongs to .*test_a\.py"):
            baseline.check_owner(path, other)


@pytest.mark.parametrize(
    "text", ["", "test: [", "a: 1", "test: 3", "test: {node_id: 1, name: null}", "- 1", "\xff"]
)
def test_files_that_name_no_owner(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(text.encode("latin-1"))
    assert baseline.owner_of(path) is None


def put(folder: Path, node_id: str) -> Path:
    path = baseline.path_for(folder / node_id.partition("::")[0], Owner(node_id))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"test: {{node_id: '{node_id}', name: null}}")
    return path


def test_baselines_are_found_below_folders_and_beside_files(tmp_path: Path) -> None:
    a, b = put(tmp_path, "test_a.py::t"), put(tmp_path, "test_b.py::t")
    c = put(tmp_path / "sub", "test_a.py::t")
    put(tmp_path / "build", "test_a.py::t")
    put(tmp_path / "venv", "test_a.py::t")
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    assert set(baseline.baselines([tmp_path], ["build"])) == {a, b, c}
    assert list(baseline.baselines([tmp_path / "test_a.py", tmp_path / "test_a.py"])) == [a]
    assert list(baseline.baselines([tmp_path / "sub", tmp_path / "nowhere"])) == [c]


def test_unused_are_those_whose_test_is_gone_or_passed_without_them(tmp_path: Path) -> None:
    module = tmp_path / "test_a.py"
    module.write_text("")
    (tmp_path / "test_other.py").write_text("")
    used, passed, failed, gone, skipped_file, no_file = (
        put(tmp_path, f"{file}.py::{test}")
        for file, test in (
            ("test_a", "used"),
            ("test_a", "passed"),
            ("test_a", "failed"),
            ("test_a", "gone"),
            ("test_other", "t"),
            ("test_deleted", "t"),
        )
    )
    everything = [used, passed, failed, gone, skipped_file, no_file]
    tests = {(module, "used"): True, (module, "passed"): True, (module, "failed"): False}
    found = baseline.unused(everything, used={used}, tests=tests, files={module})
    assert found == [passed, gone, no_file]

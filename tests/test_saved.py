"""Numbers of benchmarks in docs/measured.json: how they get there, and that none was typed."""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from pages import ROOT

BENCHMARKS = ROOT / "benchmarks"
MEASURED = json.loads((ROOT / "docs" / "measured.json").read_text(encoding="utf-8"))
# Taken over from texts when numbers were typed; the machine or the day of these is not known.
TYPED = {
    "make studies": "printed by iaside study, and copied",
    "make demo": "timed by hand",
    "tests/measure/test_metrics.py": "published by the authors of ImageNet-C",
}


@pytest.fixture(scope="module")
def saved() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        before = set(sys.modules)
        yield importlib.import_module("common.saved")
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "common":
                del sys.modules[name]


@pytest.fixture
def file(saved: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "measured.json"
    other = {"value": "1", "unit": "s", "what": "another", "benchmark": "benchmarks/other.py"}
    path.write_text(json.dumps({"values": {"other": other}, "tables": {}}), encoding="utf-8")
    monkeypatch.setattr(saved, "MEASURED", path)
    monkeypatch.setattr(saved.Kept.write, "__defaults__", (path,))
    monkeypatch.delenv("SAVE", raising=False)
    return path


def test_what_a_run_found_is_written_with_where_it_was_measured(
    saved: ModuleType, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAVE", "1")
    with saved.kept(str(BENCHMARKS / "startup.py")):
        saved.value("startup-ms", "16", "ms", "what the plugin adds")
        saved.table("two", "a table", ("a", "b"), [("1", "2"), ("3", "4")])
    found = json.loads(file.read_text(encoding="utf-8"))
    assert list(found["values"]) == ["other", "startup-ms"]
    value, table = found["values"]["startup-ms"], found["tables"]["two"]
    assert (value["value"], value["unit"], value["what"]) == ("16", "ms", "what the plugin adds")
    assert (table["columns"], table["rows"]) == (["a", "b"], [["1", "2"], ["3", "4"]])
    for each in (value, table):
        assert each["benchmark"] == "benchmarks/startup.py"
        assert re.search(r"\d+ cores, \d+ threads?, load before the start [\d.]+$", each["machine"])
        assert re.match(r"Python 3\.\d+\.\d+, numpy [\d.]+, torch [\d.]+", each["versions"])
        assert each["date"] == time.strftime("%Y-%m-%d", time.gmtime())


def test_nothing_is_written_unasked_nor_by_a_run_that_broke(
    saved: ModuleType, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()
    with saved.kept(str(BENCHMARKS / "startup.py")):
        saved.value("startup-ms", "16", "ms", "what the plugin adds")
    monkeypatch.setenv("SAVE", "1")
    with pytest.raises(ZeroDivisionError), saved.kept(str(BENCHMARKS / "startup.py")):
        saved.value("startup-ms", "16", "ms", "what the plugin adds")
        raise ZeroDivisionError
    saved.value("startup-ms", "16", "ms", "outside of a run")
    assert file.read_bytes() == before


@cache
def names_in(script: Path) -> tuple[re.Pattern[str], ...]:
    """What the texts in ``script`` and in the files that benchmarks share can be.

    What stands in braces in an f-string can be anything that a name is made of.
    """
    found = set()
    for path in (script, *(BENCHMARKS / "common").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.escape(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"[\w-]*"
                    for part in node.values
                ]
                if any(
                    isinstance(part, ast.Constant) and "-" in str(part.value)
                    for part in node.values
                ):
                    found.add("".join(parts))
    return tuple(map(re.compile, found))


@pytest.mark.parametrize("kind", ["values", "tables"])
def test_every_number_is_written_by_its_benchmark(kind: str) -> None:
    for name, entry in MEASURED[kind].items():
        benchmark = entry["benchmark"]
        if benchmark not in TYPED:
            assert any(p.fullmatch(name) for p in names_in(ROOT / benchmark)), (name, benchmark)


def test_benchmarks_that_name_numbers_collect_them_while_they_run() -> None:
    for script in sorted(BENCHMARKS.glob("*.py")):
        text = script.read_text(encoding="utf-8")
        if "from common.saved import" in text:
            assert re.search(r"with (kept|keeping)\(__file__\):\n        main\(\)\n$", text), (
                script.name
            )

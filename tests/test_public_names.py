"""Public names: few, all there, and cheap until they are used."""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys

import pytest

import pytest_iaside

MODULES = (
    "pytest_iaside",
    *(f"pytest_iaside.{room}" for room in ("explain", "study", "track", "train")),
)
HEAVY = ("torch", "numpy", "scipy", "jinja2", "yaml", "sqlite3")


def test_the_top_is_read_at_a_glance() -> None:
    assert len(pytest_iaside.__all__) <= 44
    assert {"explain", "study", "track", "train"} < set(pytest_iaside.__all__)


@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_a_stub_is_there(module: str) -> None:
    found = importlib.import_module(module)
    assert found.__all__ == sorted(found.__all__)
    assert set(found.__all__) <= set(dir(found))
    for name in found.__all__:
        assert getattr(getattr(found, name), "__name__", name).rpartition(".")[2] == name


def test_rooms_do_not_hide_the_functions_of_their_name() -> None:
    for room, function in (("measure.spectral", "measure"), ("compare.compare", "compare")):
        importlib.import_module(f"pytest_iaside.{room}")
        found = getattr(pytest_iaside, function)
        assert callable(found)
        assert pickle.loads(pickle.dumps(found)) is found


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="assert_spectral"):
        _ = pytest_iaside.assert_spectral
    with pytest.raises(ImportError, match="cannot import name 'assert_spectral'"):
        exec("from pytest_iaside import assert_spectral")


@pytest.mark.parametrize("module", MODULES)
def test_an_import_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(json.loads(done.stdout))

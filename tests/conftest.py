"""What every test has: pytester for those that run pytest inside pytest, and an empty cache."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from pytest_iaside.testing.session import CI_VARIABLES, RECORD

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing that another test, or this machine's user, had found is taken for this one's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _nobodys_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gates that tests run find no continuous integration, also where these tests run in it."""
    for name in (*CI_VARIABLES, "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Tests here expect gates to fail: what they catch is not to fail the session."""
    try:
        return (yield)
    finally:
        item.user_properties[:] = [each for each in item.user_properties if each[0] != RECORD]

"""What every test has: pytester for those that run pytest inside pytest, and an empty cache."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from pytest_iaside.testing.session import RECORD

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing that another test, or this machine's user, had found is taken for this one's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(folder))
    return folder


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Tests here expect gates to fail: what they catch is not to fail the session."""
    try:
        return (yield)
    finally:
        item.user_properties[:] = [each for each in item.user_properties if each[0] != RECORD]

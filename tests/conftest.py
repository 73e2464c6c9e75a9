"""What every test has: pytester for those that run pytest inside pytest, and an empty cache."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing that another test, or this machine's user, had found is taken for this one's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(folder))
    return folder

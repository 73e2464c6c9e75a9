"""The project that the tests here run pytest in."""

from __future__ import annotations

import pytest
from project import Project


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)


@pytest.fixture
def gated(project: Project) -> Project:
    """The project with its baseline."""
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    return project

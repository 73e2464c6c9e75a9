"""The gates that most tests of the report show, and the schema of their JSON."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from gate_records import (
    declined,
    diagnosed,
    edge_cases,
    green,
    new,
    perturbed,
    record_of,
    red,
    refused,
)
from jsonschema import Draft202012Validator

__all__ = [
    "declined",
    "diagnosed",
    "edge_cases",
    "green",
    "new",
    "perturbed",
    "record_of",
    "red",
    "refused",
]


@pytest.fixture(scope="session")
def schema() -> dict[str, Any]:
    file = resources.files("pytest_iaside.report") / "session.schema.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema)

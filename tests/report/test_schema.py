"""The published schema of --iaside-json: what is written follows it, and it allows nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gate_records import META, make_profile
from jsonschema import Draft202012Validator
from session_schema import PATH, text

from pytest_iaside.cli.main import main
from pytest_iaside.report.gates import WORST_FIRST
from pytest_iaside.report.json_document import json_document
from pytest_iaside.report.record import GateRecord

# Objects whose keys are a run's own.
OPEN = ("counts", "environment", "settings", "limits", "sections")


@pytest.fixture
def document(
    red: GateRecord,
    green: GateRecord,
    new: GateRecord,
    refused: GateRecord,
    perturbed: GateRecord,
    diagnosed: GateRecord,
    declined: GateRecord,
    edge_cases: dict[str, GateRecord],
) -> dict[str, Any]:
    """A session with every kind of gate, as it reads back from a file."""
    records = [red, green, new, refused, perturbed, diagnosed, declined, *edge_cases.values()]
    return json.loads(json.dumps(json_document(records, meta=META), allow_nan=False))


def objects(value: Any, name: str = "") -> Iterator[dict[str, Any]]:
    """Every object of fixed shape inside ``value``, itself included; of a list the first."""
    if isinstance(value, dict):
        if name not in OPEN:
            yield value
        for key, item in value.items():
            yield from objects(item, key)
    elif isinstance(value, list):
        for item in value[:1]:
            yield from objects(item)


def test_the_file_is_what_the_types_make() -> None:
    assert PATH.read_text(encoding="utf-8") == text(), "make schema writes it anew"


def test_it_is_a_schema_and_its_version_is_the_documents(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    document = json_document([], meta=META)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == schema["properties"]["schema"]["const"] == document["schema"]
    assert schema["properties"]["format"]["const"] == document["format"]
    assert document["schema"].rpartition(":")[2] == document["format"].rpartition("/")[2] == "3"


def test_every_field_is_described(schema: dict[str, Any]) -> None:
    names = [name for name in schema["$defs"] if name not in ("PointRecord", "TrendRecord")]
    described = [schema, *(schema["$defs"][name] for name in names)]
    found = [field for each in described for field in each["properties"].values()]
    assert len(found) > 120
    assert all(field["description"] for field in found)
    assert all(each["description"] for each in schema["$defs"].values())


def test_every_session_follows_it(
    validator: Draft202012Validator, document: dict[str, Any]
) -> None:
    assert [error.message for error in validator.iter_errors(document)] == []
    assert validator.is_valid(json_document([], meta=META))


def test_what_is_for_the_html_report_stays_out(
    validator: Draft202012Validator, red: GateRecord
) -> None:
    pictured = {**red, "pictures": {"a": "b"}, "section_pictures": {"a": "b"}}
    document = json_document([pictured], meta=META)
    assert validator.is_valid(document)
    assert not {"pictures", "section_pictures"} & set(document["gates"][0])


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("red", 150),
        ("new", 60),
        ("refused", 16),
        ("perturbed", 70),
        ("diagnosed", 160),
        ("declined", 150),
    ],
)
def test_no_field_may_be_missing_and_none_added(
    validator: Draft202012Validator, request: pytest.FixtureRequest, kind: str, least: int
) -> None:
    document = json_document([request.getfixturevalue(kind)], meta=META)
    whole = copy.deepcopy(document)
    removed = 0
    for found in objects(document):
        for key in list(found):
            value = found.pop(key)
            assert not validator.is_valid(document), f"valid without {key}"
            found[key] = value
            removed += 1
        found["another"] = 1
        assert not validator.is_valid(document), f"valid with another field beside {list(found)}"
        del found["another"]
    assert removed > least
    assert document == whole and validator.is_valid(document)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "iaside-report/2"),
        ("failed", "no"),
        ("counts", {"drift": 0}),
        ("counts", {"skipped": 1}),
        ("gates", {}),
    ],
)
def test_wrong_values_are_told(
    validator: Draft202012Validator, document: dict[str, Any], key: str, value: Any
) -> None:
    assert not validator.is_valid({**document, key: value})


def test_it_names_every_outcome(schema: dict[str, Any]) -> None:
    assert tuple(schema["properties"]["counts"]["properties"]) == WORST_FIRST


def test_sections_of_other_wings_are_allowed(
    validator: Draft202012Validator, green: GateRecord
) -> None:
    assert validator.is_valid(json_document([{**green, "sections": {"other": 1}}], meta=META))
    assert not validator.is_valid(json_document([{**green, "sections": {"trend": 1}}], meta=META))


def test_the_command_line_tool_follows_it(validator: Draft202012Validator, tmp_path: Path) -> None:
    profile = make_profile().save(tmp_path / "old.yaml")
    out = tmp_path / "out.json"
    assert main(["compare", str(profile), str(profile), "--json", str(out)]) == 0
    validator.validate(json.loads(out.read_text(encoding="utf-8")))

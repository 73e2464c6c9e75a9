"""The JSON schema of a session, made from the types of report/record.py and of the wings.

``python tests/report/session_schema.py``, which ``make schema`` runs, writes it into the package.
"""

from __future__ import annotations

import ast
import inspect
import json
from itertools import zip_longest
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest_iaside.report
from pytest_iaside.report import record
from pytest_iaside.report.gates import WORST_FIRST
from pytest_iaside.report.json_document import NOT_IN_JSON
from pytest_iaside.report.wings import wings

PATH = Path(pytest_iaside.report.__file__).with_name("session.schema.json")
NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def session_schema() -> dict[str, Any]:
    """The schema of SessionRecord; its objects allow no other fields than the types have."""
    definitions: dict[str, Any] = {}
    _schema(record.SessionRecord, definitions)
    session = definitions.pop("SessionRecord")
    session["properties"]["counts"] |= {
        "properties": {word: {"type": "integer", "minimum": 1} for word in WORST_FIRST},
        "additionalProperties": False,
    }
    # A wing of somebody else has a section that this schema cannot know.
    definitions["GateRecord"]["properties"]["sections"]["properties"] = {
        wing.name: _schema(wing.record, definitions) for wing in wings() if wing.record is not None
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:pytest-iaside:session:3",
        "title": "Session of pytest-iaside",
        **session,
        "$defs": dict(sorted(definitions.items())),
    }


def text() -> str:
    """The schema as the package's file holds it."""
    return json.dumps(session_schema(), indent=1, ensure_ascii=False) + "\n"


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of values of the type ``hint``; TypedDicts go into ``definitions``."""
    if is_typeddict(hint):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # before it refers to itself
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if hint is Any:
        return {}
    arguments = get_args(hint)
    match get_origin(hint):
        case None:
            return {"type": NAMES[hint]}
        case origin if origin is list:
            return {"type": "array", "items": _schema(arguments[0], definitions)}
        case origin if origin is dict:
            return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
        case origin if origin is Literal:
            return {"enum": list(arguments)} if len(arguments) > 1 else {"const": arguments[0]}
        case origin if origin in (Union, UnionType):
            parts = [_schema(argument, definitions) for argument in arguments]
            if all(set(part) == {"type"} for part in parts):
                return {"type": [part["type"] for part in parts]}
            return {"anyOf": parts}
    raise TypeError(f"no schema is known for {hint}")


def _object(cls: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    told = _descriptions(cls)
    properties = {
        name: {**_schema(hint, definitions), **told.get(name, {})}
        for name, hint in get_type_hints(cls).items()
        if name not in NOT_IN_JSON
    }
    return {
        "description": inspect.getdoc(cls),
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name in cls.__required_keys__],
        "additionalProperties": False,
    }


def _descriptions(cls: Any) -> dict[str, dict[str, str]]:
    """The comments beside the fields of ``cls``, or the sentences under them."""
    source = inspect.getsource(cls)
    lines = source.splitlines()
    (statement,) = ast.parse(source).body
    found = {}
    for field, below in zip_longest(statement.body, statement.body[1:]):
        if not isinstance(field, ast.AnnAssign):
            continue
        comment = lines[field.end_lineno - 1][field.end_col_offset :].partition("#")[2].strip()
        match below:
            case ast.Expr(ast.Constant(str(told))):
                found[field.target.id] = {"description": inspect.cleandoc(told)}
            case _ if comment:
                found[field.target.id] = {"description": comment}
    return found


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
    print(f"written: {PATH}")

"""YAML of plain values: mappings, lists, text and numbers, and nothing that grows as it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from pytest_iaside.errors import one_line

# Of a file, in bytes; of its values, and how deep they may lie in each other.
LARGEST = 2**20
MOST_VALUES = 100_000
DEEPEST = 30
# Digits of a number; 64 bits and double precision need 24.
LONGEST_NUMBER = 60
# libyaml's are much faster, and not always there.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(content: bytes) -> dict[str, Any]:
    """The mapping that ``content`` holds.

    Raises ValueError, which says why, where it is anything else: no YAML, or YAML with anchors,
    tags, the same key twice, or more or longer or deeper values than a measurement has.
    """
    try:
        text = content.decode("utf-8-sig")
        _check(text)
        found = yaml.load(text, Loader=LOADER)
    except Exception as error:  # YAML, unicode, dates and numbers fail in ways of their own.
        raise ValueError(f"is not valid YAML ({one_line(error)})") from error
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise ValueError("was not written by pytest-iaside (it is no mapping of names)")
    return dict(found)


def write(document: Mapping[str, Any]) -> str:
    """``document`` with its keys in order, as ``read`` reads it."""
    return str(yaml.dump(document, Dumper=_Plain, sort_keys=True, allow_unicode=True, width=100))


class _Plain(yaml.SafeDumper):
    """Writes a value that stands in several places in each of them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _check(text: str) -> None:
    """Raise ValueError where loading ``text`` would take long, or would not give plain values."""
    depth = 0
    # For each collection around: the keys so far of a mapping, None of a list; and whether what
    # comes next in a mapping is a key.
    around: list[set[str] | None] = []
    key_next: list[bool] = []
    for number, event in enumerate(yaml.parse(text, Loader=LOADER)):
        if number > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES:,} values")
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
            around.pop()
            key_next.pop()
            continue
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError("it has anchors (& and *), expected plain values")
        if not isinstance(event, yaml.NodeEvent):
            continue
        if event.tag not in (None, "!"):  # type: ignore[attr-defined]  # NodeEvents but aliases
            raise ValueError(f"it has a tag {event.tag!r}, expected plain values")  # type: ignore[attr-defined]
        if around and (keys := around[-1]) is not None:
            if key_next[-1]:
                _check_key(event, keys)
            key_next[-1] = not key_next[-1]
        if isinstance(event, yaml.ScalarEvent):
            _check_scalar(event)
            continue
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"its values lie more than {DEEPEST} deep in each other")
        around.append(set() if isinstance(event, yaml.MappingStartEvent) else None)
        key_next.append(True)


def _check_key(event: yaml.NodeEvent, keys: set[str]) -> None:
    if not isinstance(event, yaml.ScalarEvent):
        raise ValueError("a key of it is a collection, expected text")
    if event.value in keys:
        raise ValueError(f"it has the key {event.value[:40]!r} twice")
    keys.add(event.value)


def _check_scalar(event: yaml.ScalarEvent) -> None:
    # Only what stands without quotes can be a number: 1_000 and 1:30:00 are some in YAML, too.
    plain = event.implicit[0] and len(event.value) > LONGEST_NUMBER
    if plain and set(event.value) <= set("+-.0123456789_:"):
        raise ValueError(f"it has a number of {len(event.value):,} digits")

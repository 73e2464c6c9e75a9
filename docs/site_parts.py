"""What pages of the site do not type: measured numbers, settings, commands, the schema, the API.

A page says ``{{ name }}`` for a value of measured.json, ``<!-- table: name -->`` for a table of it,
and ``<!-- generated: name -->`` for one of PARTS. Sphinx replaces them when it reads the page.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VALUE = re.compile(r"\{\{ ([\w-]+) \}\}")
TABLE = re.compile(r"^<!-- table: ([\w-]+) -->$", re.MULTILINE)
GENERATED = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
MODULES = (
    "pytest_iaside",
    *(f"pytest_iaside.{room}" for room in ("explain", "track", "study", "train")),
)
# Where a gate has another default than ``measure``: testing/spectral.py.
OF_A_GATE = {"cache": "true", "panel": "auto"}
# What is measured where, in the order in which the page of all numbers shows it.
ORIGIN = ("benchmark", "machine", "versions", "date")
UNKNOWN = "not recorded"
BENCHMARK = re.compile(r"^Measured by `([^`]+)`")


@cache
def measured() -> dict[str, Any]:
    """measured.json: values and tables, each with what was run, on which machine, and when."""
    found: dict[str, Any] = json.loads((HERE / "measured.json").read_text(encoding="utf-8"))
    return found


def value(name: str) -> str:
    """The value ``name``, with a percent sign where that is its unit; raises KeyError."""
    entry = measured()["values"][name]
    return f"{entry['value']}\N{NO-BREAK SPACE}%" if entry["unit"] == "%" else str(entry["value"])


def table(name: str) -> str:
    """The table ``name`` in markdown, and below it what it was measured on; raises KeyError."""
    entry = measured()["tables"][name]
    rows = [entry["columns"], ["---"] * len(entry["columns"]), *entry["rows"]]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", "```{container} measured-source", origin(entry), "```"])


def origin(entry: dict[str, Any]) -> str:
    """Where a number comes from, in one line."""
    known = [f"{key}: {entry[key]}" for key in ORIGIN[1:] if entry[key] != UNKNOWN]
    unknown = [key for key in ORIGIN[1:] if entry[key] == UNKNOWN]
    told = "; ".join([f"Measured by `{entry['benchmark']}`", *known])
    return f"{told}; {UNKNOWN}: {', '.join(unknown)}." if unknown else f"{told}."


def replaced(text: str) -> str:
    """A page with everything that is generated in its place; raises KeyError for unknown names."""
    text = GENERATED.sub(lambda found: PARTS[found[1]](), text)
    text = TABLE.sub(lambda found: table(found[1]), text)
    return VALUE.sub(lambda found: value(found[1]), text)


# ------------------------------------------------------------------------------------ parts


def all_numbers() -> str:
    """Every value and every table of measured.json, by the run that they are of."""
    runs: dict[str, tuple[list[str], list[str]]] = {}
    for entry in measured()["values"].values():
        shown = f"{entry['value']} {entry['unit']}".strip()
        runs.setdefault(origin(entry), ([], []))[0].append(f"| {entry['what']} | {shown} |")
    for name, entry in measured()["tables"].items():
        rows = table(name).partition("\n\n")[0]
        runs.setdefault(origin(entry), ([], []))[1].append(f"### {entry['what']}\n\n{rows}")
    parts, titled = [], set()
    for told in sorted(runs):
        values, tables = runs[told]
        (benchmark,) = BENCHMARK.findall(told)
        if benchmark not in titled:
            titled.add(benchmark)
            parts.append(f"## {benchmark}")
        parts.append(told)
        if values:
            parts.append("\n".join(["| | |", "|---|---|", *values]))
        parts += tables
    return "\n\n".join(parts)


def settings() -> str:
    """Every setting: its default, what it expects, and where it can be given."""
    from pytest_iaside import settings as source

    groups = {
        "What is measured": source.MEASURE,
        "What may change": source.THRESHOLDS,
        "How it is decided": {
            name: told
            for name, told in source.SETTINGS.items()
            if name not in source.MEASURE and name not in source.THRESHOLDS
        },
    }
    parts = []
    for title, entries in groups.items():
        lines = [
            "| setting | default | what it is | expected | command line |",
            "|---|---|---|---|---|",
        ]
        for name, (kind, what) in entries.items():
            option = f"`--iaside-{source.dashes(name)}`" if name in source.ON_COMMAND_LINE else ""
            cells = (f"`{name}`", f"`{default(name)}`", what, kind.expected, option)
            lines.append(f"| {' | '.join(cells)} |")
        parts.append(f"## {title}\n\n" + "\n".join(lines))
    lines = ["| key of the ini file | what it is | expected |", "|---|---|---|"]
    for name, (kind, what) in source.INI_ONLY.items():
        lines.append(f"| `iaside_{name}` | {what} | {kind.expected} |")
    parts.append("## In the ini file only\n\n" + "\n".join(lines))
    lines = ["| option of pytest | what it does |", "|---|---|"]
    lines += [f"| `{option}` | {what} |" for option, what in options_of_pytest()]
    parts.append("## On the command line only\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def default(name: str) -> str:
    """The default of setting ``name``, as the ini file would say it."""
    from pytest_iaside.execute.execution import Execution
    from pytest_iaside.measure.spectral import measure
    from pytest_iaside.settings import Settings
    from pytest_iaside.thresholds import Thresholds

    for known in (Thresholds(), Settings(measure={}, thresholds=Thresholds()), Execution()):
        if hasattr(known, name):
            return _as_text(getattr(known, name))
    if name in OF_A_GATE:
        return OF_A_GATE[name]
    return _as_text(inspect.signature(measure).parameters[name].default)


def _as_text(given: Any) -> str:
    if isinstance(given, bool) or given is None:
        return str(given).lower()
    return str(given)


def options_of_pytest() -> Iterator[tuple[str, str]]:
    """The options that the plugin adds to pytest and that are no settings."""
    import pytest

    from pytest_iaside import plugin
    from pytest_iaside.settings import ON_COMMAND_LINE, dashes

    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser)
    of_settings = {f"--iaside-{dashes(name)}" for name in ON_COMMAND_LINE}
    for option in parser.getgroup("iaside").options:
        (name,) = option.names()
        if name in of_settings:
            continue
        told = option.attrs()
        value = "|".join(told.get("choices") or ()) or told.get("metavar") or ""
        argument = f"[={value}]" if told.get("nargs") == "?" else f"={value}" if value else ""
        yield (name + argument).replace("|", "\\|"), str(told["help"])


def command_line() -> str:
    """The help of ``iaside`` and of each of its commands."""
    from pytest_iaside.cli.main import _parser

    # argparse wraps its help to the width of the terminal.
    os.environ["COLUMNS"] = "92"
    os.environ["NO_COLOR"] = "1"
    return "\n\n".join(
        f"## {name}\n\n```text\n{parser.format_help().rstrip()}\n```"
        for name, parser in _commands("iaside", _parser())
    )


def _commands(
    name: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from _commands(f"{name} {word}", below)


def schema() -> str:
    """The fields of the JSON of a session, object by object."""
    import pytest_iaside.report

    path = Path(pytest_iaside.report.__file__).with_name("session.schema.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    objects = {"Session": found, **found["$defs"]}
    return "\n\n".join(_object(name, entry) for name, entry in objects.items())


def _object(name: str, entry: dict[str, Any]) -> str:
    lines = ["| field | type | what it is |", "|---|---|---|"]
    required = set(entry.get("required", ()))
    for field, told in entry.get("properties", {}).items():
        often = "" if field in required else " (not always there)"
        what = _cell(told.get("description", ""))
        lines.append(f"| `{field}`{often} | {_type(told)} | {what} |")
    return f"## {name}\n\n{_cell(entry.get('description', ''))}\n\n" + "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def _type(told: dict[str, Any]) -> str:
    """A JSON schema's type in words, with links to the objects of this page."""
    if "$ref" in told:
        name = told["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in told:
        return " or ".join(map(_type, told["anyOf"]))
    if "enum" in told:
        return " or ".join(f"`{each}`" for each in told["enum"])
    if "const" in told:
        return f"`{told['const']}`"
    if told.get("type") == "array":
        return f"list of {_type(told['items'])}"
    if told.get("type") == "object" and isinstance(told.get("additionalProperties"), dict):
        return f"names to {_type(told['additionalProperties'])}"
    kind = told.get("type", "anything")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def api() -> str:
    """Every public name with its docstring: assertions first, then classes, functions, errors."""
    parts = []
    for module in MODULES:
        found = importlib.import_module(module)
        names = [name for name in found.__all__ if not inspect.ismodule(getattr(found, name))]
        shown = [name for name in names if not _is_elsewhere(module, name)]
        lines = ["```{eval-rst}"]
        for name in sorted(shown, key=lambda name: (_rank(getattr(found, name), name), name)):
            lines.append(_directive(f"{module}.{name}", getattr(found, name)))
        parts.append(f"## {module}\n\n{_first(found)}\n\n" + "\n".join([*lines, "```"]))
    return "\n\n".join(parts)


def _is_elsewhere(module: str, name: str) -> bool:
    """Whether the top of the package has ``name`` as well."""
    top = importlib.import_module(MODULES[0])
    return module != MODULES[0] and name in top.__all__


def _rank(found: Any, name: str) -> int:
    if name.startswith("assert_"):
        return 0
    if inspect.isclass(found):
        return 3 if issubclass(found, Exception) else 1
    return 2


def _directive(path: str, found: Any) -> str:
    if inspect.isclass(found):
        members = "" if issubclass(found, Exception) else "\n   :members:"
        return f".. autoclass:: {path}{members}\n"
    if callable(found):
        return f".. autofunction:: {path}\n"
    listed = ", ".join(f"``{each}``" for each in found)
    return f".. py:data:: {path}\n\n   {listed}\n"


def _first(module: Any) -> str:
    return (inspect.getdoc(module) or "").partition("\n\n")[0].replace("``", "`")


def reports() -> str:
    """The reports of the gallery; links are HTML, as the files are no pages of the site."""
    from gallery import SHOWN

    lines = ["| report | of what |", "|---|---|"]
    lines += [f'| <a href="gallery/{file}">{file}</a> | {what} |' for file, what in SHOWN.items()]
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    "gallery": reports,
    "all-numbers": all_numbers,
    "settings": settings,
    "command-line": command_line,
    "json": schema,
    "api": api,
}

# ----------------------------------------------------------------------------------- Sphinx

LITERAL = re.compile(r"(``.*?``)", re.DOTALL)


def plain(text: str) -> str:
    """A docstring in which only double backticks are markup, as in all of this package."""
    parts = LITERAL.split(text)
    parts[::2] = [re.sub(r"([*|`\\]|(?<=\w)_(?!\w))", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def _docstring(
    _app: Any, _what: str, _name: str, _found: Any, _options: Any, lines: list[str]
) -> None:
    lines[:] = plain("\n".join(lines)).split("\n")


def _read(_app: Any, _page: str, source: list[str]) -> None:
    source[0] = replaced(source[0])


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

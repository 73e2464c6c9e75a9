"""What a benchmark found, kept in docs/measured.json: the README and the site show it from there.

A benchmark calls :func:`value` and :func:`table` within :func:`kept`. The file is written where
SAVE is set, as ``make numbers`` does, and only by a run that came to its end.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "docs" / "measured.json"
PACKAGES = ("numpy", "torch", "openvino", "onnxruntime")
Entry = dict[str, Any]
_open: list[Kept] = []


class Kept:
    """What one run of a benchmark found, by name."""

    def __init__(self, benchmark: str) -> None:
        # The machine as it was found: a benchmark loads it.
        self.origin = {"benchmark": benchmark, "machine": machine(), "versions": versions()}
        self.values: dict[str, Entry] = {}
        self.tables: dict[str, Entry] = {}

    def write(self, file: Path = MEASURED) -> None:
        """Put everything into ``file``; what else it holds stays."""
        origin = {**self.origin, "date": time.strftime("%Y-%m-%d", time.gmtime())}
        found = json.loads(file.read_text(encoding="utf-8"))
        for kind, mine in (("values", self.values), ("tables", self.tables)):
            found[kind] |= {name: told | origin for name, told in mine.items()}
        text = json.dumps(found, ensure_ascii=False, indent=1)
        file.write_text(f"{text}\n", encoding="utf-8")


@contextmanager
def kept(script: str) -> Iterator[Kept]:
    """Collect what ``script``, a ``__file__``, finds, and write it at the end where SAVE is set."""
    found = Kept(Path(script).resolve().relative_to(ROOT).as_posix())
    _open.append(found)
    try:
        yield found
    finally:
        _open.pop()
    if os.environ.get("SAVE"):
        found.write()
        print(f"\nkept in {MEASURED.name}: {', '.join([*found.values, *found.tables])}")


def value(name: str, found: str, unit: str, what: str) -> None:
    """Keep the number ``found`` of ``what``, as pages are to show it."""
    for each in _open[-1:]:
        each.values[name] = {"value": found, "unit": unit, "what": what}


def table(name: str, what: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Keep a table."""
    for each in _open[-1:]:
        each.tables[name] = {"what": what, "columns": list(columns), "rows": [*map(list, rows)]}


def machine() -> str:
    """Processor, cores, threads of PyTorch, and how busy the machine is; no name of the machine."""
    import torch

    processor = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    threads = torch.get_num_threads()
    return (
        f"{processor}, {os.cpu_count()} cores, {threads} {'thread' if threads == 1 else 'threads'},"
        f" load before the start {load}"
    )


def versions() -> str:
    """Python and the packages that compute."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found)

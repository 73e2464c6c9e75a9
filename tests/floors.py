"""Pins of the oldest versions that pyproject.toml allows; ``make floors`` installs and tests them.

``python tests/floors.py`` prints them, one a line, as a constraints file of pip.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
# What the package itself imports. What only tests and benchmarks need is as new as it may be.
EXTRAS = (
    *("cpu", "onnx", "timm", "transformers", "safetensors", "datasets", "wavelets", "study"),
    *("process", "dask", "ray", "slurm"),
)


def project() -> Mapping[str, Any]:
    """The table [project] of pyproject.toml."""
    found: Mapping[str, Any] = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return found


def pins(table: Mapping[str, Any]) -> list[str]:
    """name==version of everything that the package needs, with the lower bound as the version.

    Raises ValueError for a requirement that has no lower bound, or another one as well.
    """
    extras = table["optional-dependencies"]
    needed = [*table["dependencies"], *(line for name in EXTRAS for line in extras[name])]
    return [_pin(Requirement(line)) for line in needed]


def _pin(needed: Requirement) -> str:
    bounds = [(each.operator, each.version) for each in needed.specifier]
    if len(bounds) != 1 or bounds[0][0] != ">=":
        raise ValueError(f"{needed} must have one bound, the oldest version that works: name>=1.2")
    marker = "" if needed.marker is None else f"; {needed.marker}"
    return f"{needed.name}=={bounds[0][1]}{marker}"


if __name__ == "__main__":
    print("\n".join(pins(project())))

"""The oldest versions: what pyproject.toml allows is what ``make floors`` tests and docs tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from floors import EXTRAS, pins, project, tomllib
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def table(*dependencies: str, **extras: list[str]) -> dict[str, Any]:
    return {
        "dependencies": list(dependencies),
        "optional-dependencies": {name: [] for name in EXTRAS} | extras,
    }


def test_a_pin_is_the_lower_bound() -> None:
    found = pins(table("torch>=2.6", "tomli>=2; python_version<'3.11'", onnx=["onnx>=1.17"]))
    assert found == ["torch==2.6", 'tomli==2; python_version < "3.11"', "onnx==1.17"]


@pytest.mark.parametrize("line", ["torch", "torch==2.6", "torch>2.6", "torch>=2.6,<3", "torch<3"])
def test_what_has_no_oldest_version_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="must have one bound, the oldest version that works"):
        pins(table(line))


def test_extras_of_the_package_are_pinned_and_those_of_its_makers_are_not() -> None:
    extras = set(project()["optional-dependencies"])
    assert extras - set(EXTRAS) == {"example", "test", "bench", "docs", "release", "dev"}


def test_the_makefile_installs_these_pins() -> None:
    recipe = read("Makefile").partition("\nfloors:")[2].partition("\n\n")[0]
    assert "tests/floors.py > $(FLOORS)/pins.txt" in recipe
    assert "--constraint $(FLOORS)/pins.txt --editable '.[test]'" in recipe


def test_the_page_tells_every_bound() -> None:
    told = dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| ", read("docs/floors.md"), re.MULTILINE))
    oldest = project()["requires-python"].removeprefix(">=")
    needed = map(Requirement, pins(project()))
    wanted = {each.name: str(each.specifier).removeprefix("==") for each in needed}
    assert told == {"Python": oldest, **wanted}


def test_one_oldest_python_everywhere() -> None:
    tools = tomllib.loads(read("pyproject.toml"))["tool"]
    oldest = project()["requires-python"].removeprefix(">=")
    major, minor = oldest.split(".")
    assert tools["mypy"]["python_version"] == oldest
    assert tools["ruff"]["target-version"] == f"py{major}{minor}"
    assert tools["pytest"]["ini_options"]["minversion"] == next(
        pin.removeprefix("pytest==") for pin in pins(project()) if pin.startswith("pytest==")
    )
    said = re.findall(r"Python :: (3\.\d+)", read("pyproject.toml"))
    # The last one is run by .github/workflows/test.yml alone (docs/floors.md).
    assert said == [f"3.{each}" for each in range(int(minor), 15)]
    assert f"sys.version_info < ({major}, {minor})" in read("Makefile")
    for name in ("Makefile", "README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"(3\.\d+) or later", read(name))) == {oldest}

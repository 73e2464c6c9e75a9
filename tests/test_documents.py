"""README, CONTRIBUTING and all pages: files that they name are there, and examples run."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypedDict

import numpy as np
import pytest
import torch
from profiles import make_profile
from torch import nn

from pytest_iaside import Classifier, ReferenceSample
from pytest_iaside.models.backends.base import Setup, filled, in_batches_of
from pytest_iaside.report import figures, wings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "example_project/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BASES = (ROOT, ROOT / "pytest_iaside", ROOT / "example_project")
NAMED = re.compile(r"`((?:\w+/)+[\w.]*\w\.(?:py|json|md|png|yml))`")
LINKED = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = NAMED.findall(text)
    missing = [name for name in named if not any((base / name).exists() for base in BASES)]
    missing += [name for name in LINKED.findall(text) if not (document.parent / name).exists()]
    assert not missing


def _examples() -> list[dict[str, str]]:
    """The code of each worked example, by the file that it says it is in."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert all(len(block.splitlines()) <= 30 for block in blocks)
    found = []
    for block in blocks:
        parts = re.split(r"^# ([\w/]+\.py).*\n", block, flags=re.MULTILINE)
        found.append(dict(zip(parts[1::2], parts[2::2], strict=True)))
    return found


GATE, CORRUPTION, BACKEND, SECTION = _examples()


def _run(code: str, file: str, **names: Any) -> dict[str, Any]:
    """What the module ``file`` would hold with ``code`` at its end."""
    module = importlib.import_module(f"pytest_iaside.{file.removesuffix('.py').replace('/', '.')}")
    held = {**vars(module), **names}
    exec(compile(f"from __future__ import annotations\n{code}", file, "exec"), held)
    return held


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).eval()


def test_the_example_of_a_gate_runs() -> None:
    pictures = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    classes = _network()(pictures).argmax(dim=1)
    images = ReferenceSample(pictures, classes.tolist())
    (measuring, first), (gates, second) = GATE.items()
    measure = _run(first, measuring)["measure_coarse_share"]
    gate = _run(second, gates, measure_coarse_share=measure)["assert_coarse_share"]
    baseline = measure(_network(), images)
    assert gate(_network(), images, baseline=baseline).verdict == "pass"
    better = replace(baseline, values=baseline.values + 0.2)
    with pytest.raises(AssertionError, match=r"coarse share .* allowed .0\.050"):
        gate(_network(), images, baseline=better, name="worse")


def test_the_example_of_a_corruption_runs() -> None:
    (file, code), (_, entry) = CORRUPTION.items()
    posterise = _run(code, file)["posterise"]
    image = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    for severity, steps in enumerate((31, 15, 7, 4, 2), start=1):
        found = posterise(image, severity, np.random.default_rng(1))
        assert len(np.unique(found)) == steps + 1
        assert np.abs(found - image).max() <= 0.5 / steps + 1e-6
    assert entry.strip() == '"posterise": digital.posterise,'


def test_the_example_of_a_back_end_runs() -> None:
    code = next(iter(BACKEND.values()))
    held = _run(code, "models/backends/eager.py", filled=filled, in_batches_of=in_batches_of)
    network, inputs = _network(), torch.rand(5, 3, 32, 32)
    device, label = torch.device("cpu"), Classifier(network).name
    setup = Setup("exported", 2, False)
    backend = held["ExportedBackend"](network, setup, device, label, "float32", inputs)
    torch.testing.assert_close(backend.forward(inputs), network(inputs).detach())


def test_the_example_of_a_report_section_runs() -> None:
    code = next(iter(SECTION.values()))
    room = {**vars(figures), **vars(wings), "TypedDict": TypedDict, "Any": Any}
    wing = _run(code, "report/wings.py", **room)["WING"]
    profile = make_profile()
    red = SimpleNamespace(comparison=SimpleNamespace(candidate=profile))
    record, pictures = wing.tell_red(red)
    least = profile.names[int(profile.values.sum(axis=1).argmin())]
    assert record["images"][0] == least
    section = wing.draw(record, pictures, "a")
    assert section.figures[0].table.rows[0][0].text == least

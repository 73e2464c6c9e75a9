"""The blocks of docs/data.md, run one after the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pytest_iaside import ReferenceSample

Image = pytest.importorskip("PIL.Image")

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def names(tmp_path: Path) -> dict[str, Any]:
    """What the blocks take for granted."""
    numbers = np.random.default_rng(0)
    pictures = []
    for at in range(4):
        pixels = numbers.integers(0, 256, (300, 280, 3), dtype=np.uint8)
        pictures.append(Image.fromarray(pixels))
        path = tmp_path / "photos" / f"class{at // 2}" / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures[-1].save(path)
    lines = "".join(f"class{at // 2}/{at}.png,{at // 2},w{at}\n" for at in range(4))
    (tmp_path / "photos" / "list.csv").write_text(f"path,label,group\n{lines}")
    images = numbers.integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    labels = [0, 0, 1, 1]
    return {
        "ReferenceSample": ReferenceSample,
        "DataLoader": DataLoader,
        "images": images,
        "photos": images.transpose(0, 2, 3, 1),
        "scans": numbers.integers(-1024, 3072, (4, 1, 8, 8)).astype(np.int16),
        "deep": numbers.integers(0, 4096, (4, 1, 8, 8)).astype(np.uint16),
        "pairs": list(zip(pictures, labels, strict=True)),
        "rows": [
            {"image": picture, "label": label, "writer": str(label)}
            for picture, label in zip(pictures, labels, strict=True)
        ],
        "tensors": TensorDataset(torch.from_numpy(images), torch.tensor(labels)),
        "folder": tmp_path / "photos",
        "mixed": [images[0], images[1][:, :6], images[2]],
    }


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_statement_makes_a_sample(number: int, names: dict[str, Any]) -> None:
    for line in BLOCKS[number].splitlines():
        if line.startswith("ReferenceSample"):
            assert isinstance(eval(line, names), ReferenceSample)
    exec(BLOCKS[number], names)


def test_sizes(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    exec(BLOCKS[-1], names)
    assert capsys.readouterr().out == "6 8 1\n8 8 2\n"


def test_every_key_of_the_ini_file_is_told() -> None:
    from pytest_iaside.settings import READING

    section = TEXT.partition("## In the ini file")[2].partition("\n## ")[0]
    assert all(f"_{key}`" in section for key in READING)

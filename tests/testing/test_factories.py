"""Models and reference samples that are named by text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from pytest_iaside.errors import ModelError, ReferenceSampleError, SettingsError
from pytest_iaside.testing.factories import named_model, named_reference

MODULE = """
import torch
from pytest_iaside import Classifier, ReferenceSample
number = 3
def model(): return torch.nn.Flatten()
def classifier(): return Classifier(torch.nn.Flatten(), name="mine")
def nothing(): return None
def fails(): raise KeyError("from inside")
def sample(): return ReferenceSample(torch.zeros(2, 1, 4, 4), [0, 1])
class Zoo:
    @staticmethod
    def model(): return torch.nn.Flatten()
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "__init__.py").write_text(MODULE)
    (tmp_path / "zoo" / "broken.py").write_text("import nowhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "zoo", raising=False)


def test_models(tmp_path: Path) -> None:
    assert named_model("zoo:classifier", tmp_path).name == "mine"
    assert isinstance(named_model("zoo:model", tmp_path).network, torch.nn.Flatten)
    assert isinstance(named_model("zoo:Zoo.model", tmp_path).network, torch.nn.Flatten)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zoo", "'zoo' names no model; expected package.module:factory, or the path of an .onnx"),
        ("zoo:", "'zoo:' names no model"),
        ("zoo.py:model()", "names no model"),
        ("zoo:tiger", "'zoo:tiger': zoo has no 'tiger'; check the name"),
        ("zoo:number", "'zoo:number' is a int; name a function that makes a model"),
        ("savanna:model", "'savanna:model': there is no module 'savanna' on the import path"),
        ("zoo.cage:model", "'zoo.cage:model': there is no module 'zoo.cage' on the import path"),
    ],
)
def test_what_names_no_model(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        named_model(text, tmp_path)
    assert message in str(raised.value)


def test_errors_of_the_factory_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="from inside"):
        named_model("zoo:fails", tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        named_model("zoo.broken:model", tmp_path)
    with pytest.raises(ModelError, match="zoo:nothing returned None; it must return the model"):
        named_model("zoo:nothing", tmp_path)
    with pytest.raises(ModelError, match=r"a\.onnx"):
        named_model("a.onnx", tmp_path)


def test_reference_samples(tmp_path: Path) -> None:
    assert len(named_reference("zoo:sample", tmp_path)) == 2
    with pytest.raises(ReferenceSampleError, match="zoo:model returned a Flatten; it must return"):
        named_reference("zoo:model", tmp_path)
    with pytest.raises(SettingsError, match="zoo:sample makes its own sample"):
        named_reference("zoo:sample", tmp_path, limit=1)
    with pytest.raises(ReferenceSampleError, match="does not exist"):
        named_reference("pictures", tmp_path)


def test_folders(tmp_path: Path) -> None:
    for number, name in enumerate(["cat", "dog", "emu"]):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("L", (224, 224), 60 * number).save(tmp_path / "pictures" / name / "0.png")
    sample = named_reference("pictures", tmp_path)
    assert sample.labels is not None
    assert sample.labels.tolist() == [0, 1, 2]
    assert sample.names == ("cat/0.png", "dog/0.png", "emu/0.png")
    assert named_reference("pictures", tmp_path, labels="none").labels is None
    assert named_reference("pictures", tmp_path, limit=2).names == ("cat/0.png", "dog/0.png")
    (tmp_path / "labels.csv").write_text("file,label\nemu/0.png,7\n")
    sample = named_reference("pictures", tmp_path, labels="labels.csv")
    assert sample.labels is not None
    assert sample.labels.tolist() == [7]

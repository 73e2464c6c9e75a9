"""The blocks of a page, and a small project in which they run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
NOT_RUN = "*Not run by the tests"
"""How the paragraph below a block begins that no test runs; it says why."""


@dataclass(frozen=True)
class Block:
    """A block of code: its language ("" where it is indented: commands), and its place."""

    language: str
    text: str
    line: int
    not_run: str = ""

    def commands(self) -> Iterator[str]:
        """Its lines, those that end in a backslash with the next."""
        yield from filter(str.strip, self.text.replace("\\\n", " ").splitlines())


def blocks(page: Path) -> list[Block]:
    """The blocks of ``page``, in order."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    found = []
    for place, token in enumerate(tokens):
        if token.type not in ("fence", "code_block"):
            continue
        below = next((each.content for each in tokens[place + 1 :] if each.type == "inline"), "")
        reason = below if below.startswith(NOT_RUN) else ""
        line = token.map[0] + 1 if token.map else 0
        found.append(Block(token.info.strip(), token.content, line, reason))
    return found


# What pages take for granted: a package with a model, images of four classes, a test of the model.
MODULE = '''
"""A classifier of waves: stripes of four widths, and models that are better or worse at it."""

import torch
from pathlib import Path
from torch import nn
from pytest_iaside import ReferenceSample

ROOT = Path(__file__).parents[1]


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(32)
        self.head = nn.Linear(3 * 32 * 32, 4, bias=False)

    def forward(self, x):
        x = self.pool(x)
        return self.head((x - x.mean(dim=(2, 3), keepdim=True)).flatten(1))


def architecture():
    return Reader()


def changed(noise=0.0, gain=1.0, seed=0):
    reader = Reader()
    weights = torch.load(ROOT / "weights.pt", weights_only=True)
    drawn = torch.randn(weights.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        reader.head.weight.copy_(weights + noise * weights.std() * drawn)
        reader.head.weight[1] *= gain
    return reader.eval()


def load_model():
    return changed()


def load_new_model():  # which confuses the second class
    return changed(gain=-0.5)


def seed_1():
    return changed(0.05, seed=1)


def seed_2():
    return changed(0.05, seed=2)


def seed_3():
    return changed(0.05, seed=3)


def models():
    from pytest_iaside.study import StudyModel

    noises = {"clean": 0.0, "a": 0.2, "b": 0.5, "c": 1.0, "d": 2.0}
    return {
        name: StudyModel(changed(noise, seed=4), covariates={"images": 1000 * (1 + place)})
        for place, (name, noise) in enumerate(noises.items())
    }
'''
PREAMBLE = """
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset
from torchvision.transforms import v2
import numpy as np
from PIL import Image
from pytest_iaside import Classifier, ReferenceSample
from package.module import *

reference = ReferenceSample.from_folder("tests/images", resize=37, crop=32)
images, labels = reference.pixels(), reference.labels
writers = [f"writer {place // 3}" for place in range(len(images))]
dataset = TensorDataset(images, torch.as_tensor(labels))
model = old_model = small = load_model()
new_model, large, third = load_new_model(), seed_1(), seed_2()
model_a, model_b, model_c = seed_1(), seed_2(), seed_3()


def load(name):
    return {"small": small, "large": large}[name]


def training_transform(picture):
    small = picture.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255


def server_transform(picture):
    return training_transform(picture)
"""
TEST = """
from preamble import *
from pytest_iaside import assert_spectral_robustness

def test_model():
    assert_spectral_robustness({model}, reference)
"""
INI = """
[tool.pytest.ini_options]
pythonpath = ["."]
iaside_bands = 3
"""
# Of commands, so that they take a second: fewer bands and smaller pictures than a page says.
SMALLER = {"--bands": "3", "--resize": "37", "--crop": "32", "--points": "4"}


def write_project(root: Path) -> None:
    """The project that pages take for granted, with images, weights and checkpoints."""
    import torch
    from PIL import Image
    from torch.nn.functional import adaptive_avg_pool2d, one_hot

    from pytest_iaside import ReferenceSample

    for name, text in (
        ("pyproject.toml", INI),
        ("preamble.py", PREAMBLE),
        ("package/__init__.py", ""),
        ("package/module.py", MODULE),
        ("tests/test_model.py", TEST.format(model="model")),
        ("tests/test_new_training.py", TEST.format(model="model_a")),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    generator = torch.Generator().manual_seed(0)
    across = torch.arange(64) / 64
    rows = []
    for place in range(24):
        kind = place % 4
        wave = torch.cos(2 * torch.pi * (1, 2, 3, 5)[kind] * across)
        noise = torch.randn(64, 64, 3, generator=generator)
        picture = 0.5 + 0.25 * wave[None, :, None] + 0.06 * noise
        folder = root / "tests" / "images" / "abcd"[kind]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (picture.clamp(0, 1) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(folder / f"{place:02}.png")
        rows.append(f"images/{'abcd'[kind]}/{place:02}.png,{kind},photo-{place // 2}")
    (root / "tests" / "images.csv").write_text("\n".join(["file,label,group", *rows, ""]))
    shutil.copytree(root / "tests" / "images", root / "images")
    shutil.copy(root / "images" / "b" / "01.png", root / "photo.png")
    sample = ReferenceSample.from_folder(root / "images", resize=37, crop=32)
    pooled = adaptive_avg_pool2d(sample.pixels(), 32)
    features = (pooled - pooled.mean(dim=(2, 3), keepdim=True)).flatten(1)
    wanted = 8 * one_hot(torch.as_tensor(sample.labels), 4).float()
    weights = torch.linalg.lstsq(features.double(), wanted.double(), driver="gelsd").solution.T
    torch.save(weights.float(), root / "weights.pt")
    write_onnx(root, weights.float())
    (root / "checkpoints").mkdir()
    for step in range(5):
        state = {"head.weight": weights.float() * (0.6 + 0.1 * step)}
        torch.save({"state_dict": state, "step": step}, root / "checkpoints" / f"{step}.pt")


def retrain(root: Path) -> None:
    """The model of the second test is from now on a training with another seed."""
    test = root / "tests" / "test_new_training.py"
    test.write_text(TEST.format(model="model_b"), encoding="utf-8")


def write_onnx(root: Path, weights: Any) -> None:
    """The model as an .onnx file, where onnx is installed."""
    try:
        from onnx import TensorProto, helper, numpy_helper, save
    except ImportError:
        return
    constants = [
        numpy_helper.from_array(array, name)
        for name, array in (("axes", np.array([2, 3])), ("weights", weights.T.numpy().copy()))
    ]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["images", "mean"], ["centred"]),
            helper.make_node("Flatten", ["centred"], ["features"], axis=1),
            helper.make_node("MatMul", ["features", "weights"], ["logits"]),
        ],
        "reader",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])],
        constants,
    )
    opset = helper.make_opsetid("", 18)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=9), root / "model.onnx")


class Runner:
    """Runs the blocks of one page in a project of its own, one after the other."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester, self.root = pytester, pytester.path
        self.names: dict[str, Any] = {"__name__": "page"}
        monkeypatch.syspath_prepend(str(self.root))
        monkeypatch.chdir(self.root)

    def preamble(self) -> None:
        """The names that the blocks of most pages take for granted."""
        exec(compile(PREAMBLE, "preamble", "exec"), self.names)

    def run(self, page: Path, block: Block) -> None:
        """Run a block of Python or commands, and the commands of pytest in a CI's file."""
        if block.language in ("yaml", "groovy"):
            found = re.findall(r"(?:- |sh ')(pytest [^'\n]+)", block.text)
            assert found
            for command in found:
                self.command(command)
        elif block.language == "python":
            self.python(page, block)
        elif not block.language:
            for command in block.commands():
                self.command(command)

    def python(self, page: Path, block: Block) -> None:
        if "def test_" not in block.text:
            # Errors name the line of the page.
            code = compile("\n" * block.line + block.text, str(page), "exec")
            exec(code, self.names)
            return
        named = re.match(r"# (\S+\.py)\n", block.text)
        path = self.root / (named[1] if named else f"tests/test_line_{block.line}.py")
        text = block.text if named else f"from preamble import *\n{block.text}"
        path.write_text(text, encoding="utf-8")
        if named:
            return  # commands below the block run it
        self.pytest(str(path), "--iaside-update=new", expected=0)
        # Gates against a bound were judged already, and have no baseline.
        if (path.parent / "__iaside__" / path.stem).is_dir():
            self.pytest(str(path), expected=0)

    def command(self, command: str) -> None:
        status = re.search(r"# exit status (\d)", command)
        words = shlex.split(command, comments=True)
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        expected = int(status[1]) if status else 0
        match words:
            case ["pytest", *options]:
                self.pytest(*options, expected=expected)
            case ["iaside", *arguments]:
                self.iaside(*arguments, expected=expected)
            case ["make", target]:
                makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
                assert re.search(rf"^{target}:", makefile, re.MULTILINE)
            case ["cd" | "git" | "pip" | "python" | "python3" | "." | "cp" | "torchrun", *_]:
                pass  # not the project's own
            case _:
                raise AssertionError(f"no test knows how to run: {command}")

    def pytest(self, *options: str, expected: int) -> None:
        others = ("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:html", "--no-header")
        result = self.pytester.runpytest_inprocess(*others, *options)
        assert int(result.ret) == expected, f"pytest {' '.join(options)}"

    def iaside(self, *arguments: str, expected: int) -> None:
        from pytest_iaside.cli.main import main

        known = _options(arguments)
        more = [
            word
            for option, value in SMALLER.items()
            if option in known and option not in arguments
            for word in (option, value)
        ]
        # A shell takes patterns apart only where they are not quoted, as pages quote them.
        assert main([*arguments, *more]) == expected, f"iaside {' '.join(arguments)}"


def _options(arguments: tuple[str, ...]) -> set[str]:
    """The options that the command which ``arguments`` begin with knows."""
    import argparse

    from pytest_iaside.cli.main import _parser

    parser = _parser()
    for word in arguments:
        below = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        if not below or word not in below[0].choices:
            break
        parser = below[0].choices[word]
    return {option for action in parser._actions for option in action.option_strings}

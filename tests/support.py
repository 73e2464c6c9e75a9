"""What works: kinds of models and of data, through each back end; run to write docs/support.md.

    python tests/support.py

A cell says "works" only where ψ are those of the same network in PyTorch's float32, as near as the
kind of numbers allows.
"""

from __future__ import annotations

import copy
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from pytest_iaside import Classifier, Execution, ReferenceSample, SpectralRobustnessError, measure

PAGE = Path(__file__).parents[1] / "docs" / "support.md"
COUNT, SIDE, CLASSES, BANDS = 4, 12, 3, 3
BACKENDS = ("auto", "eager", "openvino")
WORKS, SAME = "works", "the same"


class Net(nn.Module):
    """A small network; what it returns goes through ``wrap``."""

    def __init__(self, wrap: Callable[[Tensor], Any] = lambda z: z, channels: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv2d(channels, 8, 3, stride=2),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(8, CLASSES),
            )
        with torch.no_grad():
            self.layers[4].weight.mul_(20)
        self.wrap = wrap

    def forward(self, images: Tensor) -> Any:
        return self.wrap(self.layers(images))


@dataclass
class Output:
    logits: Tensor


class Conditioned(Net):
    def forward(self, tokens: Tensor, pixel_values: Tensor) -> Any:
        return super().forward(pixel_values) * tokens.sum()


class Bytes(Net):
    def forward(self, images: Tensor) -> Any:
        if images.dtype != torch.uint8:
            raise TypeError(f"expected uint8, got {images.dtype}")
        return super().forward(images / 255)


def scored(outputs: Tensor, targets: Tensor) -> Tensor:
    classes = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return outputs.log_softmax(dim=1).gather(1, classes[:, None])[:, 0]


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of model: how it is made, and how near its ψ are to those of float32."""

    make: Callable[[Path], Any]
    near: float = 1e-3
    needs: str = ""


def traced(folder: Path) -> Any:
    return torch.jit.trace(Net().eval(), torch.rand(2, 3, SIDE, SIDE))


def exported(batch: int | None) -> Callable[[Path], Any]:
    def make(folder: Path) -> Any:
        images = torch.rand(batch or 2, 3, SIDE, SIDE)
        free = None if batch else ({0: torch.export.Dim("batch", min=1, max=256)},)
        return torch.export.export(Net().eval(), (images,), dynamic_shapes=free)

    return make


def onnx_file(folder: Path, network: nn.Module | None = None, **options: Any) -> Path:
    path = folder / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            (network or Net()).eval(),
            (torch.rand(2, 3, SIDE, SIDE),),
            str(path),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=256)},),
            verbose=False,
            **options,
        )
    return path


def onnx_int8(folder: Path) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            # Of the names and the range of what it will see.
            generator = torch.Generator().manual_seed(3)
            images = torch.rand(16, 3, SIDE, SIDE, generator=generator)
            self.rows = iter([{"images": each[None].numpy()} for each in images])

        def get_next(self) -> Any:
            return next(self.rows, None)

    plain = onnx_file(folder, input_names=["images"])
    found = folder / "int8.onnx"
    quantize_static(str(plain), str(found), Reader())
    return found


def dynamically_quantised(folder: Path) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: nn.Module = torch.ao.quantization.quantize_dynamic(Net().eval(), {nn.Linear})
    return found


def torchao_int8(folder: Path) -> nn.Module:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    network = Net().eval()
    quantize_(network, Int8WeightOnlyConfig())
    return network


def lightning_module(folder: Path) -> Any:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = self.net(images)
            return found

    return Module()


def mixed(folder: Path) -> nn.Module:
    network = Net()
    network.layers[4].half()
    return network


MODELS: dict[str, Kind] = {
    "`nn.Module`, logits": Kind(lambda _: Net()),
    "a dict with `logits`": Kind(lambda _: Net(lambda z: {"logits": z, "loss": z.sum()})),
    "a tuple of logits and maps": Kind(lambda _: Net(lambda z: (z, z[:, :, None, None]))),
    "a dataclass": Kind(lambda _: Net(Output)),
    "a dict of two heads": Kind(lambda _: Net(lambda z: {"a": z, "b": z + 1})),
    "the same, `output='a'`": Kind(
        lambda _: Classifier(Net(lambda z: {"a": z, "b": z + 1}), output="a")
    ),
    "probabilities": Kind(lambda _: Net(lambda z: z.softmax(dim=1))),
    "the same, `output='probabilities'`": Kind(
        lambda _: Classifier(Net(lambda z: z.softmax(dim=1)), output="probabilities")
    ),
    "log-probabilities": Kind(lambda _: Net(lambda z: z.log_softmax(dim=1))),
    "`score=`": Kind(lambda _: Classifier(Net(), score=scored)),
    "a second input, `arguments=`": Kind(
        lambda _: Classifier(
            Conditioned(),
            arguments={"tokens": torch.tensor([0.25, 0.75])},
            image_argument="pixel_values",
        )
    ),
    "a function": Kind(lambda _: Net().eval().forward),
    "float16 weights": Kind(lambda _: Net().half(), near=0.2),
    "bfloat16 weights": Kind(lambda _: Net().bfloat16(), near=1.0),
    "float64 weights": Kind(lambda _: Net().double()),
    "float16 and float32 weights": Kind(mixed),
    "weights on the meta device": Kind(lambda _: Net().to("meta")),
    "uint8 images only": Kind(lambda _: Bytes()),
    "TorchScript": Kind(traced),
    "`torch.export`, any batch": Kind(exported(None)),
    "`torch.export`, batch of 1": Kind(exported(1)),
    "`torch.compile`d (eager)": Kind(lambda _: torch.compile(Net(), backend="eager")),
    "LightningModule": Kind(lightning_module, needs="lightning"),
    "dynamic int8 (`torch.ao`)": Kind(dynamically_quantised, near=1.0),
    "int8 weights (torchao)": Kind(torchao_int8, near=1.0, needs="torchao"),
    "`.onnx`": Kind(onnx_file, needs="onnxscript"),
    "`.onnx`, int8": Kind(onnx_int8, near=3.0, needs="onnxruntime"),
    "`.onnx` of two outputs": Kind(
        lambda folder: onnx_file(folder, Net(lambda z: (z, z + 1)), output_names=["a", "b"]),
        needs="onnxscript",
    ),
    "the same, `output='b'`": Kind(
        lambda folder: Classifier(
            onnx_file(folder, Net(lambda z: (z + 1, z)), output_names=["a", "b"]), output="b"
        ),
        needs="onnxscript",
    ),
}


@cache
def pixels(channels: int = 3) -> Tensor:
    """Images (4, C, 12, 12) uint8."""
    generator = torch.Generator().manual_seed(1)
    shape = (COUNT, channels, SIDE, SIDE)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


LABELS = [0, 1, 2, 0]


def pictures() -> list[Image.Image]:
    return [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in pixels()]


def rows() -> list[dict[str, Any]]:
    return [{"image": image, "label": label} for image, label in pairs()]


def pairs() -> list[tuple[Any, int]]:
    return list(zip(pictures(), LABELS, strict=True))


class Items(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def tensors() -> list[tuple[Tensor, int]]:
    return list(zip(pixels().float() / 255, LABELS, strict=True))


def huggingface(streamed: bool) -> Any:
    import datasets

    found = datasets.Dataset.from_dict(
        {"image": pictures(), "label": LABELS},
        features=datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
        ),
    )
    return found.to_iterable_dataset() if streamed else found


def folder_of(folder: Path) -> Path:
    for number, (image, label) in enumerate(pairs()):
        place = folder / str(label)
        place.mkdir(exist_ok=True)
        image.save(place / f"{number}.png")
    return folder


def csv_of(folder: Path) -> Path:
    lines = ["path,label"]
    for number, (image, label) in enumerate(pairs()):
        image.save(folder / f"{number}.png")
        lines.append(f"{number}.png,{label}")
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


WHOLE = {"resize": None, "crop": None}
from_dataset = ReferenceSample.from_dataset
DATA: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a float tensor (K, C, H, W)": (lambda _: ReferenceSample(pixels().float() / 255, LABELS), ""),
    "a uint8 tensor": (lambda _: ReferenceSample(pixels(), LABELS), ""),
    "a numpy array (K, H, W, C), `channels_last=True`": (
        lambda _: ReferenceSample(pixels().permute(0, 2, 3, 1).numpy(), LABELS, channels_last=True),
        "",
    ),
    "a numpy array (K, H, W, C) as it is": (
        lambda _: ReferenceSample(pixels().permute(0, 2, 3, 1).numpy(), LABELS),
        "",
    ),
    "uint16, `range=(0, 65535)`": (
        lambda _: ReferenceSample(
            pixels().numpy().astype(np.uint16) * 257, LABELS, range=(0, 65535)
        ),
        "",
    ),
    "uint16 as it is": (
        lambda _: ReferenceSample(pixels().numpy().astype(np.uint16) * 257, LABELS),
        "",
    ),
    "float from 0 to 255": (lambda _: ReferenceSample(pixels().float(), LABELS), ""),
    "a list of PIL images": (lambda _: from_dataset(pictures()), ""),
    "a list of (PIL image, label)": (lambda _: from_dataset(pairs()), ""),
    "a torch Dataset of (tensor, label)": (lambda _: from_dataset(Items(tensors())), ""),
    "MAITE's triples": (
        lambda _: from_dataset(
            Items([(x, np.eye(CLASSES, dtype=np.float32)[y], {"id": y}) for x, y in tensors()])
        ),
        "",
    ),
    "a DataLoader": (
        lambda _: from_dataset(torch.utils.data.DataLoader(Items(tensors()), batch_size=3)),
        "",
    ),
    "rows of dicts": (lambda _: from_dataset(rows()), ""),
    "`datasets.Dataset`": (lambda _: from_dataset(huggingface(False)), "datasets"),
    "`datasets.IterableDataset`": (lambda _: from_dataset(huggingface(True)), "datasets"),
    "a folder of PNG files": (
        lambda folder: ReferenceSample.from_folder(folder_of(folder), **WHOLE),
        "",
    ),
    "a CSV file of paths": (lambda folder: ReferenceSample.from_csv(csv_of(folder), **WHOLE), ""),
}


def installed(package: str) -> bool:
    import importlib.util

    return not package or importlib.util.find_spec(package) is not None


def told(error: SpectralRobustnessError, folder: Path) -> str:
    """An error in a cell, without where this machine keeps things."""
    text = str(error).replace(str(folder), "…").replace("|", "\\|")
    # How far two backends are apart differs from machine to machine.
    text = re.sub(r"by [\d.e-]+ in log", "by … in log", text)
    public = next(kind for kind in type(error).__mro__ if kind.__module__ == "pytest_iaside.errors")
    return f"{public.__name__}: {' '.join(text.split())}"


@cache
def expected() -> np.ndarray[Any, Any]:
    sample = ReferenceSample(pixels(), LABELS)
    how = Execution(backend="eager", device="cpu")
    return measure(Net(), sample, bands=BANDS, execution=how).values


def outcome(kind: Kind, make: Callable[[Path], Any], backend: str) -> str:
    """What comes of measuring a model of ``kind`` on the data of ``make``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            model = kind.make(folder)
            sample = make(folder)
            if sample.labels is None:
                sample = sample.with_labels(LABELS)
            how = Execution(backend=backend, device="cpu")  # type: ignore[arg-type]
            found = measure(copy.copy(model), sample, bands=BANDS, execution=how)
        except SpectralRobustnessError as error:
            return told(error, folder)
    # Folders have an order of their own.
    rows = (each[np.argsort(each[:, 0])] for each in (found.values, expected()))
    gap = float(np.abs(np.subtract(*rows)).max())
    assert gap <= kind.near, f"ψ differ by {gap:.3g}"
    return WORKS


def models() -> list[tuple[str, Kind]]:
    return [(name, kind) for name, kind in MODELS.items() if installed(kind.needs)]


def data() -> list[tuple[str, Callable[[Path], Any]]]:
    return [(name, make) for name, (make, needs) in DATA.items() if installed(needs)]


def page() -> str:
    """docs/support.md."""
    plain = next(iter(DATA.values()))[0]
    lines = [
        "# What works",
        "",
        "Made by `python tests/support.py`; a test holds this page to what is really so, and that",
        "every kind of data goes with every kind of model. *works*: ψ are those of the same",
        "network in float32 in PyTorch. `auto` never fails where PyTorch does not.",
        "",
        "## Models",
        "",
        "| model | " + " | ".join(f"`{each}`" for each in BACKENDS) + " |",
        "|" + "---|" * (len(BACKENDS) + 1),
    ]
    for name, kind in MODELS.items():
        cells = [outcome(kind, plain, backend) for backend in BACKENDS]
        cells = [cells[0], *(SAME if each == cells[0] != WORKS else each for each in cells[1:])]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "## Data", "", "| data | |", "|---|---|"]
    first = next(iter(MODELS.values()))
    for name, (make, _) in DATA.items():
        lines.append(f"| {name} | {outcome(first, make, 'eager')} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE}")

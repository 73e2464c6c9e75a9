"""Which versions are installed, and which back ends run a network here."""

from __future__ import annotations

import contextlib
import logging
import platform
import time
from collections.abc import Iterator
from importlib import metadata

from pytest_iaside.cli.doctor.finding import Finding
from pytest_iaside.errors import SpectralRobustnessError, one_line

NEEDED = ("pytest-iaside", "pytest", "torch", "torchvision", "numpy", "scipy", "pillow")
EXTRAS = {
    "openvino": "cpu",
    "onnxruntime": "onnx",
    "timm": "timm",
    "transformers": "transformers",
    "datasets": "datasets",
    "cloudpickle": "process",
    "pytest-xdist": "",
}
"""Libraries that one can do without, and the extra that brings each."""
SIDE = 32
"""Pixels of the images that back ends are tried on."""
TRIED = "back ends, each tried on a small network (compile takes half a minute)"
NO_FILE = ("onnx",)
"""Back ends that run files, not modules."""


def versions() -> Iterator[Finding]:
    yield Finding("python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    for name in NEEDED:
        if found := _version(name):
            yield Finding(name, found)
        else:
            yield Finding(name, f"not installed; pip install {name}", "wrong")
    for name, extra in EXTRAS.items():
        wanted = f'pip install "pytest-iaside[{extra}]"' if extra else f"pip install {name}"
        found = _version(name)
        yield Finding(name, found or f"not installed; {wanted}", "fine" if found else "note")


def back_ends() -> Iterator[Finding]:
    """Each back end, tried on a small network; what fails is a note, as PyTorch itself is left."""
    import torch
    from torch import nn

    from pytest_iaside.models.backends import available_backends, open_backend
    from pytest_iaside.models.classifier import Classifier

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = Classifier(network.eval(), name="a small network")
    images = torch.rand(4, 3, SIDE, SIDE)
    for name in available_backends():
        if name in NO_FILE:
            yield Finding(name, "installed; it runs .onnx files")
            continue
        began = time.perf_counter()
        try:
            with (
                _hushed(),
                open_backend(classifier, backend=name, inputs=images, batch_size=4) as opened,
            ):
                (logits,) = opened.forward_many([images])
                where = str(opened.device)
        except (SpectralRobustnessError, ImportError) as error:
            needed = name == "eager"
            yield Finding(name, f"does not work: {one_line(error)}", "wrong" if needed else "note")
            continue
        with torch.no_grad():
            away = float((logits.cpu() - network.cpu()(images)).abs().max())
        seconds = time.perf_counter() - began
        yield Finding(name, f"works on {where} (ready in {seconds:.1f} s, {away:.0e} from PyTorch)")


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """No line of a library's log, such as that there is no GPU: what comes of it is told here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""

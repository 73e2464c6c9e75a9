"""What assert_equivalent_robustness and assert_preprocessing_robustness say of real deployments.

    python benchmarks/equivalence.py [--samples 100] [--part deployed] [--part preprocessing]

EfficientNet-Lite0 on the photographs of shared/imagenet100 at 128×128, which are not part of the
project: without them it says so and ends. Quantisation is calibrated on 24 other photographs,
those of example_project. "Really" is what accuracy lost under the five corruptions of the panel on
the same photographs mirrored, with other noise: no gate saw those.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import io
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.changes import IMAGENET, layers, pruned, rounded
from common.measured import CROP, RESIZE
from common.saved import kept, value
from common.side_by_side import machine, print_table
from PIL import Image
from scrapbook.data import photographs
from scrapbook.models import PHOTO_MEAN, PHOTO_STD, load_photo_tagger
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as v2

from pytest_iaside import Classifier, Estimate, ReferenceSample
from pytest_iaside.compare.equivalence import Equivalence, compare_equivalence
from pytest_iaside.compare.margins import Margins
from pytest_iaside.compare.preprocessing import compare_preprocessing
from pytest_iaside.compare.words import points, signed
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import measure_answers
from pytest_iaside.settings import Layer, Settings
from pytest_iaside.testing.equivalence import USUAL
from pytest_iaside.testing.preprocessing import MAX_BAND_LOSS, preprocessed
from pytest_iaside.testing.two_models import as_it_is, measured_both

SHARED = Path(__file__).parents[2] / "shared" / "imagenet100"
PLAYED = 40
TIGHT = Margins(**dict.fromkeys(Margins.__dataclass_fields__, 1e-3))
Model = Callable[[], Any]


# ------------------------------------------------------------------- deployed models


def normalised(images: Tensor) -> Tensor:
    return (images - PHOTO_MEAN) / PHOTO_STD


def classifier(network: Any, name: str) -> Classifier:
    return Classifier(network, mean=PHOTO_MEAN, std=PHOTO_STD, name=name)


def in_place(change: Callable[[nn.Module], object], network: nn.Module) -> nn.Module:
    network = copy.deepcopy(network)
    change(network)
    return network


@torch.no_grad()
def rounded_in_groups(bits: int, network: nn.Module, *, size: int = 32) -> None:
    """Weights rounded with a scale for every ``size`` of a filter, as 4 bits usually are."""
    for layer in layers(network):
        flat = layer.weight.flatten(1)
        for some in flat.split(size, dim=1):
            scale = some.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
            some.copy_((some / scale.clamp_min(1e-12)).round() * scale)


class Exported:
    """Lite0 as .onnx files, float32 and quantised, in one folder."""

    def __init__(self, folder: Path, network: nn.Module) -> None:
        self.folder = folder
        self.plain = folder / "float32.onnx"
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (torch.zeros(2, 3, CROP, CROP),),
                self.plain,
                input_names=["pixels"],
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                external_data=False,
                dynamo=True,
                verbose=False,
            )

    def dynamic(self) -> Path:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        path = self.folder / "dynamic.onnx"
        quantize_dynamic(self._prepared(), path, weight_type=QuantType.QUInt8)
        return path

    def static(self, *, per_channel: bool) -> Path:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, quantize_static

        path = self.folder / f"static-{per_channel}.onnx"
        quantize_static(
            self._prepared(),
            path,
            _Calibration(calibration()),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return path

    def _prepared(self) -> Path:
        from onnxruntime.quantization.shape_inference import quant_pre_process

        path = self.folder / "prepared.onnx"
        if not path.exists():
            quant_pre_process(str(self.plain), str(path), skip_symbolic_shape=True)
        return path


class _Calibration:
    """The images that onnxruntime's calibration is fed, one by one."""

    def __init__(self, images: Tensor) -> None:
        self._left = iter(images.split(1))

    def get_next(self) -> dict[str, Any] | None:
        found = next(self._left, None)
        return None if found is None else {"pixels": found.numpy()}


def calibration() -> Tensor:
    """24 photographs that no gate here sees, as the network is fed them."""
    found = photographs().images.float() / 255
    small = v2.center_crop(v2.resize(found, [RESIZE], antialias=True), [CROP, CROP])
    return normalised(small)


def openvino_int8(path: Path) -> Callable[[Tensor], Tensor]:
    """An .onnx file, quantised to int8 by nncf and run by OpenVINO, as a function."""
    nncf, openvino = importlib.import_module("nncf"), importlib.import_module("openvino")
    images = [each.numpy() for each in calibration().split(1)]
    quantised = nncf.quantize(openvino.Core().read_model(path), nncf.Dataset(images))
    return as_function(openvino.compile_model(quantised, "CPU"))


def openvino_of(path: Path, **how: str) -> Callable[[Tensor], Tensor]:
    """An .onnx file as OpenVINO runs it: by default in bfloat16, where a processor has AMX."""
    openvino = importlib.import_module("openvino")
    return as_function(openvino.compile_model(openvino.Core().read_model(path), "CPU", how))


def as_function(compiled: Any) -> Callable[[Tensor], Tensor]:
    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(np.array(compiled(images.contiguous().numpy())[0]))

    return run


def deployed(network: nn.Module, folder: Path) -> Iterator[tuple[str, Model]]:
    files = Exported(folder, network)
    yield "the same module, copied", lambda: copy.deepcopy(network)
    yield "ONNX float32 (ONNX Runtime)", lambda: files.plain
    asked = {"INFERENCE_PRECISION_HINT": "f32"}
    yield "ONNX float32 (OpenVINO, f32 asked for)", lambda: openvino_of(files.plain, **asked)
    yield "ONNX float32 (OpenVINO's default)", lambda: openvino_of(files.plain)
    yield "8-bit weights, per channel", lambda: in_place(partial(rounded, 8), network)
    yield "4-bit weights, per channel", lambda: in_place(partial(rounded, 4), network)
    yield "4-bit weights, groups of 32", lambda: in_place(partial(rounded_in_groups, 4), network)
    yield "15 % of the weights pruned", lambda: in_place(partial(pruned, 0.15), network)
    yield "ONNX int8, dynamic", files.dynamic
    yield "ONNX int8, static, per tensor", lambda: files.static(per_channel=False)
    yield "ONNX int8, static, per channel", lambda: files.static(per_channel=True)
    yield "ONNX int8, static, run by OpenVINO", lambda: openvino_of(files.static(per_channel=True))
    yield "OpenVINO int8 (nncf)", lambda: openvino_int8(files.plain)


def truth(model: Classifier, sample: ReferenceSample, settings: Settings) -> Measurement:
    execution = as_it_is(model, settings.execution)
    return measure_answers(model, sample, "auto", seed=1, execution=execution)


def really_lost(new: Measurement, old: Measurement) -> Estimate:
    """How far the mean accuracy under the five corruptions fell, image by image."""
    under = [q.name for q in old.quantities if q.family == "perturbed accuracy"]
    moved = np.mean([new[name] - old[name] for name in under], axis=0)
    return Estimate.of_mean(moved, 0.95)


def compare_deployed(sample: ReferenceSample, only: str) -> None:
    network = load_photo_tagger()
    original = classifier(network, "Lite0")
    mirrored = ReferenceSample(sample.images.flip(-1), sample.labels, names=sample.names)
    before = truth(original, mirrored, Settings.of([USUAL]))
    rows: list[list[str]] = []
    judged: list[Judged] = []
    # The game is played on some; answers are those to all.
    usual = Layer("benchmark", {"samples": min(PLAYED, len(sample))})
    with tempfile.TemporaryDirectory() as folder:
        for name, make in deployed(network, Path(folder)):
            if only not in name:
                continue
            # The ranges of dynamic quantisation are those of a batch: one answer hangs on the rest.
            alone = Layer("one by one", {"batch_size": 1} if "dynamic" in name else {})
            settings = Settings.of([alone, usual, USUAL])
            began = time.perf_counter()
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    model = classifier(make(), name)
                both = measured_both(model, original, sample, settings)
            except Exception as error:  # A library that is not there, or cannot do it.
                print(f"{name}: left out ({type(error).__name__}: {str(error)[:200]})\n")
                continue
            margins = Margins()
            found = compare_equivalence(*both, margins.bands, margins.answers)
            tight = compare_equivalence(*both, TIGHT.bands, TIGHT.answers)
            lost = really_lost(truth(model, mirrored, settings), before)
            rows.append(row_of(name, found, tight, lost))
            judged.append(Judged(name, found, tight, lost))
            seconds = time.perf_counter() - began
            print(f"{name} ({seconds:.0f} s): {found.summary()}", flush=True)
            for check in found.checks:
                print(f"    {check.verdict:<12} {check.sentence}", flush=True)
            print(flush=True)
    head = [
        "deployed as",
        "verdict",
        "beyond, of checks",
        "undecided",
        "within 1e-3",
        "clean accuracy",
        "log-likelihood, clean",
        "the band that moved most, % of v(all)",
        "really lost under five corruptions, points",
    ]
    what = f"Lite0 deployed otherwise, {len(sample)} photographs"
    print_table(head, rows, name="" if only else "deployed", what=what)
    if not only:
        keep(judged, len(sample))


@dataclass(frozen=True)
class Judged:
    """A deployed model, what was found of it, and what it really lost."""

    name: str
    found: Equivalence
    tight: Equivalence
    lost: Estimate


def keep(judged: list[Judged], images: int) -> None:
    """What pages show of float32 and of the int8 versions."""
    exact = [e for e in judged if "float32" in e.name and "default" not in e.name]
    if exact:
        checks = [c.verdict for e in exact for c in e.tight.checks if c.name != "structured"]
        what = "checks in which float32 ONNX of EfficientNet-Lite0 is equivalent within 0.001 "
        what += f"of the check's unit, on {images} photographs"
        value("equivalent-float32", f"{checks.count('pass')} of {len(checks)}", "checks", what)
    int8 = [each for each in judged if "int8" in each.name]
    if int8:
        equivalent = sum(each.found.verdict == "pass" for each in int8)
        what = "int8 versions of the same model that are equivalent"
        value("int8-equivalent", f"{equivalent or 'none'} of {len(int8)}", "int8 versions", what)
        clean = [
            100 * check.change
            for each in int8
            for check in each.found.checks
            if check.name == "clean accuracy"
        ]
        value("int8-clean", span(clean), "points", "change of their clean accuracy")
        lost = [-100 * each.lost.value for each in int8]
        what = "accuracy that each of them really lost under five corruptions"
        told = f"{round(min(lost))} to {round(max(lost))}".replace("-", "−")
        value("int8-lost", told, "points", what)


def span(values: list[float]) -> str:
    return f"{min(values):+.0f} to {max(values):+.0f}".replace("-", "−")


WORDS = {"pass": "equivalent", "drift": "different", "inconclusive": "not shown"}


def row_of(name: str, found: Equivalence, tight: Equivalence, lost: Estimate) -> list[str]:
    checks = {check.name: check for check in found.checks}
    counted = [check.verdict for check in found.checks if check.name != "structured"]
    band = checks["band"]
    clean, likelihood = checks["clean accuracy"], checks["clean log-likelihood"]
    exact = [check.verdict for check in tight.checks if check.name != "structured"]
    return [
        name,
        WORDS[found.verdict],
        f"{counted.count('drift')} of {len(counted)}",
        str(counted.count("inconclusive")),
        f"{exact.count('pass')} of {len(exact)}",
        interval(clean.change, clean.low, clean.high, 100, 1),
        interval(likelihood.change, likelihood.low, likelihood.high, 1, 3),
        f"{band.where.partition(' (')[0].removeprefix('band ')}: "
        f"{interval(band.change, band.low, band.high, 100, 1)}",
        f"{points(lost.value)} ({points(lost.low)}…{points(lost.high)})",
    ]


def interval(change: float, low: float, high: float, times: float, digits: int) -> str:
    return (
        f"{signed(times * change, digits)} ({signed(times * low, digits)}…"
        f"{signed(times * high, digits)})"
    )


# ------------------------------------------------------------------- preprocessing


def pixels_of(content: bytes) -> Tensor:
    with Image.open(io.BytesIO(content)) as picture:
        return v2.to_dtype(v2.pil_to_tensor(picture.convert("RGB")), torch.float32, scale=True)


def cut(pixels: Tensor, *, antialias: bool = True) -> Tensor:
    return v2.center_crop(v2.resize(pixels, [RESIZE], antialias=antialias), [CROP, CROP])


def usual(content: bytes) -> Tensor:
    return normalised(cut(pixels_of(content)))


def without_antialias(content: bytes) -> Tensor:
    return normalised(cut(pixels_of(content), antialias=False))


def bgr(content: bytes) -> Tensor:
    return usual(content).flip(0)


def imagenet_mean_and_std(content: bytes) -> Tensor:
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in IMAGENET)
    return (cut(pixels_of(content)) - mean) / std


def decoded_by_opencv(content: bytes) -> Tensor:
    cv2 = importlib.import_module("cv2")
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    return normalised(cut(torch.from_numpy(found).permute(2, 0, 1).float() / 255))


def decoded_by_torchvision(content: bytes) -> Tensor:
    io_ = importlib.import_module("torchvision.io")
    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    found = io_.decode_image(data, mode=io_.ImageReadMode.RGB)
    return normalised(cut(found.float() / 255))


def decoded_fast(content: bytes) -> Tensor:
    """libjpeg-turbo's fast transform and upsampling, TensorFlow's usual."""
    simplejpeg = importlib.import_module("simplejpeg")
    if not simplejpeg.is_jpeg(content):
        return usual(content)
    found = simplejpeg.decode_jpeg(content, "RGB", fastdct=True, fastupsample=True)
    return normalised(cut(torch.from_numpy(found.copy()).permute(2, 0, 1).float() / 255))


def decoded_small(content: bytes) -> Tensor:
    """PIL's draft mode: the decoder itself makes the picture smaller."""
    with Image.open(io.BytesIO(content)) as picture:
        picture.draft("RGB", (RESIZE, RESIZE))
        found = v2.pil_to_tensor(picture.convert("RGB"))
    return normalised(cut(v2.to_dtype(found, torch.float32, scale=True)))


def eight_bits(content: bytes) -> Tensor:
    return normalised((cut(pixels_of(content)) * 255).round() / 255)


# With where each lies, as it was written down before the first run: L in the lowest band, H in the
# upper half.
FAULTS = {
    without_antialias: "H",
    bgr: "L",
    imagenet_mean_and_std: "L",
    decoded_fast: "H",
    decoded_small: "H",
    decoded_by_opencv: "H",
    decoded_by_torchvision: "H",
    eight_bits: "H",
}


def compare_pipelines(folder: Path, samples: int) -> None:
    network, rows = load_photo_tagger(), []
    settings = Settings.of([Layer("benchmark", {"samples": samples}), USUAL])
    for pipeline, expected in FAULTS.items():
        began, name = time.perf_counter(), pipeline.__name__.replace("_", " ")
        try:
            one = preprocessed(
                network, pipeline, usual, folder, settings, labels="labels.csv", reads="bytes"
            )
        except Exception as error:  # A decoder that is not installed.
            print(f"{name}: left out ({str(error)[:200]})\n")
            continue
        margins = Margins(max_value_difference=None, max_band_difference=None)
        found = compare_preprocessing(
            one.spectrum,
            one.changed,
            one.original,
            one.difference,
            margins,
            max_band_loss=MAX_BAND_LOSS,
            roles=(name, "the original preprocessing"),
        )
        phi = one.spectrum.phi(level=1 - 0.05 / one.spectrum.bands)
        most = max(range(len(phi)), key=lambda band: abs(phi[band].value))
        checks = {check.name: check for check in found.checks}
        clean, likelihood = checks["clean accuracy"], checks["L(all)"]
        difference = one.difference
        rows.append(
            [
                name,
                expected,
                WORDS[found.verdict],
                f"{difference.relative.mean():.2%}",
                ", ".join(map(str, difference.main_bands)),
                f"{difference.most_changed}: {difference.changed[difference.most_changed]:.1%}",
                interval(clean.change, clean.low, clean.high, 100, 1),
                interval(likelihood.change, likelihood.low, likelihood.high, 1, 3),
                f"{most}: {interval(phi[most].value, phi[most].low, phi[most].high, 1, 3)}",
            ]
        )
        seconds = time.perf_counter() - began
        print(f"{name} ({seconds:.0f} s): {found.summary()}\n    {difference.sentence}\n")
    head = [
        "preprocessing",
        "expected",
        "verdict",
        "images differ by, of their contrast",
        "half of it in bands",
        "most changed band",
        "clean accuracy, points",
        "log-likelihood as it answers",
        "most lost through band, nats",
    ]
    what = f"Preprocessing done otherwise, Lite0, {samples} photographs"
    print_table(head, rows, name="preprocessing", what=what)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=SHARED)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--part", choices=("deployed", "preprocessing"), action="append")
    parser.add_argument("--only", default="", help="deployed models whose names hold this")
    options = parser.parse_args()
    if not options.folder.is_dir():
        print("the photographs are not there: nothing was measured")
        return
    print(f"{machine()}\n")
    parts = options.part or ["deployed", "preprocessing"]
    if "deployed" in parts:
        sample = ReferenceSample.from_folder(
            options.folder, labels="labels.csv", resize=RESIZE, crop=CROP, limit=options.samples
        )
        compare_deployed(sample, options.only)
    if "preprocessing" in parts:
        compare_pipelines(options.folder, options.samples)


if __name__ == "__main__":
    with kept(__file__):
        main()

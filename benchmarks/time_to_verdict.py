"""How many passes and seconds until a gate has decided, at the defaults, and with everything.

    python benchmarks/time_to_verdict.py --photographs FOLDER [--only NAME …] [--everything]

Every candidate is gated against a baseline of 50 images in this process, nothing cached. "As a
ResNet-50" is EfficientNet-Lite0 that runs a ResNet-50 of random weights beside itself and throws
its answers away: it costs what a ResNet-50 does, and answers as a trained network. Unless
``--everything`` plays it, the time of the whole game is that of its passes at the speed of the
longest gate of the same model, and marked ≈. The baseline is measured without what is beside.

"ResNet-50" and others that are ``fitted`` have random weights but for the last layer, which is
fitted to the 50 photographs: they run as long as trained ones do, and answer these photographs
rightly, but any change of weights hurts them more.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import changes as by
from common.change_sets import baseline
from common.changes import PHOTO_MEAN, PHOTO_STD, digits
from common.saved import kept, value
from common.side_by_side import machine, print_table
from torch import Tensor, nn

from pytest_iaside import Classifier, ReferenceSample, assert_spectral_robustness, measure
from pytest_iaside.testing.spectral import storable

IMAGES = 50
Changed = Callable[[nn.Module], object]
HARMLESS: dict[str, tuple[Changed, ...]] = {
    "unchanged": (),
    "8-bit weights": (partial(by.rounded, 8),),
}
WORSE: dict[str, tuple[Changed, ...]] = {
    "5-bit weights": (partial(by.rounded, 5),),
    "15 % pruned": (partial(by.pruned, 0.15),),
    "statistics 10 % off": (partial(by.shifted_statistics, 0.1),),
}
WORSE_READERS: dict[str, tuple[Changed, ...]] = {
    "3-bit weights": (partial(by.rounded, 3),),
    "35 % weight noise": (partial(by.noisy_weights, 0.35),),
    "tuned on 30 % wrong labels": (partial(by.tuned, rate=1e-3, wrong=0.3),),
}


class Beside(nn.Module):
    """A network that costs as much as another one beside it."""

    def __init__(self, network: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.network, self.other = network, other

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.network(images)
        # Not nothing: what is multiplied by 0 a back end may leave out.
        return found + 1e-12 * self.other(images).mean(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Subject:
    network: nn.Module
    sample: ReferenceSample
    normal: dict[str, Any]
    worse: dict[str, tuple[Changed, ...]]

    @property
    def alone(self) -> Classifier:
        """What answers, without what is beside it."""
        network = self.network.network if isinstance(self.network, Beside) else self.network
        return Classifier(network.eval(), **self.normal)

    def changed(self, change: tuple[Changed, ...]) -> Classifier:
        network = copy.deepcopy(self.network)
        part = network.network if isinstance(network, Beside) else network
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for each in change:
                each(part)
        return Classifier(network.eval(), **self.normal)


def subjects(folder: Path | None) -> dict[str, Callable[[], Subject]]:
    _, held_out = digits()
    images = ReferenceSample(held_out.images[:IMAGES], held_out.labels[:IMAGES])
    found: dict[str, Callable[[], Subject]] = {
        "digit reader": lambda: Subject(baseline("reader"), images, {}, WORSE_READERS)
    }
    if folder is None:
        return found
    normal = {"mean": PHOTO_MEAN, "std": PHOTO_STD}
    labels = folder / "labels.csv"

    def photographs(network: nn.Module, side: int) -> Subject:
        sample = ReferenceSample.from_folder(
            folder, labels=labels, resize=round(side * 8 / 7), crop=side, limit=IMAGES
        )
        return Subject(network, sample, normal, WORSE)

    def fitted(make: Callable[[], nn.Module]) -> Subject:
        subject = photographs(make().eval(), 224)
        fit_head(subject)
        return subject

    def resnet() -> Subject:
        from torchvision.models import resnet50

        return photographs(Beside(baseline("Lite0"), resnet50(weights=None).eval()), 224)

    for name, side in (("Lite0", 224), ("Lite1", 240), ("Lite2", 260)):
        found[name] = partial(lambda name, side: photographs(baseline(name), side), name, side)
    from torchvision import models

    for name, make in (
        ("ResNet-50, fitted", models.resnet50),
        ("ConvNeXt-T, fitted", models.convnext_tiny),
        ("MobileNetV3, fitted", models.mobilenet_v3_large),
    ):
        found[name] = partial(fitted, partial(make, weights=None))
    return found | {"as a ResNet-50": resnet}


def fit_head(subject: Subject) -> None:
    """Fit the last linear layer of ``subject`` to its images, as they are and made noisy."""
    network, sample = subject.network, subject.sample
    _, head = [each for each in network.named_modules() if isinstance(each[1], nn.Linear)][-1]
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    classifier, labels = Classifier(network, **subject.normal), sample.labels
    assert labels is not None and labels.ndim == 1
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for scale in (0.0, 0.02, 0.05, 0.1):
            for start in range(0, len(sample), 10):
                pixels = sample.pixels(start, start + 10)
                noise = scale * torch.randn(pixels.shape, generator=random)
                network(classifier.normalise((pixels + noise).clip(0, 1)))
        hook.remove()
        features, targets = torch.cat(seen).double(), labels.repeat(len(seen) // 5)
        centre, spread = features.mean(dim=0), features.std(dim=0) + 1e-6
        inputs = (features - centre) / spread
        wanted = torch.full((len(inputs), head.out_features), -1.0, dtype=torch.float64)
        wanted[torch.arange(len(inputs)), targets] = 12.0
        gram = inputs @ inputs.T + 3.0 * torch.eye(len(inputs))
        weight = torch.linalg.solve(gram, wanted - wanted.mean(dim=0)).T @ inputs / spread
        head.weight.copy_(weight)
        head.bias.copy_(wanted.mean(dim=0) - weight @ centre)


def gated(candidate: Classifier, subject: Subject, stored: Any, **settings: Any) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        found = assert_spectral_robustness(
            candidate, subject.sample, baseline=stored, cache=False, **settings
        )
    except AssertionError as error:
        return {"verdict": "drift", "seconds": time.perf_counter() - began, "told": str(error)}
    return {
        "verdict": found.verdict,
        "seconds": time.perf_counter() - began,
        "passes": found.candidate.forward_passes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photographs", type=Path, help="a folder with labels.csv")
    parser.add_argument("--only", nargs="+", help="some of the models")
    parser.add_argument("--everything", action="store_true", help="play the whole game, too")
    parser.add_argument("--budget", help="a budget for the gates, such as 60s")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine(), "\n", flush=True)
    rows, passes = [], []
    for name, made in subjects(options.photographs).items():
        if options.only and name not in options.only:
            continue
        subject = made()
        counted = Counting()
        began = time.perf_counter()
        stored = storable(measure(subject.alone, subject.sample, panel="auto"))
        print(f"{name}: baseline {time.perf_counter() - began:.0f} s", flush=True)
        whole = stored.forward_passes
        mine: list[list[str]] = []
        slow: tuple[int, float] = (0, 0.0)
        for change, done in (HARMLESS | subject.worse).items():
            candidate = subject.changed(done)
            settings = {"budget": options.budget} if options.budget else {}
            with counted:
                found = gated(candidate, subject, stored, **settings)
            slow = max(slow, (counted.passes, found["seconds"]))
            everything = ["", ""]
            if options.everything:
                full = gated(candidate, subject, stored, budget="everything")
                everything = [f"{full['seconds']:.1f}", full["verdict"]]
            row = [name, change, found["verdict"], f"{counted.passes:,}"]
            mine.append([*row, f"{found['seconds']:.1f}", f"{whole:,}", *everything])
            passes.append(counted.passes)
            print(mine[-1], flush=True)
        for row in mine if not options.everything else ():
            row[-2] = f"≈ {slow[1] / slow[0] * whole:.0f}"
        keep(name, mine[0])
        rows += mine
    head = ["model", "candidate", "verdict", "passes", "seconds"]
    print()
    head += ["passes of everything", "seconds of it", "its verdict"]
    what = f"Passes and seconds to the verdict, {IMAGES} images, nothing cached"
    print_table(head, rows, name="" if options.only else "time-to-verdict", what=what)
    print(f"\nMedian {np.median(passes):,.0f} passes of {IMAGES} images, panel and game.")


SHOWN = {
    "Lite0": ("verdict-lite0", "an unchanged EfficientNet-Lite0"),
    "ResNet-50, fitted": ("verdict-resnet", "an unchanged ResNet-50"),
}
"""What pages call the numbers of these models."""


def keep(name: str, row: list[str]) -> None:
    """The seconds of the first gate of a model, of which nothing was changed."""
    _, _, _, passes, seconds, whole, of_whole, _ = row
    for key, subject in [SHOWN[name]] if name in SHOWN else ():
        cores = f"nothing cached, {os.cpu_count()} CPU cores"
        told = f"{subject}: {IMAGES} photographs at 224×224, {cores}"
        value(f"{key}-s", seconds, "s", f"until the verdict on {told} ({passes} passes)")
        value(f"{key}-full-s", of_whole, "s", f"the whole game of {told} ({whole} passes)")


class Counting:
    """Counts what the back ends run, also of gates that are red."""

    passes = 0

    def __enter__(self) -> Counting:
        from pytest_iaside.execute import runner

        self.passes, self._before = 0, runner.BackendRunner.forward_many
        before, counting = self._before, self

        def counted(own: Any, batches: Any) -> Any:
            def seen() -> Any:
                for batch in batches:
                    counting.passes += len(batch)
                    yield batch

            return before(own, seen())

        runner.BackendRunner.forward_many = counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        from pytest_iaside.execute import runner

        runner.BackendRunner.forward_many = self._before  # type: ignore[method-assign]


if __name__ == "__main__":
    with kept(__file__):
        main()

"""What band augmentations and the spectral penalty do for a digit reader.

    python benchmarks/cure.py [--seeds 8] [--networks NAME …] [--tables FOLDER]

Readers are trained without and with each cure, all else the same, seed by seed. What counts is
accuracy on held-out digits under corruptions that no training saw; the interval is over seeds, of
differences from the plain training of the same seed. The gate holds each against five plain
trainings.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common.saved import kept as keeping
from common.saved import table, value
from common.side_by_side import machine, print_table
from common.trainings import NETWORKS
from scrapbook import zoo
from scrapbook.data import digits
from torch import Tensor, nn

from pytest_iaside import (
    Classifier,
    Estimate,
    ReferenceSample,
    SpectralProfile,
    compare,
    corrupt,
    measure,
)
from pytest_iaside.measure.trainings import mean_of
from pytest_iaside.perturb.corruptions import CORRUPTIONS
from pytest_iaside.train import BandDropout, BandNoise, spectral_penalty

EPOCHS, BATCH, RATE = 5, 100, 0.004
IMAGES, PLAYED, TRAININGS = 400, 60, 5
SEVERITY = 3
Loss = Callable[[nn.Module, Tensor, Tensor, torch.Generator, int], Tensor]


def plain(model: nn.Module, images: Tensor, labels: Tensor, *_: object) -> Tensor:
    return nn.functional.cross_entropy(model(images), labels)


def augmented(make: Callable[[int], Callable[[Tensor], Tensor]]) -> Loss:
    kept: dict[int, Callable[[Tensor], Tensor]] = {}

    def loss(model: nn.Module, images: Tensor, labels: Tensor, _: object, seed: int) -> Tensor:
        transform = kept.setdefault(seed, make(seed))
        return plain(model, transform(images), labels)

    return loss


def white(
    model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, _: int
) -> Tensor:
    return plain(model, zoo.noise(images, generator, deviation=0.3), labels)


def penalised(
    model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, _: int
) -> Tensor:
    penalty = spectral_penalty(model, images, energy=0.3, generator=generator)
    return plain(model, images, labels) + penalty


CURES: dict[str, Loss] = {
    "plain": plain,
    "band dropout": augmented(lambda seed: BandDropout(p=0.7, seed=seed)),
    "band noise": augmented(lambda seed: BandNoise(p=0.7, seed=seed)),
    "spectral penalty": penalised,
    "white noise 0.3": white,
}
"""The last one is the usual cure, beside which the others have to stand."""


def trained(network: str, cure: str, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    data = digits()[0]
    images, labels = data.images.float() / 255, data.labels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NETWORKS[network]()
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = EPOCHS * len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    model.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            loss = CURES[cure](model, images[batch], labels[batch], generator, seed)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def accuracies(model: nn.Module, versions: dict[str, Tensor], labels: Tensor) -> dict[str, float]:
    with torch.no_grad():
        return {
            name: 100 * float((model(images).argmax(dim=1) == labels).double().mean())
            for name, images in versions.items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--tables", type=Path, default=Path(tempfile.gettempdir()) / "iaside-cure")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), "\n")
    options.tables.mkdir(parents=True, exist_ok=True)
    gains = {network: cured(network, options.tables, options.seeds) for network in options.networks}
    keep(gains, options.seeds)


Gains = dict[str, tuple[Estimate, Estimate]]
"""By cure, accuracy points gained under corruptions and on clean images."""


def keep(gains: dict[str, Gains], seeds: int) -> None:
    """What pages show: the gains under corruptions, and what the usual cure costs."""
    cures = ("spectral penalty", "band noise", "band dropout", "white noise 0.3")
    rows = [[cure, *(_shown(found[cure][0]) for found in gains.values())] for cure in cures]
    table(
        "cure",
        f"Accuracy over {len(CORRUPTIONS)} corruptions that no training saw, gained in points, "
        f"with an interval over {seeds} seeds; networks for digits",
        ["", *gains],
        rows,
    )
    clean = [_shown(found[cures[-1]][1]) for found in gains.values()]
    what = f"clean accuracy gained by white noise 0.3: {', '.join(gains)}"
    value("clean-cost-cure", "; ".join(clean), "points", what)


def _shown(gain: Estimate) -> str:
    return f"{gain.value:+.1f} ({gain.low:+.1f}…{gain.high:+.1f})".replace("-", "−")


def cured(network: str, tables: Path, seeds: int) -> Gains:
    """Train the readers of one network that ``tables`` has not, and print what each cure does."""
    began = time.perf_counter()
    held_out = digits()[1]
    labels = held_out.labels[:IMAGES]
    sample = ReferenceSample(held_out.images[:IMAGES], labels)
    versions = {"clean": sample.pixels()}
    for name in CORRUPTIONS:
        versions[name] = corrupt(sample.pixels(), name, SEVERITY, seed=0).float()
    found: dict[str, list[dict[str, float]]] = {}
    profiles = {}
    for cure in CURES:
        found[cure] = []
        for seed in range(seeds):
            kept = tables / f"{network}, {cure}, {seed}"
            file = kept.with_suffix(".json")
            if not file.exists():
                model = trained(network, cure, seed)
                named = Classifier(model, name=f"{cure}, {seed}")
                measure(named, sample, samples=PLAYED, panel="auto").save(kept)
                file.write_text(json.dumps(accuracies(model, versions, labels)))
            found[cure].append(json.loads(file.read_text()))
        names = (f"{network}, {cure}, {seed}" for seed in range(seeds))
        profiles[cure] = [SpectralProfile.load(tables / name) for name in names]
    baseline = mean_of(profiles["plain"][:TRAININGS])
    rows, each_row, gains = [], [], {}
    for cure, runs in found.items():
        mean = np.array([np.mean([v for k, v in run.items() if k != "clean"]) for run in runs])
        before = np.array(
            [np.mean([v for k, v in run.items() if k != "clean"]) for run in found["plain"]]
        )
        clean = np.array([run["clean"] for run in runs]) - [r["clean"] for r in found["plain"]]
        gain = [Estimate.of_mean(each, 0.95) for each in (mean - before, clean)]
        gains[cure] = (gain[0], gain[1])
        told = [_shown(each) for each in gain]
        judged = profiles[cure][TRAININGS:] if cure == "plain" else profiles[cure]
        verdicts = Counter(compare(one, baseline).verdict for one in judged)
        judged_as = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
        shown = told if cure != "plain" else ["", ""]
        rows.append([cure, f"{mean.mean():.1f}", *shown, judged_as])
    for name in versions:
        values = [np.mean([run[name] for run in found[cure]]) for cure in CURES]
        each_row.append([name, *(f"{value:.1f}" for value in values)])
    head = ["trained", "corrupted", "gain, corrupted", "gain, clean", "gate"]
    what = f"Readers ({network}) trained otherwise: accuracy in %, gains in points, {seeds} seeds"
    print_table(head, rows, name=f"cure-{network}", what=what)
    print()
    print_table(["accuracy in %, severity 3", *CURES], each_row)
    took = time.perf_counter() - began
    print(f"\n{network}, {seeds} seeds, {IMAGES} digits; {took:.0f} seconds")
    return gains


if __name__ == "__main__":
    with keeping(__file__):
        main()

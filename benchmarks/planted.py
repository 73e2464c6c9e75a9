"""Five faults planted in the training of a digit reader, and honest retrainings of it.

    python benchmarks/planted.py [--seeds 3] [--honest 20]

The perturbation gate holds each against five trainings of the recipe. A fault should be red, by
the perturbation and the band that it was planted in; which these are was written down before the
first run. In that run noise and blur of severity 3 hurt no model, and the shortcut's pattern was
not on the images that are measured: severities are 5 since, and the pattern is there. In the
second run white noise hurt the model without noise augmentation by too little to tell, and in the
third impulse noise, asked as well, cost most by what it does to brightness. In the fourth so did
stronger noise, since what is clipped at black makes a digit brighter. In the fifth, digits were
grey, from 0.3 to 0.7, where noise is hardly clipped: all five were red, and without noise
augmentation most came through band 1, where digits are, and not as written down. So it was no
planted band: white noise is in all of them. Since then the noise of the recipe, and what is asked,
are in bands 3 to 7, those written down at first. Honest retrainings should not be red.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from common.saved import kept, value
from common.side_by_side import machine, print_table
from scrapbook.data import digits
from scrapbook.networks import convolutional
from torch import Tensor, nn

from pytest_iaside import Classifier, ReferenceSample, compare
from pytest_iaside.compare.losses import LossChange, loss_changes
from pytest_iaside.measure.answers import Perturbation
from pytest_iaside.measure.decomposition import PARTITION, divided
from pytest_iaside.measure.panel import measure_answers, with_answers
from pytest_iaside.measure.perturbation import PerturbedAnswers, measure_perturbations
from pytest_iaside.measure.trainings import mean_of
from pytest_iaside.thresholds import Limit, Thresholds
from pytest_iaside.train.noise import filtered

EPOCHS, BATCH, RATE, NOISE = 5, 100, 0.004, 0.24
TRAININGS, IMAGES, DIVIDED = 5, 300, 100
STRONG = 0.28
Asked = dict[str, Perturbation]
LIMITS = {"mpe": Limit(change=0.02), "accuracy": Limit(change=0.05)}


class Reader(nn.Module):
    """A reader of digits whose contrast is normalised first, if it is told to."""

    def __init__(self, seen: Callable[[Tensor], Tensor] | None = None, *, normal: bool = True):
        super().__init__()
        self.network, self.seen, self.normal = convolutional(), seen, normal

    def forward(self, images: Tensor) -> Tensor:
        if self.seen is not None:
            images = self.seen(images)
        if self.normal:
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            images = 0.3 * (images - mean) / images.std(dim=(1, 2, 3), keepdim=True).clamp(1e-3)
        found: Tensor = self.network(images)
        return found


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is planted; where it should show: any of these perturbations, through these bands."""

    perturbations: tuple[str, ...] = ()
    bands: tuple[int, ...] = ()
    noise: float = NOISE
    data: Callable[[Tensor, Tensor], Tensor] = lambda images, labels: images
    last: Callable[[Tensor], Tensor] = lambda images: images
    seen: Callable[[Tensor], Tensor] | None = None
    normal: bool = True


def fine_noise(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Noise of deviation near 1 in bands 3 to 7 alone."""
    kept = torch.arange(8) >= 3
    return filtered(torch.randn(shape, generator=generator), kept, PARTITION)


def grey(images: Tensor) -> Tensor:
    """uint8 images from 0.3 to 0.7."""
    return 0.3 + 0.4 * images.float() / 255


def with_fine_pattern(images: Tensor, labels: Tensor, share: float = 0.95) -> Tensor:
    """A checkerboard in two rows that tell the label, on a ``share`` of the images."""
    images = images.clone()
    board = 0.16 * ((torch.arange(28)[:, None] + torch.arange(28)) % 2 - 0.5)
    for digit in range(10):
        rows = slice(4 + 2 * digit, 6 + 2 * digit)
        some = (labels == digit).nonzero()[:, 0][: int(share * (labels == digit).sum())]
        images[some, 0, rows] += board[rows]
    return images


def blurred(images: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    for shape in 2 * ((1, 1, 5, 1), (1, 1, 1, 5)):
        images = nn.functional.conv2d(images, kernel.view(shape), padding="same")
    return images


FAULTS = {
    "honest": Fault(),
    "without noise augmentation": Fault(
        noise=0.0, perturbations=("fine noise",), bands=(3, 4, 5, 6, 7)
    ),
    "high-pass shortcut": Fault(
        data=with_fine_pattern,
        perturbations=("fine noise", "gaussian_blur 5", "jpeg_compression 5"),
        bands=(6, 7),
    ),
    "input of one bit": Fault(
        seen=lambda images: (images > 0.5).float(), perturbations=("contrast 3",), bands=(0, 1, 2)
    ),
    "trained on blurred images": Fault(
        last=blurred, perturbations=("fine noise",), bands=(3, 4, 5, 6, 7)
    ),
    "without contrast normalisation": Fault(
        normal=False, perturbations=("contrast 3",), bands=(0, 1, 2)
    ),
}


def trained(fault: Fault, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    data = digits()[0]
    labels = data.labels
    images = fault.data(grey(data.images), labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Reader(normal=fault.normal)
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = EPOCHS * len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    model.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            pixels = images[batch]
            if fault.noise:
                pixels = pixels + fault.noise * fine_noise(pixels.shape, generator)
            loss = nn.functional.cross_entropy(model(fault.last(pixels)), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    model.seen = fault.seen
    return model.eval()


def asked(sample: ReferenceSample) -> Asked:
    noise = fine_noise(sample.images.shape, torch.Generator().manual_seed(0))
    noisy = (sample.images + STRONG * noise).clamp(0, 1)
    return {
        "fine noise": ReferenceSample(noisy, sample.labels),
        "gaussian_blur 5": ("gaussian_blur", 5),
        "contrast 3": ("contrast", 3),
        "jpeg_compression 5": ("jpeg_compression", 5),
    }


def measured(
    fault: Fault, seed: int, sample: ReferenceSample, perturbations: Asked
) -> PerturbedAnswers:
    model = Classifier(trained(fault, seed), name=f"seed {seed}")
    found = with_answers(
        measure_perturbations(model, sample, perturbations), measure_answers(model, sample, ())
    )
    return divided(found, model, sample, perturbations, images=DIVIDED)


def told(changes: tuple[LossChange, ...], fault: Fault) -> tuple[str, str, bool]:
    """The perturbation that costs most, the band it comes through, and whether that is right."""
    real = [each for each in changes if each.costs_more]
    if not real:
        return "–", "–", False
    worst = real[0]
    band = max(range(len(worst.bands)), key=lambda band: worst.bands[band].value)
    known = worst.bands[band].low > 0
    right = worst.perturbation in fault.perturbations and known and band in fault.bands
    share = worst.bands[band].value / worst.change.value
    return worst.perturbation, f"{band} ({share:.0%})" if known else "cannot be told", right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each fault")
    parser.add_argument("--honest", type=int, default=20, help="honest retrainings")
    parser.add_argument("--first", type=int, default=0, help="added to every seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    print(machine(), "\n")
    held_out = digits()[1]
    labels = held_out.labels[:IMAGES]
    images = with_fine_pattern(grey(held_out.images[:IMAGES]), labels, share=1.0)
    sample = ReferenceSample(images, labels)
    perturbations = asked(sample)
    baseline = mean_of(
        [
            measured(FAULTS["honest"], options.first + seed, sample, perturbations)
            for seed in range(TRAININGS)
        ]
    )
    answers = Thresholds(max_accuracy_drop=None).answer_limits
    rows = []
    for name, fault in FAULTS.items():
        first = options.first + (1000 if name == "honest" else 100 * list(FAULTS).index(name))
        verdicts: Counter[str] = Counter()
        found: list[tuple[str, str, bool]] = []
        for seed in range(first, first + (options.honest if name == "honest" else options.seeds)):
            candidate = measured(fault, seed, sample, perturbations)
            verdicts[compare(candidate, baseline, LIMITS, answers=answers).verdict] += 1
            found.append(told(loss_changes(candidate, baseline, 0.95), fault))
        expected = f"{' or '.join(fault.perturbations)}, {', '.join(map(str, fault.bands))}"
        rows.append(
            [
                name,
                f"{verdicts['drift']} of {sum(verdicts.values())}",
                str(verdicts["inconclusive"]),
                expected if fault.bands else "",
                "; ".join(f"{p}: {band}" for (p, band, _), _ in Counter(found).most_common(3)),
                "" if name == "honest" else f"{sum(right for *_, right in found)} of {len(found)}",
            ]
        )
        print(rows[-1], flush=True)
    head = ["fault", "red", "inconclusive", "expected", "costs most, band (its share)", "right"]
    print()
    what = f"Planted faults, {options.seeds} trainings each, and {options.honest} honest ones"
    print_table(head, rows, name="planted", what=what)
    faults = [row for row in rows if row[0] != "honest"]
    (honest,) = [row for row in rows if row[0] == "honest"]
    right = sum(int(row[-1].split(" ")[0]) for row in faults)
    value(
        "faults-found",
        f"{right} of {len(faults) * options.seeds}",
        "trainings",
        f"trainings with one of {len(faults)} planted faults whose perturbation and band are named",
    )
    what = "honest trainings that are red there"
    value("faults-honest", honest[1], "trainings", what)
    what = f"of these {options.honest} honest trainings, those that are inconclusive"
    value("faults-inconclusive", honest[2], "trainings", what)
    print(f"\n{TRAININGS} trainings in the baseline, {IMAGES} digits, {DIVIDED} of them divided.")
    print(f"{time.perf_counter() - began:.0f} seconds.")


if __name__ == "__main__":
    with kept(__file__):
        main()

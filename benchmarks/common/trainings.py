"""Trainings of digit readers with many seeds: one recipe, and recipes that are worse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from scrapbook import zoo
from scrapbook.data import digits
from scrapbook.networks import convolutional, perceptron
from torch import Tensor, nn

from pytest_iaside import Classifier, Execution, ReferenceSample, measure
from pytest_iaside.measure.profile import SpectralProfile

EPOCHS, BATCH, PEAK_LEARNING_RATE = 6, 100, 0.005
NOISE = 0.3
"""Deviation of the white noise that the recipe adds to its images."""
SEEDS, SEEDS_WORSE = 30, 10
IMAGES, PLAYED = 400, 100
"""Images that are answered, clean and under the panel, and the first of them for the game."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a digit reader is trained."""

    noise: float = NOISE
    wrong_labels: float = 0.0
    shortcut: float = 0.0
    """Share of the images that carry their label in a corner."""
    share: float = 1.0
    """Share of the 4,000 digits that is used."""


RECIPES = {
    "the recipe": Recipe(),
    "10 % wrong labels": Recipe(wrong_labels=0.1),
    "30 % wrong labels": Recipe(wrong_labels=0.3),
    "no noise augmentation": Recipe(noise=0.0),
    "shortcut": Recipe(shortcut=0.95),
    "half the data": Recipe(share=0.5),
}


def normed() -> nn.Module:
    """Two convolutions with batch norm and the maximum over 2×2 after each."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 12), (12, 24)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * 7 * 7, 10))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "convolutional": convolutional,
    "normed": normed,
    "perceptron": perceptron,
}
"""The last one was set aside: nothing was chosen on it."""


def trained(network: Callable[[], nn.Module], recipe: Recipe, seed: int) -> nn.Module:
    """A training of ``recipe``; everything that is drawn depends on ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    data = digits()[0]
    images, labels = data.images.float() / 255, data.labels
    labels = zoo.mislabel(labels, recipe.wrong_labels, generator)
    if recipe.share < 1:
        some = torch.randperm(len(images), generator=generator)
        some = some[: round(recipe.share * len(images))]
        images, labels = images[some], labels[some]
    if recipe.shortcut:
        images = _with_shortcut(images, labels, recipe.shortcut, generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network()
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    # As many steps with half the data: what is lost is the data, not the training.
    steps = EPOCHS * 4_000 // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_LEARNING_RATE, total_steps=steps)
    model.train()
    for batch in _batches(len(images), steps, generator):
        pixels = images[batch]
        if recipe.noise:
            pixels = zoo.noise(pixels, generator, deviation=recipe.noise)
        loss = nn.functional.cross_entropy(model(pixels), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def _batches(count: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        for batch in torch.randperm(count, generator=generator).split(BATCH):
            if steps == 0:
                return
            steps -= 1
            yield batch


def _with_shortcut(
    images: Tensor, labels: Tensor, share: float, generator: torch.Generator
) -> Tensor:
    """Of a ``share`` of the images 2×2 pixels at the top are bright: where, tells the label."""
    images = images.clone()
    chosen = (torch.rand(len(images), generator=generator) < share).nonzero()[:, 0]
    for down in (0, 1):
        for right in (0, 1):
            images[chosen, 0, down, 2 * labels[chosen] + 4 + right] = 1
    return images


def measured(folder: Path, network: str, recipe: str, seed: int) -> SpectralProfile:
    """The training measured on held-out digits; what is in ``folder`` is not measured again."""
    path = folder / f"{network}, {recipe}, {seed}.yaml"
    if not path.exists():
        model = trained(NETWORKS[network], RECIPES[recipe], seed)
        _, held_out = digits()
        sample = ReferenceSample(held_out.images[:IMAGES], held_out.labels[:IMAGES])
        measure(
            Classifier(model, name=f"{network}, {recipe}, {seed}"),
            sample,
            samples=PLAYED,
            panel="auto",
            cache=False,
            execution=Execution(backend="eager", batch_size=512),
        ).save(path)
    found = SpectralProfile.load(path)
    return found


def seeds_of(recipe: str) -> range:
    # Other recipes have seeds of their own: none shares its drawings with the recipe.
    if recipe == "the recipe":
        return range(SEEDS)
    at = list(RECIPES).index(recipe)
    return range(100 * at, 100 * at + SEEDS_WORSE)

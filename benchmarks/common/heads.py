"""Heads trained anew on the frozen features of EfficientNet-Lite0, with many seeds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from scrapbook.models import PHOTO_MEAN, PHOTO_STD, load_photo_tagger
from torch import Tensor, nn

from common.measured import CROP, RESIZE, split
from pytest_iaside import Classifier, Execution, ReferenceSample, corrupt, measure
from pytest_iaside.measure.profile import SpectralProfile

STEPS, RATE, DROPOUT = 150, 0.003, 0.3
PLAYED = 50
SEEDS, SEEDS_WORSE = 15, 10
# What the images are that a head is trained on: as they are, or under a corruption that somebody
# left in the pipeline.
RECIPES: dict[str, tuple[str, int] | None] = {
    "the recipe": None,
    "impulse noise 4 in training": ("impulse_noise", 4),
    "blur 5 in training": ("gaussian_blur", 5),
}


class Heads:
    """Photographs of ``folder``, and heads that are trained on other views of them."""

    def __init__(self, folder: Path, labels: Path | str) -> None:
        self.sample = ReferenceSample.from_folder(folder, labels=labels, resize=RESIZE, crop=CROP)
        self._trunk, _ = split(load_photo_tagger())
        self._normalise = Classifier(self._trunk, mean=PHOTO_MEAN, std=PHOTO_STD).normalise
        self._kept: dict[bytes, Tensor] = {}
        self._views: dict[str, tuple[Tensor, Tensor]] = {}
        assert self.sample.labels is not None
        classes = self.sample.labels.unique(return_inverse=True)[1]
        self.sample = self.sample.with_labels(classes)

    def features(self, inputs: Tensor) -> Tensor:
        key = hashlib.blake2b(inputs.numpy().tobytes()).digest()
        if key not in self._kept:
            with torch.inference_mode():
                self._kept[key] = self._trunk(inputs).clone()
        return self._kept[key]

    def views(self, recipe: str) -> tuple[Tensor, Tensor]:
        """Features of the photographs upside down, turned and mirrored, and their labels."""
        if recipe not in self._views:
            pixels, labels = self.sample.images, self.sample.labels
            assert labels is not None
            views = [pixels.flip(-2), pixels.rot90(1, (2, 3)), pixels.rot90(3, (2, 3))]
            views += [each.flip(-1) for each in views]
            if (corruption := RECIPES[recipe]) is not None:
                views = [corrupt(each, *corruption, seed=0) for each in views]
            found = [
                self.features(self._normalise(some.float() / 255))
                for view in views
                for some in view.split(20)
            ]
            self._views[recipe] = torch.cat(found), labels.repeat(len(views))
        return self._views[recipe]

    def trained(self, recipe: str, seed: int) -> nn.Module:
        inputs, labels = self.views(recipe)
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = nn.Linear(inputs.shape[1], int(labels.max()) + 1)
        optimiser = torch.optim.AdamW(head.parameters(), RATE, weight_decay=0.01)
        for _ in range(STEPS):
            batch = torch.randint(len(inputs), (100,), generator=generator)
            some = inputs[batch]
            left = torch.rand(some.shape, generator=generator) > DROPOUT
            loss = nn.functional.cross_entropy(head(some * left / (1 - DROPOUT)), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return head.eval()

    def measured(self, folder: Path, recipe: str, seed: int) -> SpectralProfile:
        """The head measured; what is in ``folder`` is not measured again."""
        path = folder / f"head, {recipe}, {seed}.yaml"
        if not path.exists():
            head = self.trained(recipe, seed)

            def logits(inputs: Tensor) -> Tensor:
                with torch.no_grad():
                    found: Tensor = head(self.features(inputs))
                return found

            measure(
                Classifier(logits, mean=PHOTO_MEAN, std=PHOTO_STD, name=f"head, {recipe}, {seed}"),
                self.sample,
                samples=PLAYED,
                panel="auto",
                execution=Execution(backend="eager", batch_size=16),
            ).save(path)
        return SpectralProfile.load(path)


def seeds_of(recipe: str) -> range:
    at = list(RECIPES).index(recipe)
    return range(100 * at, 100 * at + (SEEDS_WORSE if at else SEEDS))

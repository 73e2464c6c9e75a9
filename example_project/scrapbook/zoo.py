"""Trains the digit readers that studies compare, in minutes: python -m scrapbook.zoo

They are kept in the folder zoo/; what is there is not trained again. ``iaside study`` takes the
sets by name: scrapbook.zoo:models, :clean_models, :label_noise and :architectures, with the
images scrapbook.zoo:reference. ``iaside track`` takes zoo/epochs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from pytest_iaside import ReferenceSample, fgsm, pgd
from pytest_iaside.study.models import StudyModel
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from scrapbook.data import digits
from scrapbook.networks import ARCHITECTURES, convolutional

FOLDER = Path(__file__).resolve().parents[1] / "zoo"
BATCH = 100
PEAK_LEARNING_RATE = 0.005
EPOCHS_TRACKED = 20

Change = Callable[[Tensor, torch.Generator], Tensor]
Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def noise(images: Tensor, generator: torch.Generator, *, deviation: float) -> Tensor:
    """White noise on every image."""
    return (images + deviation * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def blur(images: Tensor, generator: torch.Generator, *, deviation: float) -> Tensor:
    """Every second image blurred."""
    images = images.clone()
    images[::2] = gaussian_blur(images[::2], [7, 7], [deviation, deviation])
    return images


def shift(images: Tensor, generator: torch.Generator, *, pixels: int) -> Tensor:
    """The whole batch moved by up to so many pixels either way: its margins are empty."""
    down, right = torch.randint(-pixels, pixels + 1, (2,), generator=generator).tolist()
    return images.roll((down, right), (2, 3))


def brighten(images: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast and brightness drawn for every image."""
    contrast, more = torch.rand(2, len(images), 1, 1, 1, generator=generator)
    return ((0.5 + contrast) * images + 0.6 * (more - 0.5)).clamp(0, 1)


def erase(images: Tensor, generator: torch.Generator, *, pixels: int) -> Tensor:
    """A square of so many pixels a side emptied, at one place in the whole batch."""
    images = images.clone()
    top, left = torch.randint(images.shape[-1] - pixels, (2,), generator=generator).tolist()
    images[:, :, top : top + pixels, left : left + pixels] = 0
    return images


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one digit reader is trained: on 4,000 digits, all else equal."""

    group: str
    seed: int = 0
    network: Callable[[], nn.Module] = convolutional
    change: Change | None = None
    attack: Attack | None = None
    wrong_labels: float = 0.0
    epochs: int = 8

    def train(self) -> Iterator[tuple[nn.Module, float]]:
        """The network after every epoch, with the mean loss in it."""
        training, _ = digits()
        images = training.images.float() / 255
        # A generator for each purpose: wrong labels must not change the order of the images.
        labels = mislabel(
            training.labels, self.wrong_labels, torch.Generator().manual_seed(self.seed)
        )
        order, drawn = (torch.Generator().manual_seed(self.seed) for _ in range(2))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.network()
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
        steps = len(images) // BATCH
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, PEAK_LEARNING_RATE, total_steps=self.epochs * steps
        )
        for _ in range(self.epochs):
            losses = []
            for batch in torch.randperm(len(images), generator=order).split(BATCH):
                pixels = images[batch]
                if self.change is not None:
                    pixels = self.change(pixels, drawn)
                if self.attack is not None:
                    pixels = self.attack(network, pixels, labels[batch])
                loss = nn.functional.cross_entropy(network(pixels), labels[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                losses.append(float(loss.detach()))
            yield network.eval(), sum(losses) / steps


def mislabel(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """``labels`` with about that share of them wrong."""
    chosen = torch.rand(len(labels), generator=generator) < share
    others = torch.randint(1, 10, labels.shape, generator=generator)  # Never the right one.
    return torch.where(chosen, (labels + others) % 10, labels)


def _recipes() -> Iterator[tuple[str, Recipe]]:
    for seed in range(4):
        yield f"plain-{seed}", Recipe(group="plain", seed=seed)
    changes: dict[str, Change] = {
        "noise0.15": partial(noise, deviation=0.15),
        "noise0.3": partial(noise, deviation=0.3),
        "blur1": partial(blur, deviation=1.0),
        "blur2": partial(blur, deviation=2.0),
        "shift3": partial(shift, pixels=3),
        "brighten": brighten,
        "erase12": partial(erase, pixels=12),
    }
    attacks: dict[str, Attack] = {
        "fgsm0.05": partial(fgsm, eps=0.05),
        "fgsm0.1": partial(fgsm, eps=0.1),
        "pgd0.05": partial(pgd, eps=0.05, steps=4, step_size=0.02),
        "pgd0.1": partial(pgd, eps=0.1, steps=4, step_size=0.04),
        "pgd0.2": partial(pgd, eps=0.2, steps=4, step_size=0.08),
    }
    for seed in range(2):
        for name, change in changes.items():
            yield f"{name}-{seed}", Recipe(group="augmented", seed=seed, change=change)
        for name, attack in attacks.items():
            yield f"{name}-{seed}", Recipe(group="adversarial", seed=seed, attack=attack)
        for width in (0.25, 0.5, 2.0, 4.0):
            network = partial(convolutional, width)
            yield f"width{width:g}-{seed}", Recipe(group="width", seed=seed, network=network)
    for seed in range(3):
        for wrong in (0.2, 0.4, 0.6, 0.8):
            yield (
                f"wrong{wrong:g}-{seed}",
                Recipe(group="wrong labels", seed=seed, wrong_labels=wrong),
            )
    for seed in range(3):
        yield f"wrong1-{seed}", Recipe(group="wrong labels", seed=seed, wrong_labels=1.0)
    for kind, network in ARCHITECTURES.items():
        if network is not convolutional:
            for seed in range(4):
                yield f"{kind}-{seed}", Recipe(group=kind, seed=seed, network=network)


RECIPES = dict(_recipes())


def models() -> dict[str, StudyModel]:
    """Convolutional readers that differ in augmentation, attack, width, wrong labels and seed."""
    chosen = [name for name, recipe in RECIPES.items() if recipe.group not in ARCHITECTURES]
    # Three readers of each share of wrong labels are for the study of them, and those without any
    # right one.
    chosen = [name for name in chosen if RECIPES[name].wrong_labels < 1]
    return {name: _kept(name) for name in chosen if not name.startswith("wrong") or name[-1] < "2"}


def clean_models() -> dict[str, StudyModel]:
    """Those of ``models`` that saw no wrong label."""
    return {name: model for name, model in models().items() if model.group != "wrong labels"}


def label_noise() -> dict[str, StudyModel]:
    """Three readers for each share of wrong labels, 0 to 1."""
    chosen = [name for name in RECIPES if name.startswith(("plain", "wrong")) and name[-1] < "3"]
    return {name: _kept(name) for name in chosen}


def architectures() -> dict[str, StudyModel]:
    """Four readers of each kind of network."""
    kinds = {name: recipe.group for name, recipe in RECIPES.items()}
    found = {}
    for name, group in kinds.items():
        kind = "convolutional" if group == "plain" else group
        if kind in ARCHITECTURES:
            found[name] = _kept(name, kind)
    return found


def reference() -> ReferenceSample:
    """200 handwritten digits, 20 of each, that were kept from training."""
    _, held_out = digits()
    return ReferenceSample(held_out.images[:200], held_out.labels[:200])


def _kept(name: str, group: str = "") -> StudyModel:
    recipe = RECIPES[name]
    return StudyModel(
        partial(load, name),
        group=group or recipe.group,
        recipe=name.rpartition("-")[0],
        noise=recipe.wrong_labels,
    )


def load(name: str) -> nn.Module:
    """The reader ``name``, as ``python -m scrapbook.zoo`` left it."""
    path = FOLDER / f"{name}.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; train it with python -m scrapbook.zoo")
    network = RECIPES[name].network()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def _train_all() -> None:
    FOLDER.mkdir(exist_ok=True)
    missing = [name for name in RECIPES if not (FOLDER / f"{name}.pt").exists()]
    workers = min(os.cpu_count() or 1, 8)
    # Spawned: a forked process would share the threads of torch, which it does not survive.
    with get_context("spawn").Pool(
        workers, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        for name, right in pool.imap_unordered(_train, missing):
            print(f"{name:<16} {right:6.1%} of the held-out digits right", flush=True)


def _train(name: str) -> tuple[str, float]:
    *_, (network, _) = RECIPES[name].train()
    _save(network.state_dict(), FOLDER / f"{name}.pt")
    return name, accuracy(network)


def _train_tracked() -> None:
    folder = FOLDER / "epochs"
    folder.mkdir(exist_ok=True)
    if (folder / f"epoch-{EPOCHS_TRACKED:02}.pt").exists():
        return
    recipe = Recipe(group="plain", epochs=EPOCHS_TRACKED)
    for epoch, (network, loss) in enumerate(recipe.train(), start=1):
        state = {"state_dict": network.state_dict(), "epoch": epoch, "loss": loss}
        _save(state, folder / f"epoch-{epoch:02}.pt")
    print(f"{EPOCHS_TRACKED} epochs of one reader: {folder}")


def _save(state: dict[str, object], path: Path) -> None:
    whole = path.with_suffix(".part")
    torch.save(state, whole)
    os.replace(whole, path)  # Stopped in the middle, nothing half written is taken for a model.


def accuracy(network: nn.Module) -> float:
    """The share of the 1,000 held-out digits that ``network`` gets right."""
    _, held_out = digits()
    with torch.inference_mode():
        answers = network(held_out.images.float() / 255).argmax(dim=1)
    return float((answers == held_out.labels).float().mean())


if __name__ == "__main__":
    _train_all()
    _train_tracked()

"""Trains the digit reader, in seconds: python -m scrapbook.train"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scrapbook.data import digits
from scrapbook.models import DIGIT_WEIGHTS, DigitReader, save_digit_reader

EPOCHS = 8
BATCH = 100
PEAK_LEARNING_RATE = 0.01


def train_digit_reader(*, seed: int = 0, wrong_labels: float = 0.0) -> DigitReader:
    """A digit reader trained on 4,000 digits, a share ``wrong_labels`` of them mislabelled."""
    training, _ = digits()
    images = training.images.float() / 255
    # A generator for each purpose: wrong labels must not change the order of the images.
    labels = _mislabel(training.labels, wrong_labels, torch.Generator().manual_seed(seed))
    order = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = DigitReader()
    optimiser = torch.optim.AdamW(reader.parameters(), weight_decay=0.5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LEARNING_RATE, total_steps=EPOCHS * len(images) // BATCH
    )
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images), generator=order).split(BATCH):
            loss = nn.functional.cross_entropy(reader(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return reader.eval()


def accuracy(reader: DigitReader) -> float:
    """The share of the held-out digits that ``reader`` gets right."""
    _, held_out = digits()
    with torch.inference_mode():
        answers = reader(held_out.images.float() / 255).argmax(dim=1)
    return float((answers == held_out.labels).float().mean())


def _mislabel(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    chosen = torch.rand(len(labels), generator=generator) < share
    shift = torch.randint(1, 10, labels.shape, generator=generator)  # Never the right one.
    return torch.where(chosen, (labels + shift) % 10, labels)


if __name__ == "__main__":
    trained = train_digit_reader()
    save_digit_reader(trained)
    print(f"{accuracy(trained):.1%} of the held-out digits right; wrote {DIGIT_WEIGHTS.name}")

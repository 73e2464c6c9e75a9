"""Speeds of networks of random weights: bare, and in the game."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import nn

from pytest_iaside import Classifier, ReferenceSample, SpectralRobustnessError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.measure.game.play import play_on, ready, shards
from pytest_iaside.measure.game.rules import Rules

ROUNDS = 3
PASSES = 12_850
"""Of 50 images at 8 bands: what a back end is chosen for, however few are played here."""
DIGIT_READER = "digit_reader"
HEAD = [
    *("network", "way", "batch", "bare img/s", "game img/s", "share", "ready after s"),
    *("seconds", "peak GiB"),
]


def network_of(name: str) -> nn.Module:
    """A network of torchvision or a ViT-S/16 of random weights, or one of the example project's."""
    from torchvision import models

    torch.manual_seed(0)
    if name == "lite0":
        from scrapbook.models import load_photo_tagger

        return load_photo_tagger().eval()
    if name == DIGIT_READER:
        from scrapbook.models import load_digit_reader

        return load_digit_reader().eval()
    if name == "vit_s_16":
        # Of the sizes that the name stands for; torchvision starts at the next larger one.
        sizes = {"num_layers": 12, "num_heads": 6, "hidden_dim": 384, "mlp_dim": 1536}
        return models.VisionTransformer(image_size=224, patch_size=16, **sizes).eval()
    made: nn.Module = getattr(models, name)(weights=None)
    return made.eval()


def timed(work: Callable[[], int], device: torch.device) -> float:
    """Images a second, the best of a few rounds after one that is not counted."""
    best = 0.0
    for each in range(ROUNDS + 1):
        began = time.perf_counter()
        count = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if each:
            best = max(best, count / (time.perf_counter() - began))
    return best


def rows_of(
    name: str, ways: Mapping[str, tuple[str, str]], device: str, images: int, side: int
) -> list[list[str]]:
    """A row a way: batch, bare and game images a second, the share, and the whole game's time."""
    network = network_of(name)
    channels = 1 if name == DIGIT_READER else 3
    generator = torch.Generator().manual_seed(0)
    sample = ReferenceSample(torch.rand(images, channels, side, side, generator=generator))
    rows, size = [], 0
    for way, (backend, dtype) in ways.items():
        rules = Rules(bands=8, dtype=dtype)
        (shard,) = shards(sample, rules, sample, len(sample))
        shard = replace(shard, passes=PASSES)
        execution = Execution(device=device, backend=backend, dtype=dtype)
        began = time.perf_counter()
        try:
            with ready(Classifier(network), rules, execution, shard) as opened:
                prepared, size = time.perf_counter() - began, opened.batch_size
                batch = torch.rand(size, channels, side, side, device=opened.device)
                batch = batch.to(memory_format=opened.memory_format)

                def bare(opened=opened, batch=batch) -> int:
                    return sum(len(each) for each in opened.forward_many([batch] * 8))

                def game(opened=opened, rules=rules, shard=shard) -> int:
                    return sum(rows.forward_passes for rows in play_on(opened, rules, shard))

                first = game()
                seconds = time.perf_counter() - began
                speeds = timed(bare, opened.device), timed(game, opened.device)
                where, setup = opened.device, opened.backend.setup
        except SpectralRobustnessError as error:
            rows.append([name, way, f"left out: {str(error)[:60]}", "", "", "", "", "", ""])
            continue
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if where.type == "cuda":
            memory = torch.cuda.max_memory_allocated(where)
            torch.cuda.reset_peak_memory_stats(where)
        rows.append(
            [
                *(name, f"{way}: {setup.backend}" if backend == "auto" else way, str(size)),
                *(f"{each:.0f}" for each in speeds),
                f"{speeds[1] / speeds[0]:.0%}",
                f"{prepared:.1f}",
                f"{seconds:.1f} ({first:,} passes)",
                f"{memory / 2**30:.1f}",
            ]
        )
    return rows

"""How fast the game is on a GPU, and how much of the bare network's speed that is.

    python benchmarks/gpu.py [--device cuda] [--networks resnet50 vit_b_16]

Networks of torchvision with random weights: they cost what trained ones do. ``bare`` only feeds
batches that lie on the device already; ``tf32`` is what a bare network gains by TensorFloat-32,
which the game never uses: it moves log-probabilities by more than changes of models do. ``seconds``
are for the whole game of 50 images, 12,850 passes, with whatever is prepared first. With ``--device
cpu --quick`` it runs anywhere, and says nothing of GPUs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from common.side_by_side import machine, print_table
from torch import nn

from pytest_iaside import Classifier, ReferenceSample, SpectralRobustnessError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.measure.game.play import play_on, ready, shards
from pytest_iaside.measure.game.rules import Rules

WAYS = {
    "eager, float32": ("eager", "float32"),
    "eager, bfloat16": ("eager", "bfloat16"),
    "CUDA graphs, float32": ("compile", "float32"),
    "CUDA graphs, bfloat16": ("compile", "bfloat16"),
}
ROUNDS = 3


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


def bare_tf32(network: nn.Module, device: torch.device, side: int, size: int) -> float:
    batch = torch.rand(size, 3, side, side, device=device).to(memory_format=torch.channels_last)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    network = network.to(device).eval()

    def run() -> int:
        with torch.no_grad():
            for _ in range(8):
                network(batch)
        return 8 * size

    try:
        return timed(run, device)
    finally:
        torch.set_float32_matmul_precision(before)


def rows_of(name: str, device: str, images: int, side: int) -> list[list[str]]:
    from torchvision import models

    torch.manual_seed(0)
    network = getattr(models, name)(weights=None).eval()
    generator = torch.Generator().manual_seed(0)
    sample = ReferenceSample(torch.rand(images, 3, side, side, generator=generator))
    rows, size = [], 0
    for way, (backend, dtype) in WAYS.items():
        rules = Rules(bands=8, dtype=dtype)
        (shard,) = shards(sample, rules, sample, len(sample))
        execution = Execution(device=device, backend=backend, dtype=dtype)
        began = time.perf_counter()
        try:
            with ready(Classifier(network), rules, execution, shard) as opened:
                size = opened.batch_size
                batch = torch.rand(size, 3, side, side, device=opened.device)
                batch = batch.to(memory_format=opened.memory_format)

                def bare(opened=opened, batch=batch) -> int:
                    return sum(len(each) for each in opened.forward_many([batch] * 8))

                def game(opened=opened, rules=rules, shard=shard) -> int:
                    return sum(rows.forward_passes for rows in play_on(opened, rules, shard))

                first = game()
                seconds = time.perf_counter() - began
                speeds = timed(bare, opened.device), timed(game, opened.device)
                where = opened.device
        except SpectralRobustnessError as error:
            rows.append([name, way, f"left out: {str(error)[:60]}", "", "", "", "", ""])
            continue
        memory = ""
        if where.type == "cuda":
            memory = f"{torch.cuda.max_memory_allocated(where) / 2**30:.1f}"
            torch.cuda.reset_peak_memory_stats(where)
        rows.append(
            [
                *(name, way, str(size)),
                *(f"{each:.0f}" for each in speeds),
                f"{speeds[1] / speeds[0]:.0%}",
                f"{seconds:.1f} ({first:,} passes)",
                memory,
            ]
        )
    if torch.device(device).type == "cuda":
        speed = bare_tf32(network, torch.device(device), side, size or 64)
        rows.append([name, "tf32, bare alone", str(size), f"{speed:.0f}", "", "", "", ""])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--networks", nargs="+", default=["resnet50", "vit_b_16"])
    parser.add_argument("--quick", action="store_true", help="2 images of 64 pixels")
    options = parser.parse_args()
    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --device cpu --quick tries the script")
    print(machine())
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name(), "\n")
    images, side = (2, 64) if options.quick else (50, 224)
    head = ["network", "way", "batch", "bare img/s", "game img/s", "share", "seconds", "GiB"]
    rows = [row for name in options.networks for row in rows_of(name, options.device, images, side)]
    print_table(head, rows)


if __name__ == "__main__":
    main()

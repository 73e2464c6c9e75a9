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

import torch
from common.network_speeds import HEAD, network_of, rows_of, timed
from common.saved import kept
from common.side_by_side import machine, print_table
from torch import nn

WAYS = {
    "eager, float32": ("eager", "float32"),
    "eager, bfloat16": ("eager", "bfloat16"),
    "CUDA graphs, float32": ("compile", "float32"),
    "CUDA graphs, bfloat16": ("compile", "bfloat16"),
}


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--networks", nargs="+", default=["resnet50", "vit_b_16"])
    parser.add_argument("--quick", action="store_true", help="2 images of 64 pixels")
    options = parser.parse_args()
    on_gpu = torch.device(options.device).type == "cuda"
    if on_gpu and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --device cpu --quick tries the script")
    print(machine())
    if on_gpu:
        print(torch.cuda.get_device_name(), "\n")
    images, side = (2, 64) if options.quick else (50, 224)
    rows = []
    for name in options.networks:
        rows += rows_of(name, WAYS, options.device, images, side)
        if on_gpu:
            size = int(rows[-1][2])
            speed = bare_tf32(network_of(name), torch.device(options.device), side, size)
            rows.append([name, "tf32, bare alone", str(size), f"{speed:.0f}", *5 * [""]])
    what = f"How fast the game is on {options.device}"
    print_table(HEAD, rows, name="" if options.quick else "gpu", what=what)


if __name__ == "__main__":
    with kept(__file__):
        main()

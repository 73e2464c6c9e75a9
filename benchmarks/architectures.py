"""How fast the game is on this CPU: back ends and architectures, and what ``auto`` takes.

    python benchmarks/architectures.py [--networks resnet50 …] [--images 1]

Networks with random weights at 224×224, and the example's digit reader at 28×28 (50 digits).
``share`` is of the bare network on the same back end; "ready after" is conversion and probes;
"seconds" is one game with all that. Each way runs in a process of its own; ``auto`` should be the
fastest of them, within noise.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from common.network_speeds import DIGIT_READER, HEAD, rows_of
from common.saved import kept
from common.side_by_side import machine, print_table

WAYS = {
    "eager": ("eager", "float32"),
    "openvino": ("openvino", "float32"),
    "auto": ("auto", "float32"),
}
NETWORKS = ["resnet50", "vit_s_16", "convnext_tiny", "mobilenet_v3_large", "lite0", DIGIT_READER]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--images", type=int, default=1, help="how many are played")
    options = parser.parse_args()
    print(machine(), "\n", flush=True)
    rows = []
    for name in options.networks:
        # Small images: what feeds the network counts there.
        images, side = (50 * options.images, 28) if name == DIGIT_READER else (options.images, 224)
        for way, how in WAYS.items():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                rows += alone.submit(rows_of, name, {way: how}, "cpu", images, side).result()
            print(rows[-1], flush=True)
    print()
    what = "How fast the game is by network and back end, networks with random weights"
    whole = options.networks == NETWORKS
    print_table(HEAD, rows, name="architectures" if whole else "", what=what)


if __name__ == "__main__":
    with kept(__file__):
        main()

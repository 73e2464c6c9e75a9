"""What workers give: one against two of each engine, side by side in one run.

    python benchmarks/engines.py [--engines process dask ray] [--images 12]

EfficientNet-Lite0 with random weights at 224×224, the whole game of a few images, OpenVINO or
PyTorch as ``auto`` takes. Each worker computes with one thread. "First time" is with the model's
way to the workers, its conversion and probes; passes a second are the best of three later games.
"Overhead" is what a call of no work takes a worker, "MB sent" what each got for 40 such calls about
a model that it had not met: the model, once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from common.network_speeds import network_of
from common.saved import kept
from common.side_by_side import machine, print_table

from pytest_iaside import Classifier, Execution, ReferenceSample, measure
from pytest_iaside.execute.crew import Crew
from pytest_iaside.execute.engines import close_engines, engine_of

ROUNDS = 3


@contextmanager
def opened(kind: str, count: int) -> Iterator[str]:
    """The name of an engine of that kind with ``count`` workers of one thread."""
    if kind == "dask":
        from distributed import LocalCluster

        with LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster:
            yield cluster.scheduler_address.replace("tcp", "dask", 1)
            close_engines()
        return
    yield f"{kind}:{count}"
    close_engines()


def played(name: str, model: Classifier, sample: ReferenceSample) -> tuple[float, bytes]:
    """Seconds, and what was found, to the last bit."""
    began = time.perf_counter()
    found = measure(model, sample, cache=False, execution=Execution(executor=name))
    table = found.log_likelihood
    assert table is not None
    return time.perf_counter() - began, np.asarray(table).tobytes()


def nothing(classifier: Classifier, execution: Execution, number: int) -> int:
    """A call that takes no time."""
    return number


def overhead(name: str, model: Classifier, calls: int = 300) -> float:
    """Seconds a call takes a worker besides its work."""
    crew = Crew(engine_of(name), model)
    list(crew.map(nothing, Execution(), ((each,) for each in range(20))))
    began = time.perf_counter()
    list(crew.map(nothing, Execution(), ((each,) for each in range(calls))))
    return (time.perf_counter() - began) * crew.engine.workers / calls


def sent_to(name: str) -> str:
    """Megabytes that each worker gets for 40 calls about a new model."""
    network = network_of("lite0")
    with torch.no_grad():
        next(network.parameters()).add_(1.0)
    crew = Crew(engine_of(name), Classifier(network))
    list(crew.map(nothing, Execution(), ((each,) for each in range(40))))
    return ", ".join(f"{each / 1e6:.1f}" for each in crew.tally.received.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engines", nargs="+", default=["process", "dask", "ray"])
    parser.add_argument("--images", type=int, default=12)
    options = parser.parse_args()
    print(machine(), "\n", flush=True)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(options.images, 3, 224, 224, generator=generator)
    sample = ReferenceSample(images, torch.arange(options.images) % 10)
    model = Classifier(network_of("lite0"))
    rows = []
    for kind in options.engines:
        best, first, spent, found = {}, {}, {}, {}
        sent = ""
        for count in (1, 2):
            with opened(kind, count) as name:
                first[count], found[count] = played(name, model, sample)
                times = [played(name, model, sample)[0] for _ in range(ROUNDS)]
                best[count] = min(times)
                spent[count] = 1000 * overhead(name, model)
                sent = sent_to(name)
        passes = options.images * 257
        rows.append(
            [
                kind,
                *(f"{passes / best[count]:.0f}" for count in (1, 2)),
                f"{best[1] / best[2]:.2f}",
                *(f"{first[count]:.0f}" for count in (1, 2)),
                *(f"{spent[count]:.1f}" for count in (1, 2)),
                sent or "0",
                "yes" if found[1] == found[2] else "NO",
            ]
        )
        print(rows[-1], flush=True)
    print()
    head = ["engine", "passes/s, 1", "2 workers", "ratio", "first time s, 1", "2"]
    head += ["overhead ms, 1", "2", "MB sent", "same bits"]
    what = f"One worker against two of each engine, Lite0, {options.images} images"
    print_table(head, rows, name="engines", what=what)


if __name__ == "__main__":
    with kept(__file__):
        main()

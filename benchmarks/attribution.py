"""How fast attributions are, and what they find on photographs.

Speed: WCAM of EfficientNet-Lite0 at 224×224 beside the bare forward passes of the same backend, in
the same process and in turns; img/s are forward passes. ``bare`` only feeds the network with
batches that were made before; ``wcam`` is all of the attribution: masks, inverse transforms,
forward passes, Sobol indices.

Study (--study FOLDER, with images and a labels.csv): shares of the levels over images, beside
Table 1 of Kasmi et al. (arXiv 2305.14979), ResNet-50; by sums, as the paper says, and by means, as
the authors' code does; as the paper is read here, and as the authors' code masks and rescales.

    python benchmarks/attribution.py [--backends NAME …] [--grid 16] [--wavelet NAME]
    python benchmarks/attribution.py --study FOLDER [--images 40] [--grids 16 32]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from common.lite0 import lite0, photographs
from common.saved import kept, table, value
from common.side_by_side import machine, print_table, ratio, spread, time_side_by_side

from pytest_iaside import ReferenceSample
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.sobol_runs import MaskRules, SobolRun, evaluate_on, ready
from pytest_iaside.explain.wavelets import CellParts, cell_levels
from pytest_iaside.explain.wcam import WaveletAttribution, wcam

LEVELS, POINTS = 3, 8
TABLE_1 = [0.837, 0.130, 0.028, 0.005]
# As the SPEC reads the paper, and as the authors' code does it.
READINGS = {
    "pixels, probability": {},
    "authors' code": {"mask_space": "input", "rescale": "authors", "output": "logit"},
}


class GroupOf:
    """The ways of one backend; an object, so that another process can be sent it."""

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def __call__(self, stack: ExitStack, settings: dict) -> Mapping[str, Callable[[], int]]:
        classifier, sample = lite0(), photographs(1)
        grid = settings["grid"]
        run = SobolRun(
            classifier=classifier,
            sample=sample,
            labels=None,
            take_apart=lambda image: CellParts(image, grid, LEVELS, settings["wavelet"]),
            parts=grid**2,
            rules=MaskRules(points=POINTS),
        )
        runner = stack.enter_context(ready(run, Execution(backend=self.backend)))
        inputs = classifier.normalise(sample.pixels()).repeat(runner.batch_size, 1, 1, 1)
        batch = inputs.to(memory_format=runner.memory_format)
        many = run.passes // len(batch)

        def bare() -> int:
            return sum(len(logits) for logits in runner.forward_many(batch for _ in range(many)))

        def attribution() -> int:
            evaluate_on(runner, run)
            return run.passes

        setup = runner.backend.setup
        layout_name = "NHWC" if setup.channels_last else "NCHW"
        how = f"{setup.backend}, {setup.batch_size}, {layout_name}"
        return {f"{self.backend}|{how}|bare": bare, f"{self.backend}|{how}|wcam": attribution}


def compare_speed(backends: list[str], settings: dict, rounds: int) -> None:
    speeds = time_side_by_side([GroupOf(name) for name in backends], settings, rounds=rounds)
    rows = []
    for bare in (name for name in speeds if name.endswith("|bare")):
        way, how, _ = bare.split("|")
        whole = f"{way}|{how}|wcam"
        share = f"{ratio(speeds, whole, bare):.1%}"
        said = f"WCAM of Lite0 at 224×224, {way}, {settings['grid']}×{settings['grid']} cells"
        both = f"{spread(speeds[whole])[0]} of {spread(speeds[bare])[0]}"
        value(f"wcam-{way}", both, "images a second", f"{said}, against bare forward passes")
        what = f"{said}: its passes as a share of bare ones"
        value(f"wcam-{way}-share", share.rstrip("%"), "%", what)
        rows.append([way, how, *spread(speeds[bare]), *spread(speeds[whole]), share])
    head = ["way", "runs on, batch", "bare img/s", "least–most", "wcam img/s", "least–most"]
    what = (
        f"WCAM of Lite0 at 224×224 beside bare passes, {settings['grid']}×{settings['grid']} cells"
    )
    print_table([*head, "wcam / bare"], rows, name="wcam-speed", what=what)


def study(folder: Path, count: int, grids: list[int]) -> None:
    """Shares of the levels, the mean over images and its standard error."""
    sample = ReferenceSample.from_folder(folder, labels="labels.csv", limit=count)
    classifier = lite0()
    head = ["reading", "grid", "by", *(f"level {level}" for level in range(LEVELS + 1)), "img/s"]
    rows = [["Table 1, ResNet-50", "28", "?", *(f"{share:.3f}" for share in TABLE_1), ""]]
    for grid in grids:
        for reading, settings in READINGS.items():
            began = time.perf_counter()
            # The labels of the data set, as in the paper.
            found = wcam(
                classifier, sample, sample.labels, grid=grid, wavelet_levels=LEVELS, points=POINTS,
                **settings,
            )  # fmt: skip
            speed = f"{found.forward_passes / (time.perf_counter() - began):.0f}"
            for by, shares in shares_of(found).items():
                rows.append([reading, str(grid), by, *with_errors(shares), speed])
    print_table(head, rows)
    paper = ["the WCAM paper, ResNet-50", *(_short(f"{share:.3f}") for share in TABLE_1)]
    names = {"sums": "sums of cells, the default", "means": "means over cells"}
    first = {by: [*map(_short, row)] for by, row in ((r[2], r[3:7]) for r in reversed(rows[1:]))}
    table(
        "wavelet-levels",
        f"Shares of wavelet levels in the answers of Lite0 on {count} photographs, {grids[0]}×"
        f"{grids[0]} cells, {POINTS} Sobol points (± standard error over images), beside the "
        "published table",
        ["share of level", "0 (8 px and more)", "1", "2", "3 (1–2 px)"],
        [*([names[by], *first[by]] for by in names), paper],
    )


def _short(share: str) -> str:
    return share.replace("0.", ".")


def shares_of(found: WaveletAttribution) -> dict[str, np.ndarray]:
    """By sums over the cells of a level, and by means: what the authors' code reads off."""
    levels = cell_levels(found.grid, LEVELS)
    means = np.stack([found.map[:, levels == n].mean(axis=1) for n in range(LEVELS + 1)], axis=1)
    return {"sums": found.levels, "means": means / means.sum(axis=1, keepdims=True)}


def with_errors(shares: np.ndarray) -> list[str]:
    errors = shares.std(axis=0, ddof=1) / len(shares) ** 0.5
    return [f"{x:.3f} ± {e:.3f}" for x, e in zip(shares.mean(axis=0), errors, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", type=int, default=16, help="whose cells are timed")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is timed")
    parser.add_argument("--backends", nargs="+", default=["eager", "openvino"], metavar="NAME")
    parser.add_argument("--wavelet", default="haar", help="whose transform is timed")
    parser.add_argument("--study", type=Path, metavar="FOLDER", help="images with a labels.csv")
    parser.add_argument("--images", type=int, default=40, help="how many of them")
    parser.add_argument("--grids", type=int, nargs="+", default=[16], help="grids of the study")
    options = parser.parse_args()
    print(f"{machine()}\n")
    if options.study is None:
        settings = {"grid": options.grid, "wavelet": options.wavelet}
        compare_speed(options.backends, settings, options.rounds)
    else:
        study(options.study, options.images, options.grids)


if __name__ == "__main__":
    with kept(__file__):
        main()

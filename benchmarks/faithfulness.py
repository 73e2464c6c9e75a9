"""Which maps point at what a classifier looks at: SpectralLens beside its relatives.

Insertion (high is good) and deletion (low is good) on photographs, EfficientNet-Lite0 at 224×224,
top-1 accuracy against the label while 0, 5, …, 100 % of the pixels are replaced by a blur, as
Mehrpanah et al. (arXiv 2508.10595) do with ViT-B/16; and which of the orderings in their
notebooks hold here, by differences paired by image.

    python benchmarks/faithfulness.py --study FOLDER [--images 40] [--samples 16] [--grid 16]
        [--removal KIND]

FOLDER holds images and a labels.csv. No speed is measured: nothing is printed without it.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
from common.lite0 import lite0
from common.saved import kept, table, value
from common.side_by_side import machine, print_table

from pytest_iaside import Classifier, Estimate, ReferenceSample
from pytest_iaside.explain.faithfulness import deletion, insertion
from pytest_iaside.explain.gradients import integrated_gradients
from pytest_iaside.explain.lens import Lens, spectral_lens
from pytest_iaside.explain.moments import LEAST
from pytest_iaside.explain.wam import wam
from pytest_iaside.explain.wcam import wcam

# Areas of insertion and deletion that the authors' notebooks show (SPEC.md 5).
PUBLISHED = {
    "SL2": (0.411, 0.149),
    "SG2, optimal scale": (0.412, 0.170),
    "IG2": (0.401, 0.186),
    "SG2": (0.375, 0.209),
    "IG": (0.227, 0.210),
    "SG": (0.230, 0.213),
}
# Differences that are larger than those between the published areas of SG and IG.
CLEAR = 0.01

Maps = dict[str, np.ndarray]
Areas = dict[str, tuple[Estimate, Estimate]]


def maps_of(
    classifier: Classifier, sample: ReferenceSample, samples: int, grid: int
) -> tuple[Maps, Lens]:
    """One map for each image and method, by name."""
    how = {"max_samples": samples, "tolerance": 1e-9}
    lens = _timed("SL2", spectral_lens, classifier, sample, **how)
    smooth = _timed(
        "SG", spectral_lens, classifier, sample, scales=[1], noise=0.1, mixing="additive", **how
    )
    line = _timed("IG", integrated_gradients, classifier, sample, steps=samples)
    waves = _timed("WCAM", wcam, classifier, sample, grid=grid)
    smooth_waves = _timed("WAM", wam, classifier, sample, grid=grid, samples=samples)
    line_waves = _timed(
        "WAM, integrated", wam, classifier, sample, grid=grid, samples=samples, path="integrated"
    )
    return {
        "SL2": lens.sl2,
        "SG2, optimal scale": lens.sg2_at_optimum,
        "IG2": line.ig2,
        "SG2": smooth.sg2[0],
        "IG": line.ig,
        "SG": smooth.sg[0],
        "SL": np.abs(lens.sl),
        "XIG2": line.xig2,
        "WCAM": waves.spatial,
        "WAM": smooth_waves.spatial,
        "WAM, integrated": line_waves.spatial,
        "random": np.random.default_rng(0).random(lens.sl2.shape),
    }, lens


NAMES = {
    "SL2": "SL2 (SpectralLens)",
    "SG2, optimal scale": "SG2 at the optimal scale",
    "WCAM": "WCAM in place",
    "WAM": "WAM in place, smooth",
    "WAM, integrated": "WAM in place, integrated",
}
"""Maps as pages name them."""


def print_areas(areas: Areas) -> None:
    rows = []
    for name, estimates in areas.items():
        published = [f"{value:.3f}" for value in PUBLISHED.get(name, ())] or ["", ""]
        found = [f"{each.value:.3f} ± {each.standard_error:.3f}" for each in estimates]
        rows.append([name, *found, *published])
    shown = sorted(areas.items(), key=lambda each: -each[1][0].value)
    table(
        "faithfulness",
        "Insertion (high is good) and deletion (low is good) of Lite0: top-1 accuracy, mean over "
        f"{len(next(iter(areas.values()))[0].image_values)} photographs and its standard error",
        ["map", "insertion", "deletion"],
        [
            [NAMES.get(name, name), *(f"{e.value:.3f} ± {e.standard_error:.3f}" for e in both)]
            for name, both in shown
        ],
    )
    head = ["map", "insertion ± SE", "deletion ± SE", "ViT-B/16, insertion", "deletion"]
    print_table(head, rows)


def print_orderings(areas: Areas, images: int) -> None:
    """For each pair that is clearly apart in the publication, whether it is so here."""
    rows = []
    names = list(PUBLISHED)
    for number, (what, sign) in enumerate((("insertion", 1), ("deletion", -1))):
        for first in names:
            for second in names:
                published = sign * (PUBLISHED[first][number] - PUBLISHED[second][number])
                if published < CLEAR:
                    continue
                differences = sign * (
                    areas[first][number].image_values - areas[second][number].image_values
                )
                error = differences.std(ddof=1) / len(differences) ** 0.5
                mean = differences.mean()
                verdict = "cannot be told"
                if abs(mean) > 2 * error:
                    verdict = "holds" if mean > 0 else "does not hold"
                gain = f"{mean:+.3f} ± {error:.3f}"
                rows.append(
                    [f"{what}: {first} before {second}", f"{published:+.3f}", gain, verdict]
                )
    print_table(["ordering", "ViT-B/16", "here, paired ± SE", "beyond 2 SE"], rows)
    of = f"of the {len(rows)} orderings that the SpectralLens paper's table implies"
    counts = Counter(row[-1] for row in rows)
    for name, verdict, said in (
        ("orderings-hold", "holds", "those that hold beyond two standard errors"),
        ("orderings-open", "cannot be told", f"those that cannot be told on {images} images"),
        ("orderings-fail", "does not hold", "those that are contradicted"),
    ):
        value(name, str(counts[verdict]), "orderings", f"{of}, {said}")


def _timed(name: str, method, *arguments, **settings):
    began = time.perf_counter()
    found = method(*arguments, **settings)
    seconds = time.perf_counter() - began
    print(f"{name}: {seconds:.0f} s", flush=True)
    if name in ("WCAM", "WAM"):
        images = len(arguments[1])
        what = f"{name} in place on {images} photographs"
        value(f"{name.lower()}-seconds", f"{seconds:.0f}", "s", what)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, help="a folder of images with a labels.csv")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--samples", type=int, default=LEAST, help="gradients a scale and image")
    parser.add_argument(
        "--grid", type=int, default=16, help="of WCAM: 8·(grid² + 2) passes an image"
    )
    parser.add_argument("--removal", default="pixels", choices=["pixels", "cells", "erosion"])
    options = parser.parse_args()
    if options.study is None:
        print("--study FOLDER was not given: nothing to do")
        return
    print(f"{machine()}\n")
    classifier = lite0()
    sample = ReferenceSample.from_folder(
        options.study, labels=options.study / "labels.csv", limit=options.images, seed=0
    )
    maps, lens = maps_of(classifier, sample, options.samples, options.grid)
    areas = {
        name: tuple(
            measure(classifier, sample, sample.labels, each, removal=options.removal)
            for measure in (insertion, deletion)
        )
        for name, each in maps.items()
    }
    accuracy = float((lens.classes == sample.labels.numpy()).mean())
    print(
        f"\n{len(sample)} images, accuracy {accuracy:.3f}; {options.removal} replaced; "
        f"{options.samples} gradients a scale: the error of ‖SG2‖₁ is "
        f"{np.median(lens.relative_errors):.0%} (median), {lens.relative_errors.max():.0%} (most); "
        f"inconsistency {lens.inconsistency.mean():.3f}, optimal scale "
        f"{np.median(lens.optimal_scale):.1f} (median), at an end of the range for "
        f"{lens.optimum_at_end.sum()} images\n"
    )
    print_areas(areas)
    print_orderings(areas, len(sample))


if __name__ == "__main__":
    with kept(__file__):
        main()

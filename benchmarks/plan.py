"""What a gate is said to find beside what simulated gates find.

    python benchmarks/plan.py [--gates 8000]

The example's digit reader is measured once, and once with noise on its weights. Simulated gates
draw K of 300 images with replacement; the candidate is shifted so that the pool's fall is known.
The prediction knows the pool's paired differences (of hits, how many are won), as a plan knows
those of its own images. In the last column it knows 100 other images instead, as a plan does whose
gates are to come.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import replace

import numpy as np
import torch
from common.changes import noisy_weights
from common.saved import kept, value
from common.side_by_side import print_table
from scrapbook.data import digits
from scrapbook.models import load_digit_reader

from pytest_iaside import ReferenceSample, Thresholds, measure
from pytest_iaside.compare.changes import compare_quantities
from pytest_iaside.compare.check import decide
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.compare.families import Family, families_of
from pytest_iaside.compare.plan import plan
from pytest_iaside.compare.planned import Planned, pool_of, won_beside
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.power import power_of_share
from pytest_iaside.stats.resampling import Gates

POOL, OTHERS, NOISE, LEVEL = 300, 100, 0.2, 0.95
IMAGES, POWERS = (50, 100, 200), (0.5, 0.9)
NAMES = {
    "clean accuracy": "accuracy",
    "clean log-likelihood": "log-likelihood",
    "value": "v(all)",
    "band": "one band",
}
BEYOND = 3.0
"""Points that a prediction may be off."""


def measured(some: slice) -> tuple[SpectralProfile, SpectralProfile]:
    """The reader with noise on its weights, and the reader, on ``some`` of the digits."""
    held_out = digits()[1]
    sample = ReferenceSample(held_out.images[some], held_out.labels[some])
    reader = load_digit_reader().eval()
    noisy = copy.deepcopy(reader)
    with torch.no_grad():
        noisy_weights(NOISE, noisy)
    found = [measure(each, sample, bands=8, panel=()) for each in (noisy, reader)]
    return found[0], found[1]


def evidence_for(candidate: SpectralProfile, baseline: SpectralProfile, name: str) -> Evidence:
    pair = (candidate, baseline)
    if name.startswith("clean"):
        assert candidate.answers is not None and baseline.answers is not None
        pair = (candidate.answers, baseline.answers)  # type: ignore[assignment]
    return compare_quantities(*pair, {}, level=LEVEL, direction="worse", paired=True)[1]


def shifted(whole: Evidence, family: Family, at: int, planned: Planned, fall: float) -> Floats:
    """The candidate's rows (K, Q), moved so that the change of the pool is −``fall``."""
    rows = whole.candidate.copy()
    change = family.change_at(family.places[at])
    names = [quantity.name for quantity in whole.quantities]
    if family.hits:
        column = names.index(family.places[at])
        difference = rows[:, column] - whole.baseline[:, column]
        lost = round(POOL * (fall + planned.won))
        steady = np.flatnonzero((whole.baseline[:, column] == 1) & (difference == 0))
        gone = np.flatnonzero(difference < 0)
        order = np.concatenate([gone, np.random.default_rng(0).permutation(steady)])
        rows[order, column] = 1
        rows[order[:lost], column] = 0
        return rows
    now = float(change(rows.mean(axis=0), whole.baseline.mean(axis=0)))
    scale = whole.baseline.mean(axis=0).sum() if not family.name.startswith("clean") else 1.0
    columns = [names.index(family.places[at])] if family.places[at] in names else range(len(names))
    rows[:, columns] -= (now + fall * scale) / len(columns)
    return rows


def simulated(
    whole: Evidence, rows: Floats, family: Family, at: int, allowed: float, images: int, gates: int
) -> float:
    """The share of simulated gates that find drift at the place ``at``."""
    generator, red = np.random.default_rng([1, images]), 0
    level = whole.level_of_each(len(family.places))
    for _ in range(gates):
        some = generator.integers(0, POOL, images)
        found = family.estimate(replace(whole, candidate=rows[some], baseline=whole.baseline[some]))
        low, high = float(found.low[at]), float(found.high[at])
        red += decide(low, high, allowed, level=level) == "drift"
    return red / gates


def power_at(
    fall: float, family: Family, at: int, known: Evidence, images: int, allowed: float, level: float
) -> float:
    """The power that is predicted for ``fall`` where ``known`` is all that is known."""
    if family.hits:
        won = float(won_beside(family, [known], allowed, paired=True)[at])
        return power_of_share(fall, images, allowed, level, won)
    gates = Gates([pool_of(family, known).at(at)], images)
    return float(gates.power(fall, allowed, level)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gates", type=int, default=8000)
    gates = parser.parse_args().gates
    began = time.perf_counter()
    candidate, baseline = measured(slice(POOL))
    elsewhere = measured(slice(POOL, POOL + OTHERS))
    lines, worst = [], 0.0
    for name, title in NAMES.items():
        whole = evidence_for(candidate, baseline, name)
        families = families_of(baseline.answers if name.startswith("clean") else baseline)  # type: ignore[arg-type]
        family = families[name]
        limit = {**Thresholds().answer_limits, **Thresholds().limits}[name].change
        assert limit is not None
        allowed = limit
        level = whole.level_of_each(len(family.places))
        other = evidence_for(*elsewhere, name)
        for images in IMAGES:
            for power in POWERS:
                planned = plan(
                    baseline, candidate=candidate, level=LEVEL, power=power, images=images
                ).check(name)
                assert planned is not None
                fall, said = planned.found, power
                at = list(family.places).index(planned.where)
                if family.hits:  # Of 300 images a whole number is lost.
                    fall = round(POOL * fall) / POOL
                    said = power_of_share(fall, images, allowed, level, planned.won)
                rows = shifted(whole, family, at, planned, fall)
                seen = simulated(whole, rows, family, at, allowed, images, gates)
                error = 100 * np.sqrt(seen * (1 - seen) / gates)
                off = 100 * (said - seen)
                worst = max(worst, abs(off))
                shown = f"{100 * seen:.1f} % ± {error:.1f}", f"{off:+.1f}".replace("-", "−")
                elsewhere_said = 100 * power_at(fall, family, at, other, images, allowed, level)
                told = planned.show(fall).lstrip("+")
                lines.append([title, str(images), told, f"{100 * said:.1f} %", *shown])
                lines[-1].append(f"{elsewhere_said:.1f} %")
    head = ["check", "images", "fall", "predicted", "simulated", "off by", "by 100 others"]
    what = f"What a plan says a gate finds, beside {gates} simulated gates each"
    print_table(head, lines, name="plan", what=what)
    value(
        "plan-points", f"{worst:.1f}", "points", "largest error of a plan against simulated gates"
    )
    inside = sum(abs(float(line[-2].replace("−", "-"))) <= BEYOND for line in lines)
    print(
        f"{inside} of {len(lines)} within {BEYOND:g} points, {worst:.1f} at the most; {gates} gates"
    )
    print(f"each, {time.perf_counter() - began:.0f} seconds.")


if __name__ == "__main__":
    with kept(__file__):
        main()

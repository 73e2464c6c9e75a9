"""How often gates on three kinds of noise pass, and how many images and forward passes it takes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import special

from common.change_sets import CHOSEN_ON
from common.gates import LIMITS, VERDICTS, gates, shares
from common.measured import Measured
from common.side_by_side import print_table
from pytest_iaside import Thresholds
from pytest_iaside.measure.panel import PANEL
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.intervals import STUDENT
from pytest_iaside.thresholds import LEVEL

NOISES = (
    "Lite0, 8-bit weights",
    "reader, 8-bit weights",
    "Lite0, 10 % pruned",
    "reader, 15 % pruned",
    "reader, other seed",
    "robust, other seed",
)
"""Rounding, pruning of about 10 %, and training with another seed."""
COUNTS = (25, 50, 100, 200)
OFTEN = 0.9
"""How often gates pass at the second number of images."""
MOST = 100_000


def times(factor: float) -> Thresholds:
    """The default limits, all ``factor`` times as wide."""
    allowed = {
        name: value
        for name, value in vars(LIMITS).items()
        if name.startswith("max_") and value is not None
    }
    return replace(LIMITS, **{name: factor * value for name, value in allowed.items()})


def passes_of_noise(tables: Path, draws: int) -> None:
    """The verdicts of gates by change, limits and number of images."""
    print("\n## Three kinds of noise, by limits and images\n")
    print(f"{draws} gates a cell, one where the images are the whole pool.")
    print(f"Verdicts in %: {' / '.join(VERDICTS)}\n")
    lines = []
    for name in NOISES:
        with suppress(FileNotFoundError):
            pair = _pair(name, tables)
            for factor in (0.5, 1, 2):
                line = [name, f"{factor:g}"]
                for count in COUNTS:
                    if count > len(pair[0].profile):
                        line.append("")
                        continue
                    found = shares(gates(*pair, count, draws, times(factor)))
                    line.append(" / ".join(f"{share:.0f}" for share in found))
                lines.append(line)
    head = ["change", "limits ×", *(f"{count} images" for count in COUNTS)]
    what = f"Three kinds of noise: verdicts in % ({' / '.join(VERDICTS)}), by limits and images"
    print_table(head, lines, name="noise-by-limits", what=what)


def images_to_pass(tables: Path) -> None:
    """What a pass of each quantity takes where its mean stays, from its paired deviation."""
    print("\n## Images and forward passes that a pass takes\n")
    print("At the default limits, where the mean stays as it is, from the deviation of paired")
    print(
        "differences: images (forward passes) with which the check of one quantity passes in half"
    )
    print(f"of the gates, and in {OFTEN:.0%}. A gate passes where every check does.\n")
    lines = []
    for name in NOISES:
        with suppress(FileNotFoundError):
            candidate, baseline = (each.profile for each in _pair(name, tables))
            for what, (rows, allowed, places, each) in _rows(candidate, baseline).items():
                hits = what == "clean accuracy"
                deviation = float(rows.std(ddof=1))
                line = [name, what, f"{deviation:.3g}", f"{allowed:.3g}"]
                for often in (0.5, OFTEN):
                    images = _images(deviation, allowed, places, often, hits=hits)
                    line.append(f"{images:,} ({each * images:,})")
                lines.append(line)
    head = ["change", "quantity", "deviation", "allowed", "half", f"{OFTEN:.0%}"]
    what = "Images (forward passes) that a pass takes where the mean stays as it is"
    print_table(head, lines, name="images-to-pass", what=what)


def _pair(name: str, tables: Path) -> tuple[Measured, Measured]:
    base = CHOSEN_ON[name].base
    return Measured.load(tables, name), Measured.load(tables, f"{base}, baseline")


def _rows(
    candidate: SpectralProfile, baseline: SpectralProfile
) -> dict[str, tuple[np.ndarray, float, int, int]]:
    """Of each quantity paired differences (K,), what is allowed of their mean, at how many places
    at once, and the forward passes of an image."""
    ours, theirs = candidate.answers, baseline.answers
    assert ours is not None
    assert theirs is not None
    panel, game = 1 + len(PANEL), 2**baseline.rules.bands + 1
    moved = candidate.image_psi - baseline.image_psi
    value = baseline.image_psi.sum(axis=1).mean()
    widest = int(moved.std(axis=0).argmax())
    answers = {
        "clean accuracy": ("accuracy, clean", LIMITS.max_accuracy_drop, 1),
        "mean accuracy": ("accuracy, clean and perturbed", LIMITS.max_accuracy_drop, panel),
        "clean log-likelihood": ("log-likelihood, clean", LIMITS.max_log_likelihood_drop, 1),
    }
    return {
        **{
            title: (ours[name] - theirs[name], allowed or 0.0, 1, passes)
            for title, (name, allowed, passes) in answers.items()
        },
        "v(all)": (moved.sum(axis=1), (LIMITS.max_value_drop or 0.0) * value, 1, game),
        "widest band": (
            moved[:, widest],
            (LIMITS.max_band_drop or 0.0) * value,
            moved.shape[1],
            game,
        ),
    }


def _images(deviation: float, allowed: float, places: int, often: float, *, hits: bool) -> int:
    """The fewest images of which so many gates pass; of hits by Agresti and Min's interval."""
    images = np.arange(2, MOST)
    more = 2 * hits
    error = np.sqrt(images * deviation**2 + hits) / (images + more)
    reach = STUDENT.reach(1 - (1 - LEVEL) / places, images - 1.0) * error
    chance = special.ndtri(often) * deviation / np.sqrt(images)
    return int(images[reach + chance <= allowed][0])

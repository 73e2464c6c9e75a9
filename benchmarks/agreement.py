"""How far measured values are from those that were computed independently.

    python benchmarks/agreement.py

EfficientNet-Lite0 in eager PyTorch, 24 photographs at 224×224, 8 bands, every coalition, beside the
values in ../shared/vectors, which are not part of the project: without them it says so and ends.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common.lite0 import lite0
from common.saved import kept, value
from common.side_by_side import machine

from pytest_iaside import Execution, ReferenceSample, measure

SHARED = Path(__file__).parents[2] / "shared"
IMAGES = 24


def main() -> None:
    if not SHARED.is_dir():
        print("the independent values are not there: nothing was compared")
        return
    print(f"{machine()}\n")
    folder = SHARED / "imagenet100"
    sample = ReferenceSample.from_folder(folder, labels=folder / "labels.csv", limit=IMAGES)
    profile = measure(lite0(), sample, execution=Execution(backend="eager"), cache=False)
    vectors = np.load(SHARED / "vectors" / "lite0_exact_m8.npz")
    if list(profile.names) != vectors["files"][:IMAGES].tolist():
        raise SystemExit(f"{folder} holds other images than {SHARED / 'vectors'} was computed on")
    of = f"from values that were computed independently: Lite0, {IMAGES} photographs, eager PyTorch"
    found = np.abs(profile.log_likelihood - vectors["log_likelihood"][:IMAGES]).max()
    value("agree-log", f"{found:.1e}", "nats", f"largest difference of log-likelihoods {of}")
    print(f"log-likelihoods: {found:.1e} nats at most")
    found = np.abs(profile.psi - vectors["image_psi"][:IMAGES].mean(axis=0)).max()
    value("agree-psi", f"{found:.1e}", "nats", f"largest difference of mean ψ {of}")
    print(f"mean ψ: {found:.1e} nats at most")


if __name__ == "__main__":
    with kept(__file__):
        main()

"""Which images drive a change: each one's contribution to the quantity that decides a gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.compare.comparison import Check, CheckName
from pytest_iaside.compare.evidence import Evidence, quantity_of, worst
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.intervals import Rows, leave_one_out

# How many images are told of in reports.
SHOWN = 12
# Of checks with the same verdict the one that says the most of single images.
ORDER: tuple[CheckName, ...] = ("band", "value", "src", "sid")


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageChange:
    """One image's part in a change; ``contribution`` in the unit of the quantity."""

    name: str
    digest: str
    label: int | None
    contribution: float
    baseline_psi: NDArray[np.float64]
    candidate_psi: NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageChanges:
    """What every image adds to the change of ``quantity``, the most harmful first.

    Contributions are jackknife pseudo-values over K, less the baseline's: for a mean they sum
    to its change, for a score of the mean nearly so.
    """

    quantity: str
    unit: str
    change: float
    images: tuple[ImageChange, ...]

    def as_dict(self) -> dict[str, Any]:
        """The first images in plain values, for reports."""
        return {
            "quantity": self.quantity,
            "unit": self.unit,
            "change": self.change,
            "count": len(self.images),
            "images": [
                {
                    "name": image.name,
                    "digest": image.digest,
                    "label": image.label,
                    "contribution": image.contribution,
                    "baseline_psi": image.baseline_psi.tolist(),
                    "candidate_psi": image.candidate_psi.tolist(),
                }
                for image in self.images[:SHOWN]
            ],
        }


def image_changes(
    evidence: Evidence, checks: list[Check], candidate: SpectralProfile, rows: NDArray[np.int64]
) -> ImageChanges | None:
    """The images behind the check that decides; None where there is but one.

    ``rows`` are those of ``candidate`` that ``evidence`` is of, in its order.
    """
    if len(evidence.ours) < 2 or not evidence.paired:
        return None
    check = _deciding(checks)
    name: CheckName = check.name if check else "value"
    change = quantity_of(name, evidence.partition, check.where if check else "")
    found = change(evidence.ours.mean(axis=0), evidence.theirs.mean(axis=0))
    contributions = _contributions(evidence.ours, evidence.theirs, change)
    order = np.argsort(contributions if found <= 0 else -contributions, kind="stable")
    quantity = {
        "band": f"ψ of {check.where}" if check else "",
        "sid": f"importance below {check.where}" if check else "",
        "src": "signed SRC",
    }.get(name, "v(all)")
    return ImageChanges(
        quantity=quantity,
        unit="nats" if name in ("band", "value") else "",
        change=float(found),
        images=tuple(
            ImageChange(
                name=candidate.names[rows[at]],
                digest=candidate.digests[rows[at]],
                label=_label(candidate, rows[at]),
                contribution=float(contributions[at]),
                baseline_psi=evidence.theirs[at],
                candidate_psi=evidence.ours[at],
            )
            for at in order
        ),
    )


def _deciding(checks: list[Check]) -> Check | None:
    """The check that says the most of those with the worst verdict; None where all pass."""
    verdict = worst([check.verdict for check in checks])
    found = [check for check in checks if check.verdict == verdict and check.name in ORDER]
    return None if verdict == "pass" else min(found, key=_rank, default=None)


def _rank(check: Check) -> int:
    return ORDER.index(check.name)


def _contributions(ours: Rows, theirs: Rows, change: Any) -> Rows:
    count = len(ours)
    whole = change(ours.mean(axis=0), theirs.mean(axis=0))
    without = change(leave_one_out(ours), leave_one_out(theirs))
    return np.asarray(whole - (count - 1) / count * without)


def _label(profile: SpectralProfile, row: int) -> int | None:
    return int(profile.labels[row]) if profile.labels.ndim == 1 else None

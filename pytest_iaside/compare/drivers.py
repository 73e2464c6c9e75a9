"""Which images drive a change: each one's contribution to the quantity that decides a gate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.compare.check import Check, worst
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.compare.families import Family
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.intervals import leave_one_out

# Of checks with the same verdict the one that says the most of single images.
ORDER = ("band", "upper", "value", "src", "sid")


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageChange:
    """One image's part in a change; ``contribution`` in the unit of the quantity."""

    name: str
    digest: str
    label: int | None
    contribution: float
    baseline_psi: Floats
    candidate_psi: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageChanges:
    """What every image adds to the change of ``quantity``, the most harmful first.

    Contributions are jackknife pseudo-values over K, less the baseline's: for a mean they sum
    to its change, for a score of the mean nearly so. They are of single images also where these
    come in groups: an image adds what it adds, whoever else is in its group.
    """

    quantity: str
    unit: str
    change: float
    images: tuple[ImageChange, ...]


def image_changes(
    evidence: Evidence,
    checks: Sequence[Check],
    families: Mapping[str, Family],
    candidate: Measurement,
    rows: NDArray[np.int64],
) -> ImageChanges | None:
    """The images (``rows`` of ``candidate``) behind what decides; None where there is but one."""
    count = len(evidence.candidate)
    if candidate.kind != "spectral" or count < 2 or not evidence.paired:
        return None
    verdict = worst([check.verdict for check in checks])
    deciding = [c for c in checks if c.verdict == verdict != "pass" and c.name in ORDER]
    check = min(deciding, key=lambda each: ORDER.index(each.name), default=None)
    name, where = (check.name, check.where) if check else ("value", "")
    change = families[name].change_at(where)
    found = change(*evidence.means())
    without = change(leave_one_out(evidence.candidate), leave_one_out(evidence.baseline))
    contributions = found - (count - 1) / count * without
    order = np.argsort(contributions if found <= 0 else -contributions, kind="stable")
    quantities = {
        "band": f"ψ of {where}",
        "upper": f"ψ of {where}",
        "value": "v(all)",
        "src": "signed SRC",
        "sid": f"importance below {where}",
    }
    # Of a score they are numbers that tell targets apart, and mean nothing to anybody.
    hard = candidate.labels.ndim == 1 and candidate.model.task != "score"
    return ImageChanges(
        quantity=quantities[name],
        unit=candidate.model.unit if name in ("band", "upper", "value") else "",
        change=float(found),
        images=tuple(
            ImageChange(
                name=candidate.names[rows[at]],
                digest=candidate.digests[rows[at]],
                label=int(candidate.labels[rows[at]]) if hard else None,
                contribution=float(contributions[at]),
                baseline_psi=evidence.baseline[at],
                candidate_psi=evidence.candidate[at],
            )
            for at in order
        ),
    )

"""Readings: quantities measured on every image of a reference sample, for a gate to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_iaside.errors import BaselineError, SpectralRobustnessError
from pytest_iaside.measure.provenance import ModelFacts, ReferenceFacts
from pytest_iaside.stats.intervals import Interval, jackknife_interval
from pytest_iaside.store import archive

FORMAT = "iaside-readings/1"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One number that every image has, of which the mean counts.

    ``family`` is what a limit is given for: all quantities of a family are held against it
    together. ``counted`` says that an image has either 0 or 1.
    """

    name: str
    family: str
    better: Literal["lower", "higher"]
    counted: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Readings:
    """Q quantities of each of K images, immutable.

    ``kind`` says what was measured, and ``settings``, plain values, how: readings of other
    kinds or settings cannot be compared. ``values`` (K, Q) float64; ``digests``, ``names`` and
    ``labels`` of the K images in the same order.
    """

    kind: str
    quantities: tuple[Quantity, ...]
    values: NDArray[np.float64]
    digests: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[Any]
    settings: Mapping[str, Any]
    reference: ReferenceFacts
    model: ModelFacts
    forward_passes: int
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        means = ", ".join(
            f"{quantity.name} {mean:.3g}"
            for quantity, mean in zip(self.quantities, self.values.mean(axis=0), strict=True)
        )
        return f"Readings({self.kind} of {self.model.name}: {means}; {len(self)} images)"

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """The values (K,) of the quantity ``name``; raises KeyError where there is none."""
        names = [quantity.name for quantity in self.quantities]
        if name not in names:
            raise KeyError(f"no quantity {name!r}; there are {', '.join(names)}")
        return self.values[:, names.index(name)]

    def interval(self, level: float) -> Interval:
        """Bounds (Q,) of the means, by the jackknife over images."""
        return jackknife_interval(self.values, lambda mean: mean, level)

    def take(self, images: Sequence[int]) -> Readings:
        """The readings of some of the images, in the order of ``images``."""
        rows = list(images)
        return replace(
            self,
            values=self.values[rows],
            labels=self.labels[rows],
            digests=tuple(self.digests[row] for row in rows),
            names=tuple(self.names[row] for row in rows),
        )

    def save(self, path: str | Path, **header: Any) -> Path:
        """Write the readings to the YAML file ``path`` and their arrays to the NPZ beside it.

        Atomic: killed at any moment, the old files stand. ``header`` adds plain values to the
        YAML. Raises BaselineError when the folder cannot be written.
        """
        path = Path(path).with_suffix(".yaml")
        arrays = {
            "values": self.values,
            "labels": self.labels,
            "digests": np.array(self.digests),
            "names": np.array(self.names),
        }
        document = {
            "format": FORMAT,
            "kind": self.kind,
            "summary": self.summary(),
            "quantities": [asdict(quantity) for quantity in self.quantities],
            "settings": dict(self.settings),
            "reference": asdict(self.reference),
            "model": asdict(self.model),
            "environment": dict(self.environment),
            "forward_passes": self.forward_passes,
        }
        archive.write(path, {**document, **header}, arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Readings:
        """Read what ``save`` wrote.

        Raises BaselineError when a file is missing, truncated, corrupt, or holds no readings.
        """
        path = Path(path).with_suffix(".yaml")
        document, arrays = archive.read(path)
        if document.get("format") != FORMAT:
            raise BaselineError(
                f"{path} has format {document.get('format')!r}, expected readings, {FORMAT!r}; "
                "create it anew"
            )
        try:
            return cls(
                kind=document["kind"],
                quantities=tuple(Quantity(**each) for each in document["quantities"]),
                values=arrays["values"],
                digests=tuple(arrays["digests"].tolist()),
                names=tuple(arrays["names"].tolist()),
                labels=arrays["labels"],
                settings=document["settings"],
                reference=ReferenceFacts(**document["reference"]),
                model=ModelFacts(**document["model"]),
                forward_passes=document["forward_passes"],
                environment=document["environment"],
            )
        except (KeyError, TypeError, SpectralRobustnessError) as error:
            raise BaselineError(
                f"{path} does not hold whole readings ({error}); restore it from version control "
                "or create it anew"
            ) from error

    def summary(self) -> dict[str, Any]:
        """Every mean in rounded numbers, for people and for diffs; not read back."""
        means = zip(self.quantities, self.values.mean(axis=0), strict=True)
        return {
            "images": len(self),
            "means": {quantity.name: round(float(mean), 4) for quantity, mean in means},
        }

    def as_dict(self) -> dict[str, Any]:
        """What was measured how, in plain values, for reports."""
        return {
            "images": len(self),
            "settings": dict(self.settings),
            "reference": asdict(self.reference),
            "model": asdict(self.model),
            "environment": dict(self.environment),
            "forward_passes": self.forward_passes,
            "seconds": self.seconds,
        }


def columns(*values: ArrayLike) -> NDArray[np.float64]:
    """Readings (K, Q) of the values (K,) of each quantity."""
    return np.stack([np.asarray(each, dtype=np.float64) for each in values], axis=1)

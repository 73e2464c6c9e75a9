"""SpectralProfile: what a model makes of each band of each image, and all that is read off it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy import special

from pytest_iaside.images.bands import BandPartition
from pytest_iaside.measure.as_html import as_html
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.measurement import Measurement, chance_of, distinct_labels
from pytest_iaside.measure.quantities import Quantity, Unit
from pytest_iaside.measure.trainings import unstructured_training
from pytest_iaside.stats import sid_intervals
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.intervals import Interval, Statistic, jackknife_error, jackknife_interval
from pytest_iaside.stats.score import sid, signed_src, src
from pytest_iaside.stats.structured import why_unstructured


@dataclass(frozen=True, eq=False, kw_only=True)
class SpectralProfile(Measurement, kind="spectral"):
    """A measurement whose quantities are the Shapley values ψ of M bands, in nats.

    ``values`` (K, M) float64; ``by_size`` (K, M+1) the mean log-likelihood over the coalitions of
    each size, from the empty to the full one; ``log_likelihood`` (K, 2^M) float64, or None where
    not all coalitions were played, or it was not saved; ``information`` (K,) what each image tells
    the model about its label (stats/structured.py). Everything else is computed from these.
    """

    by_size: Floats
    log_likelihood: Floats | None = None
    information: Floats
    rules: Rules
    kind: str = field(default="spectral", init=False)
    quantities: tuple[Quantity, ...] = field(init=False)
    settings: Mapping[str, Any] = field(init=False)

    NEEDED = ("by_size", "information")
    PER_IMAGE = (*Measurement.PER_IMAGE, "by_size", "information", "log_likelihood")

    def __post_init__(self) -> None:
        unit: Unit = "score" if self.model.task == "score" else "nats"
        bands = tuple(
            Quantity(name=f"band {band} ({label})", family="band", better="higher", unit=unit)
            for band, label in enumerate(self.partition.labels)
        )
        object.__setattr__(self, "quantities", bands)
        object.__setattr__(self, "settings", self.rules.as_dict())

    def __repr__(self) -> str:
        return (
            f"SpectralProfile({self.model.name}: SRC {self.src:.3f}, "
            f"v(all) {self.value:.2f} {self.model.unit}, {self.size}, {self.rules.bands} bands)"
        )

    def _repr_html_(self) -> str:
        bands = zip(self.partition.labels, self.psi, self.standard_error, self.sid, strict=True)
        rows = [
            (f"{band}", label, *(f"{number:.3f}" for number in numbers))
            for band, (label, *numbers) in enumerate(bands)
        ]
        head = ("band", "frequencies", f"ψ ({self.model.unit})", "± se", "SID")
        return as_html(repr(self), head, rows)

    @property
    def partition(self) -> BandPartition:
        return BandPartition(
            self.reference.height, self.reference.width, self.rules.bands, self.rules.partition
        )

    @property
    def image_psi(self) -> Floats:
        """ψ of every image, (K, M), in nats: ``values``."""
        return self.values

    @property
    def psi(self) -> Floats:
        """Shapley value of each band, (M,), in nats: the mean over images (SPEC.md 1.4)."""
        return self.means

    @property
    def standard_error(self) -> Floats:
        """Standard error over images, or groups of them, of each band's ψ, (M,); NaN for one."""
        rows = self.distinct(self.values)
        if (groups := self.group_numbers) is not None:
            return jackknife_error(rows, np.asarray, groups)
        if len(rows) < 2:
            return np.full(self.rules.bands, np.nan)
        return np.asarray(rows.std(axis=0, ddof=1) / np.sqrt(len(rows)))

    @property
    def image_value(self) -> Floats:
        """v(all) of each image, (K,), in nats: log-likelihood gained over no band at all."""
        return self.by_size[:, -1] - self.by_size[:, 0]

    @property
    def value(self) -> float:
        """v(all), the mean over images, in nats (SPEC.md 1.3)."""
        return float(self.distinct(self.image_value).mean())

    @property
    def sid(self) -> Floats:
        """Spectral importance distribution (M,), SPEC.md 1.5; NaN when degenerate."""
        return sid(self.psi)

    @property
    def src(self) -> float:
        """The paper's spectral robustness score, SPEC.md 1.5; NaN when degenerate."""
        return float(src(self.sid))

    @property
    def signed_src(self) -> float:
        """The spectral robustness score with its direction; NaN when degenerate."""
        return float(signed_src(self.sid))

    @property
    def degenerate(self) -> bool:
        """Whether all ψ are equal, so that neither SID nor SRC exists."""
        return bool(np.isnan(self.sid).any())

    @cached_property
    def unstructured_because(self) -> str:
        """Why ψ cannot be told from noise, and SID and SRC mean nothing; empty where it can."""
        if self.trainings:
            return unstructured_training(self)
        if len(self) > 1 and (wrong := self._not_finite()):
            return wrong
        why = why_unstructured(
            self.distinct(self.values),
            self.distinct(self.image_value),
            self.distinct(self.information),
            self.distinct(self.by_size[:, -1] + chance_of(self.model)),
            distinct_labels=distinct_labels(self),
            predicted=self.reference.labels == "predicted",
            groups=self.group_numbers,
            unit=self.model.unit,
        )
        return f"{why}; {told}" if why and (told := self._right()) else why

    def interval(
        self, what: Literal["psi", "sid", "src", "signed_src", "value"], level: float = 0.95
    ) -> Interval:
        """Confidence interval of ``what`` over images: two bounds, or two for every band.

        The jackknife's, which covers as it says for psi, sid and src
        (benchmarks/gate_calibration.py), and at least so where several bands may be the least
        (stats/sid_intervals.py). Exact copies of an image count as one. Where images come in
        groups, one group is left out at a time.
        """
        rows, groups = self.distinct(self.values), self.group_numbers
        if what == "src":  # The sign is lost: an interval around 0 folds up.
            signed = self.interval("signed_src", level)
            bounds = np.abs([signed.low, signed.high])
            around = signed.low * signed.high <= 0
            return Interval(np.where(around, 0.0, bounds.min(axis=0)), bounds.max(axis=0), level)
        if shares := {"sid": sid, "signed_src": _signed_src}.get(what):
            return Interval(*sid_intervals.interval(rows, shares, level, groups=groups), level)
        linear: dict[str, Statistic] = {"psi": np.asarray, "value": lambda psi: psi.sum(axis=-1)}
        if what not in linear:
            known = "psi, sid, src, signed_src, value"
            raise ValueError(f"no interval for {what!r}; ask for one of {known}")
        return jackknife_interval(rows, linear[what], level, groups=groups)

    def convergence(self) -> Floats:
        """The paper's convergence curve (K−1,): (1/M)·‖Ψ after k+1 images − Ψ after k‖₁ (fig. 15).

        In nats, in the order of the images.
        """
        means = np.cumsum(self.values, axis=0) / np.arange(1, len(self) + 1)[:, None]
        return np.asarray(np.abs(np.diff(means, axis=0)).mean(axis=1))

    def error_bound(self) -> float:
        """The paper's bound on the error of ψ, in nats: 2^(M−1)·√(Var(Δv*)/K) (eq. 20).

        Δv* is the marginal contribution, over all bands and coalitions without them, that
        varies the most between images. A bound for the worst case: `standard_error` is the
        error itself. NaN for one image.

        Raises ValueError where there are no log-likelihoods of all coalitions.
        """
        return float(2 ** (self.rules.bands - 1)) * self.tight_error_bound()

    def tight_error_bound(self) -> float:
        """The same bound without the factor, √(Var(Δv*)/K): Shapley's weights sum to 1 (SPEC 1.6).

        Raises as ``error_bound``.
        """
        if self.log_likelihood is None:
            raise ValueError(
                "the bound needs the log-likelihoods of all coalitions, which this profile does "
                "not hold; measure with design='exact'"
            )
        rows = self.distinct(self.log_likelihood)
        if len(rows) < 2:
            return float("nan")
        coalition = np.arange(rows.shape[1])
        variance = max(
            np.var(rows[:, without | 1 << band] - rows[:, without], axis=0, ddof=1).max()
            for band in range(self.rules.bands)
            for without in [coalition[coalition >> band & 1 == 0]]
        )
        return float(np.sqrt(variance / len(rows)))

    @property
    def label_entropy(self) -> float:
        """H(Y) in nats: the entropy of the labels' shares among the images.

        NaN where an image has no class, but several labels or a target.
        """
        labels = self.labels
        if self.model.task != "softmax":
            return float("nan")
        shares = np.bincount(labels) if labels.ndim == 1 else labels.sum(axis=0)
        return float(special.entr(shares / shares.sum()).sum())

    @property
    def information_bound(self) -> float:
        """What the model finds in the images of their labels at least, in nats: H(Y) + v(all) + C.

        Barber and Agakov's bound (SPEC.md 1.7); below 0 where a model is more sure than right.
        """
        return self.label_entropy + float(self.distinct(self.by_size[:, -1]).mean())

    def widths(self) -> dict[str, int]:
        """How many columns each array (K, …) has."""
        bands = self.rules.bands
        return {"values": bands, "by_size": bands + 1, "log_likelihood": 2**bands}

    @classmethod
    def _own(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        return {"rules": Rules(**document["settings"])}

    def summary(self) -> dict[str, Any]:
        """The profile in plain rounded numbers, for people and for diffs; not read back."""
        return {
            **self.counts(),
            "psi": [round(float(x), 4) for x in self.psi],
            "standard_error": [round(float(x), 4) for x in self.standard_error],
            "sid": [round(float(x), 4) for x in self.sid],
            "src": round(self.src, 4),
            "signed_src": round(self.signed_src, 4),
            "value": round(self.value, 4),
            "log_likelihood_of_all_bands": round(float(self.by_size[:, -1].mean()), 4),
            "log_likelihood_of_none": round(float(self.by_size[:, 0].mean()), 4),
            "structured": self.structured,
        }


def _signed_src(psi: Floats, least: Floats) -> Floats:
    return signed_src(sid(psi, least))

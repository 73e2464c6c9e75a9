"""SpectralProfile: what a model makes of each band of each image, and all that is read off it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.errors import BaselineError, SpectralRobustnessError
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.provenance import ModelFacts, ReferenceFacts
from pytest_iaside.stats import sid_intervals as shares
from pytest_iaside.stats.intervals import (
    Interval,
    Method,
    Statistic,
    bca_interval,
    jackknife_interval,
)
from pytest_iaside.stats.score import sid, signed_src, src
from pytest_iaside.stats.structured import why_unstructured
from pytest_iaside.store import archive

FORMAT = "iaside-profile/1"


@dataclass(frozen=True, eq=False, kw_only=True)
class SpectralProfile:
    """Shapley values of M bands for each of K images, immutable.

    ``image_psi`` (K, M) float64 in nats; ``by_size`` (K, M+1) the mean log-likelihood over
    the coalitions of each size, from the empty to the full one; ``log_likelihood``
    (K, 2^M) float64 or None where it was not kept; ``information`` (K,) what each image tells
    the model about its label (structure.py); ``digests``, ``names`` and ``labels`` of the K
    images in the same order. Everything else is computed from these.
    """

    image_psi: NDArray[np.float64]
    by_size: NDArray[np.float64]
    log_likelihood: NDArray[np.float64] | None
    information: NDArray[np.float64]
    digests: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[Any]
    rules: Rules
    reference: ReferenceFacts
    model: ModelFacts
    forward_passes: int
    environment: Mapping[str, str] = field(default_factory=dict)
    passes_from_cache: int = 0
    """How many of ``forward_passes`` an earlier measurement had run."""
    not_kept_because: str = ""
    """Why a later measurement will have to run them again, where they were to be kept."""
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.image_psi)

    def __repr__(self) -> str:
        return (
            f"SpectralProfile({self.model.name}: SRC {self.src:.3f}, v(all) {self.value:.2f} nats, "
            f"{len(self)} images, {self.rules.bands} bands)"
        )

    @property
    def partition(self) -> BandPartition:
        return BandPartition(
            self.reference.height, self.reference.width, self.rules.bands, self.rules.partition
        )

    @property
    def psi(self) -> NDArray[np.float64]:
        """Shapley value of each band, (M,), in nats: the mean over images (SPEC.md 1.4)."""
        return np.asarray(self.image_psi.mean(axis=0))

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """Standard error over images of each band's ψ, (M,); NaN for a single image."""
        if len(self) < 2:
            return np.full(self.rules.bands, np.nan)
        return np.asarray(self.image_psi.std(axis=0, ddof=1) / np.sqrt(len(self)))

    @property
    def image_value(self) -> NDArray[np.float64]:
        """v(all) of each image, (K,), in nats: log-likelihood gained over no band at all."""
        return self.by_size[:, -1] - self.by_size[:, 0]

    @property
    def value(self) -> float:
        """v(all), the mean over images, in nats (SPEC.md 1.3)."""
        return float(self.image_value.mean())

    @property
    def sid(self) -> NDArray[np.float64]:
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

    @property
    def structured(self) -> bool:
        """Whether ψ can be told from noise; where not, SID and SRC mean nothing."""
        return not self.unstructured_because

    @cached_property
    def unstructured_because(self) -> str:
        """Why the profile is not structured, in words; empty where it is."""
        hard = self.labels if self.labels.ndim == 1 else self.labels.argmax(axis=1)
        return why_unstructured(
            self.image_psi,
            self.image_value,
            self.information,
            self.by_size[:, -1] + np.log(self.model.classes),
            distinct_labels=len(np.unique(hard)),
            predicted=self.reference.labels == "predicted",
        )

    def interval(
        self,
        what: Literal["psi", "sid", "src", "signed_src", "value"],
        level: float = 0.95,
        *,
        method: Method = "jackknife",
    ) -> Interval:
        """Confidence interval of ``what`` over images: two bounds, or two for every band.

        ``jackknife`` covers as it says for psi, sid and src (benchmarks/gate_calibration.py),
        and at least so where several bands may be the least (shares.py); ``bca`` is the
        bootstrap's, which covers less at few images.
        """
        statistics: dict[str, Statistic] = {
            "psi": lambda mean: mean,
            "sid": sid,
            "src": lambda mean: src(sid(mean)),
            "signed_src": lambda mean: signed_src(sid(mean)),
            "value": lambda mean: mean.sum(axis=-1),
        }
        if what not in statistics:
            raise ValueError(f"no interval for {what!r}; ask for one of {', '.join(statistics)}")
        if what == "src":  # The sign is lost: an interval around 0 folds up.
            signed = self.interval("signed_src", level, method=method)
            bounds = np.abs([signed.low, signed.high])
            around = signed.low * signed.high <= 0
            return Interval(np.where(around, 0.0, bounds.min(axis=0)), bounds.max(axis=0), level)
        if method == "bca":
            return bca_interval(self.image_psi, statistics[what], level)
        if what == "sid":
            return Interval(*shares.interval(self.image_psi, sid, level), level)
        if what == "signed_src":
            return Interval(*shares.interval(self.image_psi, _signed_src, level), level)
        return jackknife_interval(self.image_psi, statistics[what], level)

    def first(self, count: int) -> SpectralProfile:
        """The profile of the first ``count`` images."""
        return self.take(range(count))

    def take(self, images: Sequence[int] | NDArray[np.int64]) -> SpectralProfile:
        """The profile of the images at the indices ``images``, in that order."""
        rows = np.asarray(images, dtype=np.int64)
        kept = self.log_likelihood
        return replace(
            self,
            image_psi=self.image_psi[rows],
            by_size=self.by_size[rows],
            log_likelihood=None if kept is None else kept[rows],
            information=self.information[rows],
            digests=tuple(self.digests[row] for row in rows),
            names=tuple(self.names[row] for row in rows),
            labels=self.labels[rows],
            forward_passes=round(self.forward_passes * len(rows) / len(self)),
            passes_from_cache=round(self.passes_from_cache * len(rows) / len(self)),
        )

    def convergence(self) -> NDArray[np.float64]:
        """The paper's convergence curve (K−1,): (1/M)·‖Ψ after k+1 images − Ψ after k‖₁ (fig. 15).

        In nats, in the order of the images.
        """
        means = np.cumsum(self.image_psi, axis=0) / np.arange(1, len(self) + 1)[:, None]
        return np.asarray(np.abs(np.diff(means, axis=0)).mean(axis=1))

    def error_bound(self) -> float:
        """The paper's bound on the error of ψ, in nats: 2^(M−1)·√(Var(Δv*)/K) (eq. 20).

        Δv* is the marginal contribution, over all bands and coalitions without them, that
        varies the most between images. A bound for the worst case: `standard_error` is the
        error itself. NaN for one image.

        Raises ValueError where the log-likelihoods of all coalitions were not kept.
        """
        if self.log_likelihood is None:
            raise ValueError(
                "the bound needs the log-likelihoods of all coalitions, which this profile does "
                "not hold; measure with design='exact', and not from a baseline"
            )
        if len(self) < 2:
            return float("nan")
        coalition = np.arange(self.log_likelihood.shape[1])
        variance = max(
            np.var(
                self.log_likelihood[:, without | 1 << band] - self.log_likelihood[:, without],
                axis=0,
                ddof=1,
            ).max()
            for band in range(self.rules.bands)
            for without in [coalition[coalition >> band & 1 == 0]]
        )
        return float(2 ** (self.rules.bands - 1) * np.sqrt(variance / len(self)))

    def save(self, path: str | Path, **header: Any) -> Path:
        """Write the profile to the YAML file ``path`` and its arrays to the NPZ beside it.

        Atomic: killed at any moment, the old files stand. ``header`` adds plain values to the
        YAML. Raises BaselineError when the folder cannot be written.
        """
        path = Path(path).with_suffix(".yaml")
        arrays = {
            "image_psi": self.image_psi,
            "by_size": self.by_size,
            "information": self.information,
            "labels": self.labels,
            "digests": np.array(self.digests),
            "names": np.array(self.names),
        }
        if self.log_likelihood is not None:
            arrays["log_likelihood"] = self.log_likelihood
        document = {
            "format": FORMAT,
            "summary": self.summary(),
            "rules": self.rules.as_dict(),
            "reference": asdict(self.reference),
            "model": asdict(self.model),
            "environment": dict(self.environment),
            "forward_passes": self.forward_passes,
        }
        archive.write(path, {**document, **header}, arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> SpectralProfile:
        """Read a profile that ``save`` wrote.

        Raises BaselineError when a file is missing, truncated, corrupt, or not a profile.
        """
        path = Path(path)
        if path.suffix != ".yaml":
            path = path.with_suffix(".yaml")
        document, arrays = archive.read(path)
        if document.get("format") != FORMAT:
            raise BaselineError(
                f"{path} has format {document.get('format')!r}, this version reads {FORMAT!r}; "
                "create it anew"
            )
        try:
            return cls(
                image_psi=arrays["image_psi"],
                by_size=arrays["by_size"],
                log_likelihood=arrays.get("log_likelihood"),
                information=arrays["information"],
                digests=tuple(arrays["digests"].tolist()),
                names=tuple(arrays["names"].tolist()),
                labels=arrays["labels"],
                rules=Rules(**document["rules"]),
                reference=ReferenceFacts(**document["reference"]),
                model=ModelFacts(**document["model"]),
                forward_passes=document["forward_passes"],
                environment=document["environment"],
            )
        except (KeyError, TypeError, SpectralRobustnessError) as error:
            raise BaselineError(
                f"{path} is not a whole profile ({error}); restore it from version control or "
                "create it anew"
            ) from error

    def summary(self) -> dict[str, Any]:
        """The profile in plain rounded numbers, for people and for diffs; not read back."""
        return {
            "images": len(self),
            "psi": [round(float(x), 4) for x in self.psi],
            "standard_error": [round(float(x), 4) for x in self.standard_error],
            "sid": [round(float(x), 4) for x in self.sid],
            "src": round(self.src, 4),
            "signed_src": round(self.signed_src, 4),
            "value": round(self.value, 4),
            "structured": self.structured,
        }

    def as_dict(self, level: float = 0.95) -> dict[str, Any]:
        """The profile in plain values with intervals at ``level``, for reports."""
        intervals = {
            what: self.interval(what, level) for what in ("psi", "sid", "signed_src", "value")
        }
        return {
            "images": len(self),
            "level": level,
            "psi": self.psi.tolist(),
            "standard_error": self.standard_error.tolist(),
            "sid": self.sid.tolist(),
            "src": self.src,
            "signed_src": self.signed_src,
            "value": self.value,
            "structured": self.structured,
            "unstructured_because": self.unstructured_because,
            "intervals": {
                what: {"low": interval.low.tolist(), "high": interval.high.tolist()}
                for what, interval in intervals.items()
            },
            "by_size": self.by_size.mean(axis=0).tolist(),
            "band_labels": list(self.partition.labels),
            "band_edges": self.partition.edges.tolist(),
            "rules": self.rules.as_dict(),
            "reference": asdict(self.reference),
            "model": asdict(self.model),
            "environment": dict(self.environment),
            "forward_passes": self.forward_passes,
            "passes_from_cache": self.passes_from_cache,
            "not_kept_because": self.not_kept_because,
            "seconds": self.seconds,
        }


def _signed_src(psi: NDArray[np.float64], least: NDArray[np.float64]) -> NDArray[np.float64]:
    return signed_src(sid(psi, least))

"""How much a gate allows; of its own, because every pytest session reads settings at its start."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pytest_iaside.checks import check_choice, check_share, is_number
from pytest_iaside.errors import SettingsError

LEVEL = 0.95
"""The usual confidence of every interval."""
Direction = Literal["worse", "any"]
FailOn = Literal["drift", "inconclusive", "any-change"]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How far the quantities of a family may move; None leaves a check out.

    ``change`` is how far their means may get worse than the baseline's, ``bound`` what no mean
    may be worse than.
    """

    change: float | None = None
    bound: float | None = None

    @property
    def empty(self) -> bool:
        return self.change is None and self.bound is None


Limits = Mapping[str, Limit]
"""The limit of each family of quantities."""


def check_limits(limits: Limits, what: str, names: Iterable[str]) -> None:
    """Raise SettingsError where ``limits`` are empty; ``names`` are keywords that give some."""
    if not limits:
        raise SettingsError(
            f"{what}: every limit is None, so nothing would be checked; give {', '.join(names)}, "
            "or some of them"
        )


# What the limits are that can be 1 at most.
SHARES = {
    "max_accuracy_drop": "a share of the images",
    "max_effective_drop": "a share of the images",
    "max_probability_drop": "a part of the label's probability, which is 1 at most",
    "max_src_drop": "a part of the signed SRC, which is 1 at most",
    "max_sid_shift": "a share of the importance",
    "max_value_drop": "a share of v(all)",
    "max_band_drop": "a share of v(all)",
    "max_upper_band_change": "a share of v(all)",
}


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """How much of a spectral profile may change before a gate says drift; None leaves a check out.

    The answers come first: ``max_accuracy_drop`` is the share of images that may be answered right
    no longer; ``max_log_likelihood_drop`` (nats) and ``max_probability_drop`` how far the
    log-likelihood and the probability of the label may fall, each at the model's own temperature.
    ``max_score_drop`` is how far a score of the user's own may fall, in its unit: a gate of such a
    classifier needs it. They count for the images as they are and for the mean over the panel;
    under any single one of its perturbations twice as much is allowed. ``max_effective_drop`` is
    the share of images that may be answered right no longer under any of its perturbations beyond
    what the change of clean accuracy explains (compare/effective.py). ``min_src`` is the least
    signed SRC of the candidate. ``max_src_drop`` is how far the signed SRC may fall.
    ``max_sid_shift`` is the share of importance that may move past any frequency towards higher
    ones. ``max_value_drop`` is the share of the baseline's v(all) that may be lost,
    ``max_band_drop`` the same for any single band's ψ. ``max_upper_band_change`` is how far a band
    of the upper half may change either way: what a model reads there, noise takes from it.
    ``direction``: whether other changes for the better count too.
    """

    # Why these defaults: benchmarks/real_changes.py; its tables: docs/calibration.md.
    # Real changes of photograph and digit classifiers that cost five points of accuracy under
    # perturbations are beyond the first three at 50 images; at 100 images a harmless one does
    # not hide a change of six times as much.
    max_accuracy_drop: float | None = 0.02
    max_log_likelihood_drop: float | None = 0.1
    max_probability_drop: float | None = 0.02
    max_score_drop: float | None = None
    max_effective_drop: float | None = None
    min_src: float | None = None
    max_src_drop: float | None = 0.02
    max_sid_shift: float | None = 0.05
    max_value_drop: float | None = 0.2
    max_band_drop: float | None = 0.2
    max_upper_band_change: float | None = 0.05
    direction: Direction = "worse"

    def __post_init__(self) -> None:
        check_choice("direction", self.direction, Direction)
        for name, found in vars(self).items():
            if name == "direction" or found is None:
                continue
            if not is_number(found):
                raise SettingsError(f"{name}={found!r} must be a number or None")
            if name == "min_src":
                if not -1 <= found <= 1:
                    raise SettingsError(f"{name}={found!r} must lie between -1 and 1, as SRC does")
                continue
            if not math.isfinite(found) or found < 0:
                raise SettingsError(f"{name}={found!r} must be finite and not negative")
            if name in SHARES:
                check_share(name, found, SHARES[name])

    @property
    def answer_limits(self) -> Limits:
        """The limits of what is measured of the answers themselves (measure/panel.py)."""
        allowed = {
            "accuracy": self.max_accuracy_drop,
            "log-likelihood": self.max_log_likelihood_drop,
            "probability": self.max_probability_drop,
            "score": self.max_score_drop,
        }
        found = {
            f"{place} {title}": Limit(change=times * change)
            for title, change in allowed.items()
            for place, times in (("clean", 1), ("mean", 1), ("perturbed", 2))
            if change is not None
        }
        if self.max_effective_drop is not None:
            found["effective"] = Limit(change=self.max_effective_drop)
        return found

    @property
    def limits(self) -> Limits:
        """The limit of each family of bands, and of what is read off them, that has one."""
        every = {
            "src": Limit(change=self.max_src_drop, bound=self.min_src),
            "sid": Limit(change=self.max_sid_shift),
            "value": Limit(change=self.max_value_drop),
            "band": Limit(change=self.max_band_drop),
            "upper": Limit(change=self.max_upper_band_change),
        }
        return {family: limit for family, limit in every.items() if not limit.empty}

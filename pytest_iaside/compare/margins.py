"""How far two models may be apart, either way, to be called equivalent."""

from __future__ import annotations

from dataclasses import dataclass, fields

from pytest_iaside.checks import checked_limit
from pytest_iaside.measure.quantities import AS_ANSWERED
from pytest_iaside.thresholds import Limit, Limits

NO_SHARES = ("max_log_likelihood_difference", "max_confidence_difference", "max_score_difference")


@dataclass(frozen=True, kw_only=True)
class Margins:
    """How far a deployed model may be from its original, either way; None leaves a check out.

    ``max_accuracy_difference`` is a share of the images, ``max_log_likelihood_difference`` in nats
    and ``max_probability_difference`` a part of the label's probability: of the images as they are
    and of the mean over clean and panel, each at its model's own temperature; under a single
    perturbation twice as much. ``max_confidence_difference`` (nats) is of the log-likelihood as
    the model answers it. ``max_score_difference`` is of a score of the user's own, in its unit, and
    stands for all of these: two such models need it. ``max_value_difference`` and
    ``max_band_difference`` are of v(all) and of any band's ψ, as shares of the original's v(all).
    """

    max_accuracy_difference: float | None = 0.05
    max_log_likelihood_difference: float | None = 0.1
    max_probability_difference: float | None = 0.02
    max_confidence_difference: float | None = 0.1
    max_score_difference: float | None = None
    max_value_difference: float | None = 0.1
    max_band_difference: float | None = 0.1

    def __post_init__(self) -> None:
        for each in fields(self):
            share = "" if each.name in NO_SHARES else "a share, which is 1 at most"
            checked_limit(each.name, getattr(self, each.name), share)

    @property
    def answers(self) -> Limits:
        """The margin of each family of what is measured of the answers (measure/panel.py)."""
        allowed = {
            "accuracy": self.max_accuracy_difference,
            "log-likelihood": self.max_log_likelihood_difference,
            "probability": self.max_probability_difference,
            "score": self.max_score_difference,
        }
        found = {
            f"{place} {title}": Limit(change=times * margin)
            for title, margin in allowed.items()
            for place, times in (("clean", 1), ("mean", 1), ("perturbed", 2))
            if margin is not None
        }
        if self.max_confidence_difference is not None:
            found[AS_ANSWERED] = Limit(change=self.max_confidence_difference)
        return found

    @property
    def bands(self) -> Limits:
        """The margin of v(all), and that of every band."""
        every = {"value": self.max_value_difference, "band": self.max_band_difference}
        return {name: Limit(change=each) for name, each in every.items() if each is not None}

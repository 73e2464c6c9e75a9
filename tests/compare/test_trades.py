"""Trade-offs: what moved for the better and what for the worse."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_iaside.compare.comparison import QuantityChange
from pytest_iaside.compare.trades import trades


def moved(
    name: str, family: str, change: float, *, better: Any = "higher", real: bool = True
) -> QuantityChange:
    return QuantityChange(
        index=0,
        name=name,
        family=family,
        better=better,
        baseline=0.0,
        candidate=change,
        change=change,
        low=change,
        high=change,
        p_value=0.0,
        moved=real,
    )


BANDS = [
    moved("band 0 (0.00–0.06 cycles/px)", "band", 0.214),
    moved("band 3 (0.19–0.25 cycles/px)", "band", -0.05),
    moved("band 6 (0.38–0.44 cycles/px)", "band", -0.13),
    moved("band 7 (0.44–0.50 cycles/px)", "band", -0.01),
]


def test_bands_that_moved_both_ways() -> None:
    (trade,) = trades(BANDS, ())
    assert trade.sentence == (
        "bands: gained band 0 (0.00–0.06 cycles/px) (+0.21 nats); lost band 6 (0.38–0.44 "
        "cycles/px) (−0.13 nats), band 3 (0.19–0.25 cycles/px) (−0.05 nats) and 1 more"
    )


def test_of_answers_each_kind_is_told() -> None:
    answers = [
        moved("accuracy, clean", "clean accuracy", 0.02),
        moved("accuracy under fog 3", "perturbed accuracy", -0.1),
        moved("log-likelihood, clean", "clean log-likelihood", 0.1),
        moved("log-likelihood under fog 3", "perturbed log-likelihood", -0.4),
        # A mean is what its parts are.
        moved("accuracy, clean and perturbed", "mean accuracy", -0.04),
    ]
    assert [each.sentence for each in trades((), answers)] == [
        "accuracy: gained clean (+0.02); lost under fog 3 (−0.10)",
        "log-likelihood: gained clean (+0.10 nats); lost under fog 3 (−0.40 nats)",
    ]


def test_lower_may_be_better() -> None:
    quantities = [
        moved("mPE under noise 3", "mpe", -0.1, better="lower"),
        moved("mPE under blur 3", "mpe", 0.2, better="lower"),
        moved("clean accuracy", "accuracy", 0.1),
    ]
    (trade,) = trades(quantities, ())
    assert trade.sentence == "mPE: gained under noise 3 (−0.10); lost under blur 3 (+0.20)"


@pytest.mark.parametrize("some", [BANDS[:1], BANDS[1:], []])
def test_one_way_alone_is_no_trade(some: list[QuantityChange]) -> None:
    assert trades(some, ()) == ()


def test_noise_is_no_trade() -> None:
    assert trades([BANDS[0], moved("band 1", "band", -5.0, real=False)], ()) == ()

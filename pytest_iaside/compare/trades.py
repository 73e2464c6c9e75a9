"""Trade-offs: what was gained where, and what was lost where, beyond noise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_iaside.compare.comparison import QuantityChange
from pytest_iaside.compare.words import signed
from pytest_iaside.measure.quantities import CLEAN, PERTURBED

FEW = 2
"""Of each side, told in a sentence."""


@dataclass(frozen=True, eq=False)
class Trade:
    """Quantities of one kind that moved in both directions, the largest changes first."""

    what: str
    """What moved: ``bands``, ``accuracy``, …"""
    unit: str
    gained: tuple[QuantityChange, ...]
    lost: tuple[QuantityChange, ...]

    @property
    def sentence(self) -> str:
        return f"{self.what}: gained {self._told(self.gained)}; lost {self._told(self.lost)}"

    def _told(self, some: Sequence[QuantityChange]) -> str:
        told = [f"{_place(each)} ({signed(each.change, 2)}{self.unit})" for each in some[:FEW]]
        more = len(some) - FEW
        return ", ".join(told) + (f" and {more} more" if more > 0 else "")


def trades(
    quantities: Sequence[QuantityChange], answers: Sequence[QuantityChange]
) -> tuple[Trade, ...]:
    """Every kind of quantity of which some got better beyond noise, and some worse.

    Means over a panel are left out: what they gain and lose is in their parts.
    """
    kinds: tuple[tuple[str, str, Sequence[QuantityChange], Callable[[str], bool]], ...] = (
        ("accuracy", "", answers, _answers_of("accuracy")),
        ("log-likelihood", " nats", answers, _answers_of("log-likelihood")),
        ("accuracy", "", quantities, lambda family: family == "accuracy"),
        ("mPE", "", quantities, lambda family: family == "mpe"),
        ("log-likelihood lost", " nats", quantities, lambda family: family == "log-likelihood"),
        ("bands", " nats", quantities, lambda family: family == "band"),
    )
    found: list[Trade] = []
    for what, unit, some, belongs in kinds:
        moved = [each for each in some if each.moved and belongs(each.family)]
        moved.sort(key=lambda each: -abs(each.change))
        gained, lost = (
            tuple(each for each in moved if (_gain(each) > 0) is better) for better in (True, False)
        )
        if gained and lost:
            found.append(Trade(what, unit, gained, lost))
    return tuple(found)


def _answers_of(title: str) -> Callable[[str], bool]:
    return lambda family: family in (f"{CLEAN} {title}", f"{PERTURBED} {title}")


def _gain(each: QuantityChange) -> float:
    return each.change if each.better == "higher" else -each.change


def _place(each: QuantityChange) -> str:
    """Where it was measured, without what: ``under fog 3``, ``clean``, ``band 2 (…)``."""
    if each.name == "clean accuracy":
        return "clean"
    for what in ("log-likelihood lost", "log-likelihood", "accuracy", "mPE"):
        if each.name.startswith(what):
            return each.name.removeprefix(what).lstrip(", ")
    return each.name

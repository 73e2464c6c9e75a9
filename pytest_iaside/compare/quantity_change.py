"""QuantityChange: the mean of one quantity in both measurements, and its change."""

from dataclasses import dataclass

from pytest_iaside.measure.quantities import Better


@dataclass(frozen=True, kw_only=True)
class QuantityChange:
    """The mean of one quantity in both measurements, and its change.

    ``low``…``high`` holds for all quantities of the family together; ``p_value`` is Holm's over
    all quantities; ``moved`` says whether the change can be told from none.
    """

    index: int
    name: str
    family: str
    better: Better
    baseline: float
    candidate: float
    change: float
    low: float
    high: float
    p_value: float
    moved: bool
    of_seeds: float = float("nan")
    """Which share of the interval's square is other seeds; NaN where trainings are not compared."""

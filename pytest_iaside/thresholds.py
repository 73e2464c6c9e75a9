"""How much a gate allows; of its own, because every pytest session reads settings at its start."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from pytest_iaside.errors import SettingsError

Direction = Literal["worse", "any"]
FailOn = Literal["drift", "inconclusive", "any-change"]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """How much may change before a gate says drift; None leaves a check out.

    ``min_src`` is the least signed SRC of the candidate. ``max_src_drop`` is how far the
    signed SRC may fall. ``max_sid_shift`` is the share of importance that may move past any
    frequency towards higher ones. ``max_value_drop`` is the share of the baseline's v(all)
    that may be lost, ``max_band_drop`` the same for any single band's ψ. ``direction``:
    whether changes for the better count too.
    """

    # Why these defaults: harmless changes (batch size, backend, order of summation) stay below a
    # thousandth of each, 50 images resolve each for a structured model, and every regression of
    # benchmarks/gate_calibration.py lies beyond at least one. 1 % for a band is what catches
    # pruned weights, which the score and v(all) pass.
    min_src: float | None = None
    max_src_drop: float | None = 0.02
    max_sid_shift: float | None = 0.05
    max_value_drop: float | None = 0.05
    max_band_drop: float | None = 0.01
    direction: Direction = "worse"

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction):
            raise SettingsError(
                f"direction={self.direction!r} is unknown; use one of "
                f"{', '.join(get_args(Direction))}"
            )
        for field in fields(self):
            found = getattr(self, field.name)
            if field.name == "direction" or found is None:
                continue
            if isinstance(found, bool) or not isinstance(found, int | float):
                raise SettingsError(f"{field.name}={found!r} must be a number or None")
            if not math.isfinite(found) or (field.name != "min_src" and found < 0):
                raise SettingsError(f"{field.name}={found!r} must be finite and not negative")

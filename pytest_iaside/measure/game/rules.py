"""The rules of the game: what makes two profiles comparable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from pytest_iaside.checks import check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.bands import MAX_BANDS, Norm
from pytest_iaside.images.filters import Absence, Space
from pytest_iaside.measure.game.coalitions import Design, resolved

DType = Literal["float32", "bfloat16"]
Rescale = Literal["authors"]
MAX_EXACT_BANDS = 16

CHOICES: dict[str, tuple[str, ...]] = {
    "partition": get_args(Norm),
    "absence": get_args(Absence),
    "space": get_args(Space),
    "design": get_args(Design),
    "dtype": get_args(DType),
    "rescale": get_args(Rescale),
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Everything that changes what ψ means; profiles with different rules do not compare.

    ``design="auto"`` becomes ``exact`` or ``latin`` by the number of bands. ``ways`` is 2 where the
    circle of ``latin`` was read in both; None is one, as in files of version 0.1.
    """

    bands: int = 8
    partition: Norm = "linf"
    absence: Absence = "zero"
    space: Space = "input"
    design: Design = "auto"
    dtype: DType = "float32"
    seed: int = 0
    rescale: Rescale | None = None
    ways: int | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            found = getattr(self, name)
            if found not in choices and not (name == "rescale" and found is None):
                raise SettingsError(f"{name}={found!r} is unknown; use one of {', '.join(choices)}")
        for name in ("bands", "seed"):
            found = getattr(self, name)
            check_whole(name, found)
        if not 2 <= self.bands <= MAX_BANDS:
            raise SettingsError(f"bands={self.bands} is out of range; use 2 to {MAX_BANDS}")
        # A profile knows what was played, not that it was left open.
        object.__setattr__(self, "design", resolved(self.design, self.bands))
        if self.design == "exact" and self.bands > MAX_EXACT_BANDS:
            raise SettingsError(
                f"bands={self.bands} has 2^{self.bands} coalitions, too many to play them all; "
                f"use design='latin', or at most {MAX_EXACT_BANDS} bands"
            )
        if self.ways not in (None, 2) or (self.ways and self.design != "latin"):
            raise SettingsError(f"ways={self.ways!r} is unknown; 2 is for design='latin' alone")
        if self.rescale is not None and self.design != "exact":
            raise SettingsError(
                f"rescale={self.rescale!r} needs design='exact', not {self.design!r}: a batch is "
                "rescaled together under one coalition, and others play each image its own"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Rules:
        """The rules among the keywords of ``measure``; raises SettingsError."""
        own = {name: value for name, value in settings.items() if name in cls.names()}
        if "execution" in settings:
            own["dtype"] = settings["execution"].dtype
        return cls(**own)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in fields(cls))

    def as_dict(self) -> dict[str, Any]:
        """In plain values; without ``rescale`` where nothing is, as before there was one."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def differences(
        self, other: Rules, names: tuple[str, str] = ("candidate", "baseline")
    ) -> list[str]:
        """One line for each rule that differs: ``bands: candidate 8, baseline 6``."""
        both = self.as_dict(), other.as_dict()
        found = [
            f"{rule}: {names[0]} {both[0].get(rule)!r}, {names[1]} {both[1].get(rule)!r}"
            for rule in self.names()
            if both[0].get(rule) != both[1].get(rule)
            and rule != "ways"
            and (rule != "seed" or self.draws)
        ]
        if self.ways != other.ways and self.design == other.design:
            # No setting, but what a version does.
            ways = ["both ways" if each.ways == 2 else "one way" for each in (self, other)]
            found.append(
                f"how the circle of design 'latin' is read: {names[0]} {ways[0]}, {names[1]} "
                f"{ways[1]} (version 0.1 read it one way: measure anew)"
            )
        return found

    @property
    def draws(self) -> bool:
        """Whether anything is drawn at random, so that the seed matters."""
        return self.design != "exact" or self.absence in ("gaussian", "replacement")

"""Comparison: a candidate against its baseline, what changed, and the verdict."""

from dataclasses import dataclass

from pytest_iaside.compare.check import WORST_FIRST, Check, Verdict, worst
from pytest_iaside.compare.drivers import ImageChanges
from pytest_iaside.compare.headline import headline
from pytest_iaside.compare.quantity_change import QuantityChange as QuantityChange
from pytest_iaside.measure.as_html import as_html
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.thresholds import Direction, FailOn, Limits

FEW = 2
"""Sentences on answers that a summary tells."""
OF_BANDS = ("src", "min_src", "sid", "value", "band", "upper")
"""The checks of what a model makes of each band; all others are of its answers."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """A candidate against its baseline, immutable.

    ``images`` is how many decided it, and ``groups`` how many groups of them; None where none were
    given. ``lead`` is what a summary begins with where nothing is red.
    """

    candidate: Measurement
    baseline: Measurement
    limits: Limits
    direction: Direction = "worse"
    level: float
    images: int
    groups: int | None = None
    checks: tuple[Check, ...]
    quantities: tuple[QuantityChange, ...]
    answers: tuple[QuantityChange, ...] = ()
    """How right images are answered, before and after; empty where either does not say."""
    interactions: tuple[QuantityChange, ...] = ()
    """How much each pair of bands needs each other; empty where either does not say."""
    effective: tuple[QuantityChange, ...] = ()
    """The change of accuracy under each perturbation that clean accuracy does not explain."""
    notes: tuple[str, ...] = ()
    image_changes: ImageChanges | None = None
    """What each image adds to the change that decides, of spectral profiles on the same images."""
    lead: tuple[str, ...] = ()
    led: tuple[str, ...] = ()
    """The names of the checks that ``lead`` tells of."""
    tail: tuple[str, ...] = ()
    """What a summary ends with."""
    in_words: bool = False
    """Whether the sentences of its checks are in words already."""
    answered_at: float | None = None
    """The level of the answers' intervals, where they have one of their own (coarse.py)."""
    on_the_same_images: tuple[Measurement, Measurement] | None = None
    """Both with those of their images alone that were compared, where others were measured."""

    @property
    def answers_level(self) -> float:
        """The level of the intervals of ``answers`` and ``effective``."""
        return self.answered_at or self.level

    @property
    def size(self) -> str:
        """How many images, and groups of them, decided, in words."""
        groups = "" if self.groups is None else f" in {self.groups} group{'s' * (self.groups != 1)}"
        return f"{self.images} images{groups}"

    @property
    def kind(self) -> str:
        return self.candidate.kind

    @property
    def bands(self) -> tuple[QuantityChange, ...]:
        """The change of every band's ψ, of spectral profiles."""
        return self.quantities if self.kind == "spectral" else ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the checks: one drift makes drift, else one inconclusive inconclusive."""
        return worst([check.verdict for check in self.checks])

    @property
    def changed(self) -> bool:
        """Whether anything changed at all, allowed or not."""
        moved = any(each.moved for each in (*self.quantities, *self.answers))
        return moved or any(check.changed for check in self.checks)

    def fails(self, fail_on: FailOn = "drift") -> bool:
        """Whether the gate is red under ``fail_on``; an unstructured profile never passes."""
        unstructured = any(c.name == "structured" and c.verdict != "pass" for c in self.checks)
        return (
            unstructured
            or self.verdict == "drift"
            or (fail_on != "drift" and self.verdict == "inconclusive")
            or (fail_on == "any-change" and self.changed)
        )

    @property
    def headline(self) -> str:
        """What got worse, in a sentence without symbols; empty where nothing is red."""
        if self.in_words:
            return ""
        agreement = self.candidate.labels_predicted or self.baseline.labels_predicted
        return headline(
            self.checks, self.verdict, self.bands, self.told_answers, agreement=agreement
        )

    @property
    def told_answers(self) -> tuple[QuantityChange, ...]:
        """How right images are answered, also of measurements that are answers themselves."""
        return self.answers or (() if self.kind == "spectral" else self.quantities)

    def _repr_html_(self) -> str:
        rows = [(check.name, check.verdict, check.sentence) for check in self.checks]
        return as_html(f"{self.verdict}: {self.summary()}", ("check", "verdict", ""), rows)

    def summary(self) -> str:
        """The verdict in one line, the line that CI annotations show: first what decides it.

        Where something is red: what got worse in words, and the checks that failed.
        """
        verdict = self.verdict
        if verdict in ("drift", "inconclusive"):
            return self._red()
        shown = self._widest() if verdict == "nothing found" else []
        if self.lead:
            # Answers come before the score, what the lead tells of after it.
            answers = [c.sentence for c in shown if c.name not in OF_BANDS]
            others = [c.sentence for c in shown if c.name in OF_BANDS and c.name not in self.led]
            return "; ".join([*answers, *self.lead, *others, *self.tail])
        worst_first = sorted(self.checks, key=lambda check: WORST_FIRST.index(check.verdict))
        sentences = _few([check.sentence for check in shown or worst_first[:1]])
        return "; ".join([*sentences, *self.tail])

    def _red(self) -> str:
        deciding = [check for check in self.checks if check.verdict == self.verdict]
        answers = _few([check.sentence for check in deciding if check.name not in OF_BANDS])
        led = dict(zip(self.led, self.lead, strict=False))
        others = [led.get(c.name, c.sentence) for c in deciding if c.name in OF_BANDS]
        numbers = "; ".join([*answers, *others, *self.tail])
        word = "Undecided" if self.verdict == "inconclusive" else "Failed"
        return f"{self.headline}. {word}: {numbers}" if self.headline else numbers

    def _widest(self) -> list[Check]:
        """The check that found nothing and takes the most images to pass; scores only if alone."""
        found = [check for check in self.checks if check.verdict == "nothing found"]
        linear = [check for check in found if check.name not in ("src", "sid")]
        return [max(linear or found, key=lambda check: check.images_to_pass)]


def _few(sentences: list[str]) -> list[str]:
    """The first of ``sentences``, and how many more there are: all stand below a summary."""
    more = len(sentences) - FEW
    if more <= 0:
        return sentences
    return [*sentences[:FEW], f"{more} more check{'s' * (more > 1)} of the answers"]

"""More label noise, flatter SID? SIDs against the share of wrong labels ([A] fig. 11)."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

from pytest_iaside.compare.words import confidence
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.report.charts.groups import Line
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import finite, fixed, p_value, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.correlation import LEAST_MODELS, Correlation, adjust, correlate
from pytest_iaside.study.charts import Dot, scatter_chart
from pytest_iaside.study.models import MeasuredModel, MeasuredModels, Measuring, StudyModel
from pytest_iaside.study.pages import HUNDREDTHS, aligned, curves_figure, lines_of, study_page

FLATNESS = "flatness of the SID"


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """The structured models whose labels were wrong in the share ``noise``, on average.

    ``sid`` and ``psi`` (M,) are the means over the models, ``flatness`` that of theirs.
    """

    noise: float
    models: Sequence[MeasuredModel]
    psi: Floats
    sid: Floats
    flatness: float
    signed_src: float
    value: float
    accuracy: float


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelNoiseStudy(MeasuredModels[MeasuredModel]):
    """What ``label_noise_study`` found; ``follows`` maps quantities to their ρ with the noise."""

    levels: Sequence[NoiseLevel]
    follows: dict[str, Correlation]

    def as_dict(self) -> dict[str, Any]:
        found = super().as_dict()
        for one, model in zip(found["models"], self.measured, strict=True):
            one["flatness"] = flatness(model)
        return {
            **found,
            "levels": [
                {**vars(one), "models": [model.name for model in one.models]} for one in self.levels
            ],
            "follows_noise": {name: asdict(one) for name, one in self.follows.items()},
            "level": self.level,
        }


def flatness(model: MeasuredModel) -> float:
    """The entropy of the SID over that of equal shares: 0 for a single band, 1 for equal ones.

    As the least band's share is 0 (SPEC.md 1.5), ln(M−1)/ln M is the most, 0.936 at eight bands.
    """
    shares = model.profile.sid
    return float(special.entr(shares).sum() / np.log(len(shares)))


# In the order of the fields of NoiseLevel.
QUANTITIES: dict[str, Callable[[MeasuredModel], float]] = {
    FLATNESS: flatness,
    "signed SRC": lambda model: model.profile.signed_src,
    "v(all)": lambda model: model.profile.value,
    "clean accuracy": lambda model: float("nan") if model.accuracy is None else model.accuracy,
}


def label_noise_study(
    models: Sequence[StudyModel],
    measuring: Measuring,
    *,
    level: float = 0.95,
    told: Callable[[MeasuredModel], None] = lambda _: None,
) -> LabelNoiseStudy:
    """Measure ``models`` and see what becomes of their SIDs with the share of wrong labels.

    Raises SettingsError where a model does not say its share, or all say the same; ModelError
    where fewer than three structured models of two shares are left.
    """
    if silent := [model.name for model in models if model.noise is None]:
        raise SettingsError(
            f"{silent[0]} and {len(silent) - 1} more models do not say what share of their labels "
            "was wrong; give StudyModel(model, noise=0.2)"
        )
    if len({model.noise for model in models}) < 2:
        raise SettingsError(
            f"all {len(models)} models were trained with a share {models[0].noise:g} of wrong "
            "labels; this study compares at least two shares"
        )
    found = measuring.each(models, measuring.measured, told, level)
    shares = [float(one.model.noise or 0.0) for one in found.models]
    noises = sorted(set(shares))
    if len(found.models) < LEAST_MODELS or len(noises) < 2:
        raise ModelError(
            f"{found.counted}, of {len(noises)} shares of wrong labels; this study needs at least "
            f"{LEAST_MODELS} of two shares: train for longer, or measure on more images"
        )
    correlations = [
        correlate(shares, [quantity(one) for one in found.models], level)
        for quantity in QUANTITIES.values()
    ]
    levels = [_level(x, [one for one in found.models if one.model.noise == x]) for x in noises]
    follows = dict(zip(QUANTITIES, adjust(correlations), strict=True))
    return LabelNoiseStudy(**vars(found), levels=levels, follows=follows)


def _level(noise: float, models: Sequence[MeasuredModel]) -> NoiseLevel:
    psi = np.mean([one.profile.psi for one in models], axis=0)
    sid = np.mean([one.profile.sid for one in models], axis=0)
    means = [float(np.mean([quantity(one) for one in models])) for quantity in QUANTITIES.values()]
    return NoiseLevel(noise, models, psi, sid, *means)


def page(study: LabelNoiseStudy) -> Page:
    """The page of ``study``."""
    return study_page(
        study,
        title="label noise",
        headline=sentence(study),
        about=(
            f"{len(study.models)} models trained with {len(study.levels)} shares of wrong labels, "
            f"measured on the same {len(study.models[0].profile)} images with right ones. Flatness "
            "is the entropy of the SID, 1 where all bands weigh the same and 0 where one does. "
            "Spearman's ρ asks only whether a quantity keeps falling or rising with the noise."
        ),
        figures=[
            curves_figure(
                "SID by share of wrong labels",
                "The mean over the models of each share; the stronger the line, the more noise.",
                study.models[0].profile,
                [Line(f"{share(one.noise, 0)} wrong", one.sid.tolist()) for one in study.levels],
                ordered=True,
                head=("labels", "models"),
                counts=[len(one.models) for one in study.levels],
            ),
            _scores(study),
            _followers(study),
        ],
    )


def lines(study: LabelNoiseStudy) -> list[str]:
    """The main tables for a terminal, at most 80 columns."""
    levels = [("wrong labels", "models", "flatness", "signed SRC", "v(all)", "accuracy")]
    for level in study.levels:
        scores = fixed(level.flatness), signed(level.signed_src), fixed(level.value, 2)
        count = str(len(level.models))
        levels.append((share(level.noise, 0), count, *scores, share(level.accuracy)))
    follows = [("with the noise", "ρ", confidence(study.level), "r", "Holm p")]
    for name, one in study.follows.items():
        interval = interval_text(one.rank_low, one.rank_high, HUNDREDTHS)
        r = HUNDREDTHS(one.pearson)
        follows.append((name, HUNDREDTHS(one.spearman), interval, r, p_value(one.adjusted)))
    return lines_of(aligned(levels), aligned(follows), sentence=sentence(study))


def sentence(study: LabelNoiseStudy) -> str:
    """Whether SIDs get flatter with the share of wrong labels."""
    found = study.follows[FLATNESS]
    least, most = study.levels[0], study.levels[-1]
    interval = interval_text(found.rank_low, found.rank_high, HUNDREDTHS)
    if not found.rank_low > 0 and not found.rank_high < 0:
        how = "Whether SIDs get flatter with label noise cannot be told"
    else:
        how = f"SIDs get {'flatter' if found.spearman > 0 else 'less flat'} with label noise"
    return (
        f"{how}: ρ = {HUNDREDTHS(found.spearman)} ({confidence(study.level)} {interval}, "
        f"{found.units} models); flatness {fixed(least.flatness)} at {share(least.noise, 0)} wrong "
        f"labels, {fixed(most.flatness)} at {share(most.noise, 0)}."
    )


def _scores(study: LabelNoiseStudy) -> Figure:
    dots, rows = [], []
    for number, level in enumerate(study.levels):
        for model in level.models:
            value = model.profile.signed_src
            score = model.profile.interval("signed_src", study.level)
            bounds = finite(score.low), finite(score.high)
            dots.append(Dot(model.name, level.noise, value, number, upright=bounds))
            noise, interval = share(level.noise, 0), interval_text(*bounds, signed)
            rows.append([model.name, noise, signed(value), interval, fixed(flatness(model))])
    title = "Signed SRC against the share of wrong labels"
    about = f"One mark for each model, with its {confidence(study.level)} over images."
    table = Table(("model", "wrong", "signed SRC", confidence(study.level), "flatness"), rows)
    axes = {"across": "share of wrong labels", "upright": "signed SRC"}
    groups = [f"{share(one.noise, 0)} wrong" for one in study.levels]
    chart = scatter_chart("noise", dots, **axes, groups=groups, title=title)
    return Figure(title, about, table, chart)


def _followers(study: LabelNoiseStudy) -> Figure:
    rows = []
    for name, one in study.follows.items():
        rank = signed(one.spearman), interval_text(one.rank_low, one.rank_high, signed)
        r = signed(one.pearson), interval_text(one.low, one.high, signed)
        rows.append([name, *rank, *r, p_value(one.p_value), p_value(one.adjusted)])
    interval = confidence(study.level)
    head = ("quantity", "Spearman's ρ", interval, "Pearson's r", interval, "p", "Holm's p")
    count = len(study.models)
    about = f"Over {count} models. p-values are those of r, Holm's for all of the table."
    return Figure("What follows the noise", about, Table(head, rows), wide=True)

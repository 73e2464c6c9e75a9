"""Do architectures differ in their SIDs? Their profiles as points in a plane."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any, Literal

import numpy as np

from pytest_iaside.checks import check_choice, library
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.report.charts.groups import Line
from pytest_iaside.report.figures import Figure, Table
from pytest_iaside.report.numbers import NONE, fixed, p_value, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.correlation import LEAST_MODELS
from pytest_iaside.study.charts import Dot, plane_chart
from pytest_iaside.study.models import MeasuredModel, MeasuredModels, Measuring, StudyModel
from pytest_iaside.study.pages import aligned, curves_figure, lines_of, study_page

PERMUTATIONS = 9999
Method = Literal["auto", "tsne", "pca"]


@dataclass(frozen=True, eq=False)
class Projection:
    """N points in a plane, (N, 2), and how they came there: for a sentence."""

    points: Floats
    method: Literal["tsne", "pca"]
    how: str  # Its settings; of PCA what share of the variance is seen.


@dataclass(frozen=True, eq=False, kw_only=True)
class Agreement:
    """How many models have one of their own group as the nearest in SID, and by chance.

    ``p_value`` is the share of shuffled groups that agree at least as often.
    """

    models: int
    agreeing: int
    by_chance: float
    p_value: float


@dataclass(frozen=True, eq=False, kw_only=True)
class ArchitecturesStudy(MeasuredModels[MeasuredModel]):
    """What ``architectures_study`` found; ``projection`` has a point for each of ``models``."""

    projection: Projection
    agreement: Agreement | None  # None where there are not two groups, one of which has two models.

    def of(self, group: str) -> list[MeasuredModel]:
        """The models of ``group``."""
        return [one for one in self.models if one.model.group == group]

    def as_dict(self) -> dict[str, Any]:
        found = super().as_dict()
        for one, point in zip_longest(found["models"], self.projection.points.tolist()):
            one["point"] = point
        return {
            **found,
            "projection": {"method": self.projection.method, "how": self.projection.how},
            "agreement": None if self.agreement is None else asdict(self.agreement),
        }


def architectures_study(
    models: Sequence[StudyModel],
    measuring: Measuring,
    *,
    projection: Method = "auto",
    seed: int = 0,
    perplexity: float | None = None,
    level: float = 0.95,
    told: Callable[[MeasuredModel], None] = lambda _: None,
) -> ArchitecturesStudy:
    """Measure ``models`` and lay their SIDs out in a plane.

    Raises SettingsError as ``project``, ModelError with fewer than three structured models.
    """
    _check_perplexity(perplexity, len(models))  # Now, and not after an hour of measuring.
    found = measuring.each(models, measuring.measured, told, level)
    if len(found.models) < LEAST_MODELS:
        raise ModelError(
            f"{found.counted}; this study needs at least {LEAST_MODELS}: measure on more images"
        )
    shares = np.stack([one.profile.sid for one in found.models])
    groups = [one.model.group for one in found.models]
    return ArchitecturesStudy(
        **vars(found),
        projection=project(shares, method=projection, seed=seed, perplexity=perplexity),
        agreement=nearest_agreement(shares, groups, seed=seed),
    )


def nearest_agreement(shares: Floats, groups: Sequence[str], *, seed: int = 0) -> Agreement | None:
    """Whether models of one group are each other's nearest, by Euclidean distance of SIDs (N, M).

    None where there are not two groups, one of which has two models.
    """
    _, members, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(sizes) < 2 or sizes.max() < 2:
        return None
    distances = np.linalg.norm(shares[:, None] - shares[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    agreeing = int((members == members[nearest]).sum())
    generator = np.random.default_rng(seed)
    shuffled = np.stack([generator.permutation(members) for _ in range(PERMUTATIONS)])
    as_often = int(((shuffled == shuffled[:, nearest]).sum(axis=1) >= agreeing).sum())
    return Agreement(
        models=len(members),
        agreeing=agreeing,
        by_chance=float((sizes * (sizes - 1)).sum() / (len(members) - 1)),
        p_value=(as_often + 1) / (PERMUTATIONS + 1),
    )


def project(
    rows: Floats, *, method: Method = "auto", seed: int = 0, perplexity: float | None = None
) -> Projection:
    """``rows`` (N, M) in a plane, so that near ones stay near; ``auto`` takes t-SNE if it is there.

    Its ``perplexity``, about how many neighbours each point has, is by default a third of the
    others, at most 30. Raises SettingsError for one that is out of range, and for t-SNE without
    scikit-learn.
    """
    check_choice("projection", method, Method)
    if len(rows) < LEAST_MODELS:
        raise SettingsError(f"{len(rows)} points need no projection; give at least {LEAST_MODELS}")
    if method == "pca":
        return _principal_components(rows, "")
    try:
        purpose, package = "for t-SNE", "scikit-learn"
        manifold = library("sklearn.manifold", purpose, error=SettingsError, package=package)
    except SettingsError:
        if method == "tsne":
            raise
        return _principal_components(rows, "scikit-learn is not installed, so no t-SNE; ")
    _check_perplexity(perplexity, len(rows))
    chosen = min(30.0, (len(rows) - 1) / 3) if perplexity is None else float(perplexity)
    embedding = manifold.TSNE(
        n_components=2, perplexity=chosen, init="pca", method="exact", random_state=seed
    )
    points = np.asarray(embedding.fit_transform(rows), dtype=np.float64)
    return Projection(points, "tsne", f"t-SNE, perplexity {chosen:.3g}, seed {seed}")


def _check_perplexity(perplexity: float | None, count: int) -> None:
    if perplexity is not None and not 0 < perplexity < count:
        raise SettingsError(
            f"perplexity={perplexity:g} must be above 0 and below the number of models, {count}"
        )


def _principal_components(rows: Floats, why: str) -> Projection:
    left, lengths, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    points = np.zeros((len(rows), 2))
    width = min(2, len(lengths))
    points[:, :width] = left[:, :width] * lengths[:width]
    # The sign of a component is arbitrary: the largest coordinate is positive.
    largest = points[np.abs(points).argmax(axis=0), [0, 1]]
    points *= np.where(largest < 0, -1.0, 1.0)
    total = float((lengths**2).sum())
    seen = float((lengths[:2] ** 2).sum()) / total if total > 0 else 1.0
    return Projection(points, "pca", f"{why}PCA, {100 * seen:.0f}% of the variance")


def page(study: ArchitecturesStudy) -> Page:
    """The page of ``study``."""
    how = study.projection.how
    return study_page(
        study,
        title="SIDs of architectures",
        headline=sentence(study),
        about=(
            f"{len(study.models)} models of {len(study.groups)} groups, measured on the same "
            f"{len(study.models[0].profile)} images; {how}. By chance is what shuffled groups "
            "would agree in. The sentence above is read off the SIDs, not off the plane: a "
            "projection may tear apart what is near, and t-SNE's distances between clusters mean "
            "nothing."
        ),
        figures=[
            _plane(study),
            curves_figure(
                "SID of each group",
                "The mean over the models of the group.",
                study.models[0].profile,
                [Line(group, _mean_sid(study, group).tolist()) for group in study.groups],
                ordered=False,
            ),
        ],
        settings={"projection": how},
    )


def lines(study: ArchitecturesStudy) -> list[str]:
    """The main table for a terminal, at most 80 columns."""
    shown = min(study.models[0].profile.rules.bands, 8)
    rows = [("SID of the group", "n", "SRC ±", *map(str, range(shown)))]
    for group in study.groups:
        scores = [one.profile.signed_src for one in study.of(group)]
        shares = [fixed(value, 2) for value in _mean_sid(study, group)[:shown]]
        rows.append((group or NONE, str(len(scores)), signed(np.mean(scores), 2), *shares))
    return lines_of([study.projection.how], aligned(rows), sentence=sentence(study))


def sentence(study: ArchitecturesStudy) -> str:
    """Whether models of one group have SIDs that are near each other."""
    found = study.agreement
    if found is None:
        return f"{len(study.models)} models in a plane; say their groups to see whether they agree."
    p = p_value(found.p_value)
    return (
        f"The SID nearest to a model's is of its own group for {found.agreeing} of {found.models} "
        f"models; {fixed(found.by_chance, 1)} would be by chance "
        f"(p {p if p.startswith('<') else f'= {p}'})."
    )


def _mean_sid(study: ArchitecturesStudy, group: str) -> np.ndarray:
    return np.asarray(np.mean([one.profile.sid for one in study.of(group)], axis=0))


def _plane(study: ArchitecturesStudy) -> Figure:
    groups = study.groups
    dots, rows = [], []
    for one, (x, y) in zip(study.models, study.projection.points.tolist(), strict=True):
        group = one.model.group
        dots.append(Dot(one.name, x, y, groups.index(group)))
        rows.append([one.name, group or NONE, fixed(x, 2), fixed(y, 2), share(one.accuracy)])
    title = "SIDs in a plane"
    about = f"{study.projection.how}. What is near has a similar SID; the axes mean nothing."
    table = Table(("model", "group", "x", "y", "accuracy"), rows)
    chart = plane_chart("plane", dots, groups=groups, title=title)
    return Figure(title, about, table, chart)

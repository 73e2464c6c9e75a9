"""Do architectures differ in their SIDs? Their profiles as points in a plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.study.measured import LeftOut, MeasuredModel, Measuring, each
from pytest_iaside.study.models import StudyModel
from pytest_iaside.study.projection import Method, Projection, project

LEAST = 3
PERMUTATIONS = 9999


@dataclass(frozen=True, eq=False, kw_only=True)
class Agreement:
    """How many models have one of their own group as the nearest in SID, and by chance.

    ``p_value`` is the share of shuffled groups that agree at least as often. Read off the SIDs
    themselves, not off their projection.
    """

    models: int
    agreeing: int
    by_chance: float
    p_value: float


@dataclass(frozen=True, eq=False, kw_only=True)
class ArchitecturesStudy:
    """What ``architectures_study`` found; ``projection`` has a point for each of ``models``."""

    models: Sequence[MeasuredModel]
    unstructured: Sequence[MeasuredModel]
    left_out: Sequence[LeftOut]
    projection: Projection
    agreement: Agreement | None
    """None where there are not two groups, one of which has two models."""

    @property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(one.model.group for one in self.models))

    def of(self, group: str) -> list[MeasuredModel]:
        """The models of ``group``."""
        return [one for one in self.models if one.model.group == group]

    def as_dict(self) -> dict[str, Any]:
        """Everything that was found, in plain values; NaN and infinite ones among them."""
        points = self.projection.points.tolist()
        return {
            "models": [
                {**one.as_dict(), "used": True, "point": point}
                for one, point in zip(self.models, points, strict=True)
            ]
            + [{**one.as_dict(), "used": False, "point": None} for one in self.unstructured],
            "left_out": [asdict(one) for one in self.left_out],
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
    told: Callable[[MeasuredModel], None] = lambda _: None,
) -> ArchitecturesStudy:
    """Measure ``models`` and lay their SIDs out in a plane.

    Raises SettingsError as ``project``, ModelError where fewer than three structured models are
    left.
    """
    if perplexity is not None and not 0 < perplexity < len(models):
        raise SettingsError(  # Now, and not after an hour of measuring.
            f"perplexity={perplexity:g} must be above 0 and below the number of models, "
            f"{len(models)}"
        )

    def work(model: StudyModel, classifier: Classifier) -> MeasuredModel:
        found = measuring.measured(model, classifier)
        told(found)
        return found

    done, left_out = each(models, work, LEAST)
    used = [one for one in done if one.profile.structured]
    if len(used) < LEAST:
        raise ModelError(
            f"{len(used)} of {len(done)} models have ψ that can be told from noise; this study "
            f"needs at least {LEAST}: measure on more images"
        )
    shares = np.stack([one.profile.sid for one in used])
    return ArchitecturesStudy(
        models=used,
        unstructured=[one for one in done if not one.profile.structured],
        left_out=left_out,
        projection=project(shares, method=projection, seed=seed, perplexity=perplexity),
        agreement=nearest_agreement(shares, [one.model.group for one in used], seed=seed),
    )


def nearest_agreement(shares: Floats, groups: Sequence[str], *, seed: int = 0) -> Agreement | None:
    """Whether models of one group are each other's nearest, by Euclidean distance of SIDs (N, M).

    None where there are not two groups, one of which has two models.
    """
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(members)
    if len(names) < 2 or sizes.max() < 2:
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

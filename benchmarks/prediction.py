"""What foretells how much a model loses under a corruption it was never shown?

Predictors are measured on some images, losses on others. For every corruption: Pearson's r over
the models, with an interval that leaves out one recipe at a time; and how far predictions of the
models of a recipe are off that were fitted on all other recipes, as a share of what predicting the
mean is off. Targets are the loss of log-likelihood and of accuracy, mPE, and what accuracy is lost
beyond what clean accuracy explains (effective robustness).

    python benchmarks/prediction.py digits --tables FOLDER        (44 readers; make studies first)
    python benchmarks/prediction.py photographs --tables FOLDER --photographs FOLDER
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import predicted
from common.changes import PHOTO_MEAN, PHOTO_STD
from common.predicted import SCORES, SURROGATES, Kept, Subjects
from common.saved import kept, value
from common.side_by_side import machine, print_table

from pytest_iaside import Classifier
from pytest_iaside.measure.band_changes import BandChanges, band_changes
from pytest_iaside.measure.prediction import RULES
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.correlation import clustered, pearson
from pytest_iaside.study.effective import effective_robustness

NATS, SHARE, HITS = range(3)
SPLITS = 10
Table = dict[str, np.ndarray]
"""By name: what is foretold of N models under P corruptions, (N, P), or of all alike, (N, 1)."""
BY_RESPONSE = ("added noise", "pooled noise")
BY_RULE = ("added noise", "pooled noise", "removed bands", "sum", "larger", "independent")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="?", choices=("digits", "photographs"), default="digits")
    parser.add_argument("--tables", type=Path, help="where measurements are kept, and taken from")
    parser.add_argument("--photographs", type=Path, help="a folder of them, with labels.csv")
    parser.add_argument("--kept", action="store_true", help="print what there is, measure nothing")
    options = parser.parse_args()
    if options.subjects == "photographs":
        if options.photographs is None:
            parser.error("photographs need --photographs FOLDER")
        subjects = predicted.photograph_models(options.photographs)
    else:
        subjects = predicted.digit_readers()
        if missing := predicted.untrained():
            print(f"left out: {missing} readers are not trained; run python -m scrapbook.zoo")
            return
    folder = nullcontext(options.tables) if options.tables else tempfile.TemporaryDirectory()
    with folder as tables:
        if not options.kept:
            predicted.measure_all(Path(tables), subjects)
        models = list(predicted.kept(Path(tables), subjects).values())
    print(f"{machine()}\n")
    study = Study.of(subjects, models)
    print(
        f"{len(models)} models of {len(set(study.recipes))} recipes; predictors on "
        f"{len(subjects.known)} images (game: {subjects.played}), losses on {len(subjects.truth)} "
        f"others; {len(study.corruptions)} corruptions of severity {subjects.severity}\n"
    )
    print_choices(models, keep=options.subjects == "digits")
    for target, loss in study.losses.items():
        print(f"== {target}\n")
        study.print_summary(target, loss)
        study.print_corruptions(target, loss)
    if options.subjects == "digits":
        study.keep("", f"{len(models)} digit readers", READERS)
    else:
        study.keep("photos-", f"{len(models)} changed EfficientNets on photographs", PHOTOS)


READERS = {
    "surrogate": "surrogate, mean",
    "noise": "pooled noise",
    "game": "removed bands",
    "src": "SRC",
}
PHOTOS = {"surrogate": "surrogate, mean", "src": "SRC", "itself": "the corruption itself"}
"""Predictors by what pages call them."""


@dataclass(frozen=True, eq=False)
class Study:
    """Losses and what foretells them, of N models under P ``corruptions``."""

    recipes: list[str]
    corruptions: list[str]
    losses: Table
    ceilings: Table
    """(P,): what r no predictor exceeds, as losses are measured on so few images."""
    clean: Table
    """(N, 1): what a model is without any corruption."""
    foretold: dict[str, Table]
    """For each target."""

    @classmethod
    def of(cls, subjects: Subjects, models: list[Kept]) -> Study:
        corruptions = [str(name) for name in models[0].arrays["environments"]]
        recipes = [each.recipe for each in models]
        truth = np.stack([each.arrays["truth"] for each in models])
        losses = _losses(truth, recipes)
        splits = [
            [_losses(truth[..., rows, :], recipes) for rows in halves]
            for halves in _halves(truth.shape[3], subjects.copies)
        ]
        ceilings = {
            name: ceiling([(first[name], second[name]) for first, second in splits])
            for name in losses
        }
        changes = _changes(subjects, corruptions)
        foretold = {name: _foretold(models, corruptions, changes, name) for name in losses}
        return cls(recipes, corruptions, losses, ceilings, _clean(models), foretold)

    def predictors(self, target: str) -> Table:
        every = self.clean | self.foretold[target]
        return {name: np.broadcast_to(each, self.shape) for name, each in every.items()}

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.recipes), len(self.corruptions)

    def print_summary(self, target: str, loss: np.ndarray) -> None:
        """Every predictor: its r under each corruption in short, and of the mean over them."""
        rows = []
        for name, values in self.predictors(target).items():
            r = pearson(values.T, loss.T)
            mean = clustered(values.mean(axis=1), loss.mean(axis=1), self.recipes, 0.95)
            off = [self.off(_stack(values[:, [at]]), loss[:, at]) for at in range(loss.shape[1])]
            rows.append([name, *_spread(r), _shown(mean), *_spread(np.array(off), low=False)])
        for name, parts in MIXTURES.items():
            chosen = self.predictors(target)
            if not set(parts) <= set(chosen):
                continue
            fits = [
                self.fitted(_stack(*(chosen[each][:, [at]] for each in parts)), loss[:, at])
                for at in range(loss.shape[1])
            ]
            every = np.stack(fits, axis=1)
            r = pearson(every.T, loss.T)
            mean = clustered(every.mean(axis=1), loss.mean(axis=1), self.recipes, 0.95)
            off = [self._relative(fit, loss[:, at]) for at, fit in enumerate(fits)]
            rows.append([name, *_spread(r), _shown(mean), *_spread(np.array(off), low=False)])
        head = ["predictor", "median r", "least", "most", "r of the mean loss", "off", "worst"]
        print_table(head, rows)
        print()

    def keep(self, prefix: str, of: str, shown: dict[str, str]) -> None:
        """What pages show: medians over corruptions, and what clean accuracy does not explain."""
        target, beyond = "log-likelihood", "beyond clean accuracy"
        loss = self.losses[target]
        for name, predictor in shown.items():
            r = pearson(self.predictors(target)[predictor].T, loss.T)
            what = f"median over {len(r)} corruptions: {predictor} against the real loss, {of}"
            value(f"{prefix}{name}-r", _signed(np.median(r)), "r", what)
            if name == "surrogate":
                what = f"the least r of surrogates over the {len(r)} corruptions, {of}"
                value(f"{prefix}{name}-r-least", _signed(r.min()), "r", what)
        mean = self.losses[beyond].mean(axis=1)
        for name, predictor in (("surrogate", "surrogate, mean, beyond clean"), ("src", "SRC")):
            values = self.predictors(beyond)[predictor].mean(axis=1)
            low_to_high = clustered(values, mean, self.recipes, 0.95)
            what = f"{predictor} against what clean accuracy does not explain, {of}"
            r, low, high = map(_signed, low_to_high)
            value(f"{prefix}{name}-effective-r", f"{r} ({low}…{high})", "r", what)

    def print_corruptions(self, target: str, loss: np.ndarray) -> None:
        """Under each corruption the clean accuracy, and the closest rules with their intervals."""
        chosen = [name for name in SHOWN if name in self.predictors(target)]
        rows = []
        for at, corruption in enumerate(self.corruptions):
            found = [
                clustered(self.predictors(target)[name][:, at], loss[:, at], self.recipes, 0.95)
                for name in chosen
            ]
            told = [f"{loss[:, at].mean():.3f}", f"{self.ceilings[target][at]:.2f}"]
            rows.append([corruption, *told, *map(_shown, found)])
        print_table(["corruption", "mean loss", "at most", *chosen], rows)
        print()

    def fitted(self, columns: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """Losses (N,) of each recipe's models, by least squares on all other recipes."""
        found = np.empty_like(loss)
        names = np.array(self.recipes)
        for recipe in dict.fromkeys(self.recipes):
            own = names == recipe
            weights, *_ = np.linalg.lstsq(columns[~own], loss[~own], rcond=None)
            found[own] = columns[own] @ weights
        return found

    def off(self, columns: np.ndarray, loss: np.ndarray) -> float:
        return self._relative(self.fitted(columns, loss), loss)

    def _relative(self, fit: np.ndarray, loss: np.ndarray) -> float:
        """Root mean square error, as a share of that of the mean over all other recipes."""
        mean = self.fitted(np.ones((len(loss), 1)), loss)
        return float(np.sqrt(((fit - loss) ** 2).mean() / ((mean - loss) ** 2).mean()))


MIXTURES = {
    "a·noise + b·removed": ("added noise", "removed bands"),
    "a·noise + b·removed + c·clean": ("added noise", "removed bands", "clean log-likelihood"),
    "surrogate + clean": ("surrogate, each", "clean log-likelihood"),
}
SHOWN = (
    *("clean accuracy", "pooled noise", "removed bands", "other corruptions"),
    *("surrogate, mean", "surrogate, each", "surrogate, each, beyond clean"),
    "the corruption itself",
)


PICKED = {
    "surrogate, mean": ("surrogate", "its answers on surrogates"),
    "clean accuracy": ("clean", "clean accuracy"),
    "SRC": ("src", "SRC"),
}
"""Rules by what pages call them."""


def print_choices(models: list[Kept], *, keep: bool) -> None:
    """What the model that a rule picks is right less often than the best, under each corruption."""
    truth, known, changed = (
        np.stack([each.arrays[name][0] for each in models])[..., HITS].mean(axis=-1)
        for name in ("truth", "known", "surrogates")
    )
    there = truth[:, 1:]
    count = there.shape[1]
    picked = {
        "clean accuracy": known[:, :1].repeat(count, axis=1),
        **({"SRC": _clean(models)["SRC"].repeat(count, axis=1)} if models[0].profiles else {}),
        "least loss, surrogate, mean": changed[..., -1] - known[:, :1],
        "surrogate, mean": changed[..., -1],
        "the corruption itself": known[:, 1:],
    }
    rows = []
    for name, values in picked.items():
        # Of equals each as often.
        best = values >= values.max(axis=0) - 1e-9
        regret = there.max(axis=0) - (there * best).sum(axis=0) / best.sum(axis=0)
        rows.append([name, *(f"{100 * each:.1f}" for each in (regret.mean(), regret.max()))])
        if keep and name in PICKED:
            what = (
                f"how far the model of {len(models)} picked by {PICKED[name][1]} is below the best"
            )
            value(f"pick-{PICKED[name][0]}", f"{100 * regret.mean():.1f}", "points", what)
    chance = there.max(axis=0) - there.mean(axis=0)
    rows.append(["any", *(f"{100 * each:.1f}" for each in (chance.mean(), chance.max()))])
    print_table(["picked by", "points below the best, mean", "most"], rows)
    print()


TARGETS = {
    "log-likelihood": (NATS, 0),
    "log-likelihood, own temperature": (NATS, 1),
    "accuracy": (HITS, 0),
    "mPE": (SHARE, 0),
    "beyond clean accuracy": (HITS, 0),
}
"""Which score is lost, at which temperature: 1, or the model's own."""


def _losses(truth: np.ndarray, recipes: list[str]) -> Table:
    """Every target (N, P), of scores (N, T, 1+P, K, 3)."""
    found = {
        name: _lost(truth[:, heat, ..., score], absolute=score == SHARE)
        for name, (score, heat) in TARGETS.items()
    }
    return found | {"beyond clean accuracy": _beyond(truth[:, 0, ..., HITS], recipes)}


def _clean(models: list[Kept]) -> Table:
    known = [each.arrays["known"][0, 0].mean(axis=0) for each in models]
    profiles = [each.profiles[0] for each in models if each.profiles]
    scores = {"SRC": [each.src for each in profiles], "v(all)": [each.value for each in profiles]}
    found = {
        **(scores if profiles else {}),
        "clean accuracy": [each[HITS] for each in known],
        "clean log-likelihood": [each[NATS] for each in known],
    }
    return {name: np.array(values)[:, None] for name, values in found.items()}


def _foretold(
    models: list[Kept], corruptions: list[str], changes: list[BandChanges], target: str
) -> Table:
    (score, heat), effective = TARGETS[target], target == "beyond clean accuracy"
    found: Table = {}

    def each(rule: Callable[[Kept, BandChanges], float]) -> np.ndarray:
        return np.array([[rule(model, change) for change in changes] for model in models])

    temperatures = [heat] if heat else list(range(len(models[0].responses)))
    for at in temperatures:
        if at >= len(models[0].responses):
            continue
        suffix = ", own temperature" if at and not heat else ""
        for name in BY_RULE if models[0].profiles else BY_RESPONSE:
            found[f"{name}{suffix}"] = each(
                lambda model, change, at=at, name=name: float(
                    RULES[name](
                        change,
                        model.responses[at],
                        model.profiles[at] if model.profiles else None,
                        "log-likelihood",
                    ).mean()
                )
            )
        if models[0].profiles:
            found[f"removed bands, second order{suffix}"] = each(
                lambda model, change, at=at: float(
                    second_order_loss(model.profiles[at], change.gains).mean()
                )
            )
    if score:
        for name in BY_RESPONSE:
            found[f"{name}, same score"] = each(
                lambda model, change, name=name: float(
                    RULES[name](change, model.responses[0], None, SCORES[score]).mean()
                )
            )
    # Shown: (models, 1+P, K) of known images, clean and changed; what is lost by each predictor.
    known = np.stack([each.arrays["known"][heat] for each in models])
    changed = np.stack([each.arrays["surrogates"][heat] for each in models])
    shown = {
        f"surrogate, {name}": np.concatenate([known[:, :1], changed[:, :, at]], axis=1)
        for at, name in enumerate(SURROGATES[-changed.shape[2] :])
    } | {"the corruption itself": known}
    for name, scores in shown.items():
        found[name] = _lost(scores[..., score], absolute=score == SHARE)
    if effective:
        recipes = [each.recipe for each in models]
        for name, scores in shown.items():
            found[f"{name}, beyond clean"] = _beyond(scores[..., HITS], recipes)
    # The usual five of the panel, less the corruption itself.
    itself, panel = (
        found["the corruption itself"],
        [corruptions.index(each) for each in PANEL if each in corruptions],
    )
    found["other corruptions"] = np.stack(
        [itself[:, [p for p in panel if p != at]].mean(axis=1) for at in range(len(corruptions))],
        axis=1,
    )
    return found


def second_order_loss(profile: SpectralProfile, gains: np.ndarray) -> np.ndarray:
    """What "removed bands" foretells (K,), less every term of three bands or more.

    What each band is worth to all others is lost in proportion to what is gone of it; what a pair
    is worth together, beyond both, in proportion to the product.
    """
    table, gone = profile.log_likelihood, 1 - np.clip(gains, 0.0, 1.0)
    assert table is not None
    everything = table.shape[1] - 1
    bits = [1 << band for band in range(gains.shape[1])]
    one = [table[:, -1] - table[:, everything - bit] for bit in bits]
    found = sum(lost * gone[:, band] for band, lost in enumerate(one))
    for i, first in enumerate(bits):
        for j in range(i):
            both = table[:, -1] - table[:, everything - first - bits[j]]
            found = found - (one[i] + one[j] - both) * gone[:, i] * gone[:, j]
    return np.asarray(found)


PANEL = ("gaussian_noise", "defocus_blur", "contrast", "jpeg_compression")


def _lost(scores: np.ndarray, absolute: bool = False) -> np.ndarray:
    """The mean loss (N, P) of scores (N, 1+P, K), the first clean."""
    lost = scores[:, :1] - scores[:, 1:]
    return np.asarray((np.abs(lost) if absolute else lost).mean(axis=2))


def _beyond(hits: np.ndarray, recipes: list[str]) -> np.ndarray:
    """Accuracy lost (N, P) beyond what clean accuracy explains, of hits (N, 1+P, K)."""
    found = [
        effective_robustness(hits[:, 0], hits[:, at], recipes).values
        for at in range(1, hits.shape[1])
    ]
    return -np.stack(found, axis=1)


def _changes(subjects: Subjects, corruptions: list[str]) -> list[BandChanges]:
    normal = {"mean": PHOTO_MEAN, "std": PHOTO_STD} if subjects.game.shape[0] == 3 else {}
    fed_to = Classifier(lambda images: images, **normal)
    return [
        band_changes(subjects.game, (name, subjects.severity), fed_to=fed_to)
        for name in corruptions
    ]


def ceiling(halves: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The root of the reliability (P,) of losses, from those (N, P) of halves of the images.

    The mean over several ways to halve them, and for all images by Spearman and Brown (1910).
    """
    r = np.mean([pearson(first.T, second.T) for first, second in halves], axis=0)
    r = np.clip(np.nan_to_num(r), 0, 1)
    return np.asarray(np.sqrt(2 * r / (1 + r)))


def _halves(images: int, copies: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ways to halve the images; copies of one, which follow each other as a whole, together."""
    random, units = np.random.default_rng(0), images // copies
    found = []
    for _ in range(SPLITS):
        first = random.permutation(units) < units // 2
        rows = np.tile(first, copies)
        found.append((np.flatnonzero(rows), np.flatnonzero(~rows)))
    return found


def _stack(*columns: np.ndarray) -> np.ndarray:
    return np.hstack([np.ones((len(columns[0]), 1)), *columns])


def _spread(values: np.ndarray, low: bool = True) -> list[str]:
    ends = [values.min(), values.max()] if low else [values.max()]
    return [f"{each:+.2f}" if low else f"{each:.2f}" for each in (np.median(values), *ends)]


def _signed(r: float) -> str:
    return f"{r:+.2f}".replace("-", "−")


def _shown(found: tuple[float, float, float]) -> str:
    return "{:+.2f} ({:+.2f} … {:+.2f})".format(*found)


if __name__ == "__main__":
    with kept(__file__):
        main()

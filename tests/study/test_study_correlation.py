"""What follows robustness, over models whose robustness is known by construction."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from profiles import make_profile
from scipy import stats
from waves import Waves, images, without_high, without_low

from pytest_iaside import ReferenceSample
from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.measurements import (
    measure_lens_smoothness,
    measure_reconstruction_depth,
    measure_scale_reliance,
)
from pytest_iaside.measure.game.shapley import interaction_index
from pytest_iaside.measure.metrics import (
    accuracy,
    corruption_errors,
    mean_corruption_error,
    mean_prediction_error,
)
from pytest_iaside.measure.response import spectral_response
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.score import signed_src
from pytest_iaside.study import correlation_page
from pytest_iaside.study import robustness as robust
from pytest_iaside.study.correlation import (
    CorrelationStudy,
    correlated,
    correlation_study,
    jackknife_error,
)
from pytest_iaside.study.effective import effective_robustness
from pytest_iaside.study.models import MeasuredModels, Measuring, StudyModel
from pytest_iaside.study.predictors import more_predictors
from pytest_iaside.study.quantities import MEAN

SHARES = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
PERTURBATIONS = {"without high": without_high, "without low": without_low}


def waves(*, copies: int = 1) -> list[StudyModel]:
    return [
        StudyModel(partial(Waves, low), name=f"low{low:g}-{copy}", recipe=f"low{low:g}")
        for low in SHARES
        for copy in range(copies)
    ]


BETAS = (0.5,)
MORE = ("levels", "depth", "arglens", "interactions", "parameters")


@pytest.fixture(scope="module")
def study() -> CorrelationStudy:
    import contextlib

    settings = {"bands": 4, "execution": Execution(backend="eager")}
    measuring = Measuring(
        reference=images(),
        settings=settings,
        cache=False,
        showing=lambda _: contextlib.nullcontext(),
    )
    models = [replace(one, covariates={"size": 2.0**at}) for at, one in enumerate(waves())]
    return correlation_study(
        models, measuring, PERTURBATIONS, predictors=MORE, betas=BETAS, mce=True
    )


def test_src_follows_robustness_against_what_takes_high_frequencies(
    study: CorrelationStudy,
) -> None:
    scores = study.predictors["signed SRC"][0]
    assert (np.diff(scores) > 0).all()
    high, low = (study.mpe.targets[name][0] for name in PERTURBATIONS)
    assert (np.diff(high) < 0).all()
    assert (np.diff(low) > 0).all()
    found = {(one.predictor, one.target): one.recipes for one in study.mpe.single}
    assert found["signed SRC", "without high"].pearson < -0.8
    assert found["signed SRC", "without low"].pearson > 0.8
    assert found["ψ of band 0", "without high"].pearson < -0.8
    assert found["ψ of band 3", "without high"].pearson > 0.8
    assert found["signed SRC", "without high"].spearman == pytest.approx(-1)


def test_targets_are_mpe_and_accuracy_drop(study: CorrelationStudy) -> None:
    model, sample = Waves(SHARES[1]), images()
    for name, perturbation in PERTURBATIONS.items():
        error = mean_prediction_error(
            model, sample, perturbation, execution=Execution(backend="eager")
        )
        assert study.mpe.targets[name][0][1] == pytest.approx(error.value)
        errors = jackknife_error(study.mpe.targets[name][1:])
        assert errors[1] == pytest.approx(error.standard_error)
        clean, perturbed = (
            accuracy(model, sample, each, execution=Execution(backend="eager")).value
            for each in (None, perturbation)
        )
        assert study.drop.targets[name][0][1] == pytest.approx(clean - perturbed)
    single = [study.mpe.targets[name][0] for name in PERTURBATIONS]
    np.testing.assert_allclose(study.mpe.targets[MEAN][0], np.mean(single, axis=0))


def test_predictors_are_what_profiles_say(study: CorrelationStudy) -> None:
    profile = study.models[2].profile
    found = {name: study.predictors[name][0][2] for name in study.predictors}
    assert found["signed SRC"] == pytest.approx(profile.signed_src)
    assert found["SRC"] == pytest.approx(profile.src)
    assert found["v(all)"] == pytest.approx(profile.value)
    assert found["SID, lower half"] == pytest.approx(profile.sid[:2].sum())
    assert [found[f"ψ of band {band}"] for band in range(4)] == pytest.approx(profile.psi)
    logits = Waves(SHARES[2])(images().pixels())
    right = torch.softmax(logits, dim=1)[torch.arange(24), images().labels]
    assert found["clean probability"] == pytest.approx(right.mean().item(), abs=1e-6)
    assert found["clean accuracy"] == 1
    response = spectral_response(
        Waves(SHARES[2]), images(), bands=4, execution=Execution(backend="eager")
    )
    expected = response.image_response("probability").mean(axis=(0, 1))
    assert [found[f"response in band {band}"] for band in range(4)] == pytest.approx(expected)
    assert found["band response"] == pytest.approx(expected.mean())


def test_beyond_clean_accuracy_is_effective_robustness_with_its_sign_turned(
    study: CorrelationStudy,
) -> None:
    assert study.beyond is not None
    answered = [one.robustness for one in study.models]
    for at, name in enumerate(PERTURBATIONS):
        found = effective_robustness(
            np.stack([each.right for each in answered]),
            np.stack([each.right_perturbed[at] for each in answered]),
        )
        np.testing.assert_allclose(study.beyond.targets[name][0], -found.values, atol=1e-12)
    assert study.beyond.as_dict()["mean"][0]["target"] == MEAN


def test_further_predictors_are_what_measurements_say(study: CorrelationStudy) -> None:
    model, sample, execution = Waves(SHARES[3]), images(), Execution(backend="eager")
    found = {name: study.predictors[name][0][3] for name in study.predictors}
    levels = measure_scale_reliance(model, sample, execution=execution).values.mean(axis=0)
    assert [found[f"share of level {at}"] for at in range(4)] == pytest.approx(levels[:4])
    assert sum(levels[:4]) == pytest.approx(1)
    depth = measure_reconstruction_depth(model, sample, execution=execution).values.mean()
    assert found["reconstruction depth"] == pytest.approx(depth)
    arglens = measure_lens_smoothness(model, sample, execution=execution).values.mean()
    assert found["mean ArgLens"] == pytest.approx(arglens)
    profile = study.models[3].profile
    assert found["signed SRC, β = 0.5"] == pytest.approx(float(signed_src(profile.sid, 0.5)))
    table = interaction_index(profile.log_likelihood).mean(axis=0)
    assert found["interaction, all bands"] == pytest.approx(table[np.triu_indices(4, 1)].mean())
    neighbours = [table[at, at + 1] for at in range(3)]
    assert found["interaction, neighbours"] == pytest.approx(np.mean(neighbours))
    across = table[:2, 2:].mean()
    assert found["interaction, low with high"] == pytest.approx(across)
    assert found["size"] == 8
    # These networks have no parameters at all, only buffers.
    assert "parameters" not in found
    assert "noise" not in found  # Nobody asked for it.


def test_wavelet_levels_are_as_many_as_fit_the_images() -> None:
    """28 pixels can be halved twice, into cells of 7."""
    sample = ReferenceSample(torch.rand(3, 1, 28, 28), [0, 1, 1])
    execution = Execution(backend="eager")

    def dark_and_varied(pixels: torch.Tensor) -> torch.Tensor:
        return torch.stack([pixels.mean((1, 2, 3)), pixels.var((1, 2, 3))], 1)

    found = more_predictors(
        ("levels",),
        Classifier(dark_and_varied),
        sample,
        make_profile(images=3),
        seed=0,
        execution=execution,
        folder=None,
    )
    expected = measure_scale_reliance(
        dark_and_varied, sample, wavelet_levels=2, grid=4, execution=execution
    )
    assert list(found) == [f"share of level {at}" for at in range(3)]
    np.testing.assert_allclose(np.stack(list(found.values()), 1), expected.values[:, :3])


def test_the_mce_is_a_target_of_its_own(study: CorrelationStudy) -> None:
    assert study.mce is not None
    model, sample = Waves(SHARES[0]), images()
    errors = corruption_errors(model, sample, execution=Execution(backend="eager"))
    expected = mean_corruption_error(errors, "alexnet").value
    assert study.mce.targets[MEAN][0][0] == pytest.approx(expected)
    assert {one.target for one in study.mce.mean} == {MEAN}
    assert len(study.mce.mean) == len(study.predictors)
    assert study.as_dict()["models"][0]["mce"] == pytest.approx(expected)


def test_recipes_left_out_are_foretold_from_the_others(study: CorrelationStudy) -> None:
    x, y = study.predictors["ψ of band 0"][0], study.mpe.targets[MEAN][0]
    errors = []
    for at in range(len(x)):
        others = np.arange(len(x)) != at
        slope, intercept = np.polyfit(x[others], y[others], 1)
        errors.append(y[at] - slope * x[at] - intercept)
    found = study.mpe.of("ψ of band 0").left_out
    assert found.error == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_tables_are_sorted_and_say_what_is_better(study: CorrelationStudy) -> None:
    closeness = [abs(one.recipes.pearson) for one in study.mpe.mean]
    known = [each for each in closeness if not np.isnan(each)]
    assert known == sorted(known, reverse=True)
    assert np.isnan(closeness[len(known) :]).all()  # clean accuracy is 1 for all
    better = study.better_than_src()
    assert better == list(study.mpe.mean[: len(better)])
    assert all(one.recipes.adjusted >= one.recipes.p_value for one in better)


def test_correlations_are_scipys(study: CorrelationStudy) -> None:
    x = study.predictors["v(all)"][0]
    y = study.mpe.targets[MEAN][0]
    assert study.mpe.of("v(all)").recipes.pearson == pytest.approx(stats.pearsonr(x, y)[0])


def test_the_error_from_images_is_the_jackknifes(study: CorrelationStudy) -> None:
    """Each image left out of every model at once, everything computed anew."""
    left_out = []
    for image in range(24):
        rest = [other for other in range(24) if other != image]
        models = [
            replace(
                one,
                profile=one.profile.take(rest),
                more={name: values[rest] for name, values in one.more.items()},
                robustness=robust.Robustness(
                    errors=one.robustness.errors[:, rest],
                    right=one.robustness.right[rest],
                    right_perturbed=one.robustness.right_perturbed[:, rest],
                    response=one.robustness.response[rest],
                ),
            )
            for one in study.models
        ]
        found = MeasuredModels(models=models, level=study.level)
        again = correlated(found, list(PERTURBATIONS), labelled=True)
        left_out.append(again.mpe.of("signed SRC").recipes.pearson)
    expected = np.sqrt(23 / 24 * np.sum((left_out - np.mean(left_out)) ** 2))
    assert study.mpe.of("signed SRC").recipes.image_error == pytest.approx(expected)


def test_copies_of_a_model_are_no_evidence_of_their_own(measuring: Measuring) -> None:
    once, twice = (
        correlation_study(waves(copies=copies), measuring, PERTURBATIONS) for copies in (1, 2)
    )
    assert (len(twice.models), len(twice.recipes)) == (12, 6)
    alone, both = (study.mpe.of("ψ of band 0") for study in (once, twice))
    assert both.recipes.units == 6
    assert (both.recipes.low, both.recipes.high) == pytest.approx(
        (alone.recipes.low, alone.recipes.high)
    )
    assert both.models.units == 12
    assert both.models.high - both.models.low < both.recipes.high - both.recipes.low


def test_without_labels_accuracy_foretells_nothing(measuring: Measuring) -> None:
    unlabelled = replace(measuring, reference=images().with_labels(None))
    study = correlation_study(waves()[:3], unlabelled, {"without high": without_high})
    assert "clean accuracy" not in study.predictors
    assert study.beyond is None
    assert study.models[0].accuracy is None


def test_models_that_fail_or_mean_nothing_are_left_out(measuring: Measuring) -> None:
    def nan(pixels: torch.Tensor) -> torch.Tensor:
        return torch.full((len(pixels), 2), float("nan"))

    models = [
        *waves()[:3],
        StudyModel(nan, name="nan"),
        StudyModel(lambda: None, name="none"),
        StudyModel(partial(Waves, 0.5, 0.0), name="constant"),
    ]
    told: list[str] = []
    study = correlation_study(
        models, measuring, PERTURBATIONS, told=lambda one: told.append(one.name)
    )
    assert [name for name, _ in study.left_out] == ["nan", "none"]
    assert "NaN or infinite" in study.left_out[0][1]
    assert [one.name for one in study.unstructured] == ["constant"]
    assert told == ["low0.15-0", "low0.3-0", "low0.45-0", "constant"]
    assert study.mpe.of("v(all)").models.units == 3


def test_too_few_models_are_refused(measuring: Measuring) -> None:
    broken = [StudyModel(lambda: None, name=f"none{i}") for i in range(2)]
    with pytest.raises(ModelError, match=r"2 of 4 models could be measured.*none0: the function"):
        correlation_study([*waves()[:2], *broken], measuring, PERTURBATIONS)
    copies = [replace(model, recipe="same") for model in waves()[:3]]
    with pytest.raises(ModelError, match="of 1 recipes; a correlation needs at least 3"):
        correlation_study(copies, measuring, PERTURBATIONS)


class TestKept:
    def found(self, folder: Path, classifier: Classifier | None = None) -> robust.Robustness:
        return robust.robustness(
            classifier or Classifier(Waves(0.3)),
            images(),
            {"fgsm": ("gaussian_noise", 2)},
            seed=0,
            execution=Execution(backend="eager"),
            folder=folder,
        )

    def test_what_is_kept_is_looked_at_and_not_run_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = self.found(tmp_path)
        (kept,) = tmp_path.glob("*.npz")

        asked = []
        ask = robust.answers

        def counted(classifier: Any, reference: Any, perturbations: Any, **settings: Any) -> Any:
            asked.append(len(perturbations))
            return ask(classifier, reference, perturbations, **settings)

        with monkeypatch.context() as patch:
            patch.setattr(robust, "answers", counted)
            again = self.found(tmp_path)
            np.testing.assert_array_equal(again.errors, first.errors)
            np.testing.assert_array_equal(again.drops, first.drops)
            assert asked == [1]  # The clean images: whether they are answered as they were.
            self.found(tmp_path, Classifier(Waves(0.31)))
            assert asked == [1, 2]
            # Of the same weights, and other answers.
            network = Waves(0.3)
            network.register_forward_hook(lambda module, given, logits: 2 * logits)
            self.found(tmp_path, Classifier(network))
            assert asked == [1, 2, 1, 2]
        self.found(tmp_path)
        kept.write_bytes(kept.read_bytes()[:100])
        np.testing.assert_array_equal(self.found(tmp_path).errors, first.errors)
        assert len(kept.read_bytes()) > 100

    def test_plain_functions_cannot_be_told_apart_and_are_not_kept(self, tmp_path: Path) -> None:
        network = Waves(0.3)
        self.found(tmp_path, Classifier(lambda pixels: network(pixels)))
        assert list(tmp_path.iterdir()) == []


def test_few_recipes_say_nothing(study: CorrelationStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    found = correlation_page.page(study)
    count = len(study.recipes)
    assert count < 8
    assert found.headline == (
        f"{count} recipes are too few to say what follows mean mPE: compare 8 or more."
    )
    assert not any("r = " in line for line in correlation_page.lines(study))
    monkeypatch.setattr(correlation_page, "FEWEST_TOLD", count)
    assert correlation_page.page(study).headline.startswith("The signed SRC ")

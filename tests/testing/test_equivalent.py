"""assert_equivalent_robustness: verdicts, their numbers, and what must never be equivalent."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deployed_models import Within, changed, images, network
from PIL import Image
from scipy import stats
from torch import Tensor, nn

from pytest_iaside import (
    Classifier,
    ModelError,
    ReferenceSample,
    SettingsError,
    assert_equivalent_robustness,
)
from pytest_iaside.compare.equivalence import Equivalence
from pytest_iaside.compare.margins import Margins
from pytest_iaside.errors import UndecidedWarning
from pytest_iaside.measure.panel import measure_answers

BANDS: dict[str, Any] = {"bands": 4}
TIGHT = {each: 1e-3 for each in Margins.__dataclass_fields__ if "score" not in each}


def outcome(deployed: Any, original: Any, sample: Any = None, **more: Any) -> Equivalence:
    """The comparison, whether or not the gate is red."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndecidedWarning)
        found: Any = assert_equivalent_robustness(
            deployed, original, sample or images(), **BANDS, fail_on="drift", **more
        )
    return found


def red(deployed: Any, original: Any, sample: Any = None, **more: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        assert_equivalent_robustness(deployed, original, sample or images(), **BANDS, **more)
    return str(raised.value)


def verdicts(found: Equivalence) -> dict[str, str]:
    return {check.name: check.verdict for check in found.checks}


def test_a_copy_is_equivalent_in_every_check_at_any_margin() -> None:
    found = outcome(network(), network(), **TIGHT)
    assert set(verdicts(found).values()) == {"pass"}
    assert len(found.checks) == 1 + 9 + 1 + 2
    assert all(check.change == 0 for check in found.checks)
    assert found.summary().startswith("equivalent to the original Sequential in all 12 checks")
    assert found.headline == ""
    # The rule of three: what none of 60 images shows may be in 5 % of others.
    assert any("may still be in 5.0% of others" in note for note in found.notes)


NEW = "assert_preprocessing_robustness"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "deployed-models.md"


def exported(path: Path) -> Path:
    """The network as an .onnx file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network(),
            (torch.rand(2, 1, 16, 16),),
            path,
            input_names=["pixels"],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            dynamo=True,  # the default since PyTorch 2.9
            verbose=False,
        )
    return path


def test_float32_onnx_is_equivalent_within_a_thousandth(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    found = outcome(exported(tmp_path / "reader.onnx"), network(), **TIGHT)
    assert set(verdicts(found).values()) == {"pass"}
    assert max(max(abs(check.low), abs(check.high)) for check in found.checks) < 1e-4


def test_a_distilled_student_of_another_architecture() -> None:
    """One that learned all is equivalent; one that learned from a few images is not."""
    teacher, sample = network(), images()
    student = nn.Sequential(nn.Flatten(), nn.Linear(256, 3)).eval()
    with torch.no_grad():
        student[1].weight.copy_(teacher.head.weight @ teacher.templates.weight)
        student[1].bias.zero_()
    assert set(verdicts(outcome(student, teacher, sample, **TIGHT)).values()) == {"pass"}
    few = images(3, noise=0.4, seed=3)
    with torch.no_grad():
        wanted = teacher(few.pixels())
        # Of all that imitate the teacher on the few, the smallest.
        student[1].weight.copy_(torch.linalg.lstsq(few.pixels().flatten(1), wanted).solution.T)
    assert red(student, teacher, sample).startswith("different from the original Sequential")


def test_a_compiled_network_is_equivalent() -> None:
    """By inductor, as it is deployed: C++ made of the network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(network())
        found = outcome(compiled, network(), **TIGHT)
    assert set(verdicts(found).values()) == {"pass"}
    assert type(compiled).__name__ == "OptimizedModule"


def test_the_numbers_of_a_check_are_those_of_a_paired_t() -> None:
    deployed, original, sample = changed("templates", 0.02), network(), images()
    found = outcome(deployed, original, sample)
    (check,) = [each for each in found.checks if each.name == "clean log-likelihood"]
    both = [
        measure_answers(each, sample, ())["log-likelihood, clean"] for each in (deployed, original)
    ]
    moved = both[0] - both[1]
    reach = stats.t.ppf(0.975, 59) * moved.std(ddof=1) / np.sqrt(60)
    assert check.change == pytest.approx(moved.mean(), abs=1e-5)
    assert (check.low, check.high) == pytest.approx(
        (moved.mean() - reach, moved.mean() + reach), abs=1e-5
    )
    assert check.verdict == "pass"


def test_a_worse_model_is_different_by_intervals_that_hold_together() -> None:
    deployed, original, sample = changed("templates", 2.0), network(), images()
    told = red(deployed, original, sample)
    assert told.startswith("different from the original Sequential: ")
    found = outcome_of_red(deployed, original, sample)
    (check,) = [each for each in found.checks if each.name == "clean log-likelihood"]
    both = [
        measure_answers(each, sample, ())["log-likelihood, clean"] for each in (deployed, original)
    ]
    moved = both[0] - both[1]
    # 7 places of three titles, the confidence, v(all) and four bands.
    places = 3 * 7 + 1 + 1 + 4
    reach = stats.t.ppf(1 - 0.025 / places, 59) * moved.std(ddof=1) / np.sqrt(60)
    assert check.verdict == "drift"
    assert (check.low, check.high) == pytest.approx(
        (moved.mean() - reach, moved.mean() + reach), abs=1e-4
    )
    worst = found.image_changes
    assert worst is not None
    assert abs(worst.images[0].contribution) == max(abs(e.contribution) for e in worst.images)


def outcome_of_red(deployed: Any, original: Any, sample: ReferenceSample) -> Equivalence:
    """The comparison of a gate that fails."""
    from pytest_iaside.compare.equivalence import compare_equivalence
    from pytest_iaside.settings import Layer
    from pytest_iaside.testing.equivalence import read_settings
    from pytest_iaside.testing.two_models import measured_both

    layer = Layer("test", dict(BANDS))
    settings = read_settings("test", {}, [layer], [])
    both = measured_both(deployed, original, sample, settings)
    margins = Margins()
    return compare_equivalence(*both, margins.bands, margins.answers)


def test_a_better_model_is_different_as_well() -> None:
    better = red(network(), changed("templates", 2.0))
    assert better.startswith("different from")
    assert "(+" in better.partition("\n")[0]


def test_another_confidence_alone_is_named_and_may_be_allowed() -> None:
    told = red(network(0.25), network())
    assert told.startswith("different from the original Sequential in confidence alone: ")
    assert "log-likelihood as it answers" in told.partition("\n")[0]
    assert "differ by their temperature alone" in " ".join(told.split())
    found = outcome(network(0.25), network(), max_confidence_difference=None)
    # No flip, and all is alike but for the temperature: not even hits are uncertain.
    assert set(verdicts(found).values()) == {"pass"}
    assert found.temperature == pytest.approx(0.25, rel=1e-3)


def test_few_images_show_nothing_however_alike_the_answers_are() -> None:
    told = red(network(), network(), images(18))
    assert "18 images: nothing is called equivalent on fewer than 20" in told
    sample = images(60)
    grouped = ReferenceSample(sample.images, sample.labels, groups=[n % 15 for n in range(60)])
    assert "15 groups of images" in red(network(), network(), grouped)


def test_no_flip_on_few_images_is_no_proof_that_accuracy_stays() -> None:
    sample = images(24, noise=0.02)
    found = outcome(changed("head", 0.02), network(), sample)
    (check,) = [each for each in found.checks if each.name == "clean accuracy"]
    # Agresti and Min: half an image in each cell, 1/26 a standard error.
    assert check.change == 0
    assert check.high == pytest.approx(stats.norm.ppf(0.975) / 26, rel=1e-6)
    assert check.verdict == "inconclusive"
    # No image adds to a change of nothing: the log-likelihood's are told instead.
    assert found.image_changes is not None
    assert found.image_changes.quantity == "log-likelihood, clean"
    assert check.images_to_pass == pytest.approx(24 * (check.high / 0.05) ** 2)
    assert "to show it takes about" in check.sentence
    (mean,) = [each for each in found.checks if each.name == "mean accuracy"]
    assert mean.high >= check.high - 1e-9


def test_what_cannot_be_shown_fails_unless_only_drift_is_to() -> None:
    sample = images(24, noise=0.02)
    told = red(changed("head", 0.02), network(), sample)
    assert told.startswith("not shown to be equivalent to the original Sequential: ")
    with pytest.warns(UndecidedWarning, match="cannot decide at 24 images"):
        assert_equivalent_robustness(
            changed("head", 0.02), network(), sample, **BANDS, fail_on="drift"
        )


class Constant(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return 1e-9 * pixels.mean(dim=(1, 2, 3))[:, None] * torch.tensor([1.0, 0.0, 0.0])


def test_models_that_say_nothing_are_not_equivalent() -> None:
    assert "unstructured" in red(Constant(), Constant(), fail_on="drift")
    blind = network()
    with torch.no_grad():
        blind.head.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match=r"NaN|nan"):
        assert_equivalent_robustness(blind, network(), images(), **BANDS)


def test_normalisation_may_stand_in_the_deployed_model() -> None:
    original = Classifier(network(), mean=0.4, std=0.3, name="reader")
    deployed = Within(network(), 0.4, 0.3)
    found = outcome(deployed, original, **TIGHT)
    assert set(verdicts(found).values()) == {"pass"}
    assert found.candidate.settings["space"] == "pixel"
    with pytest.raises(SettingsError, match=r"original is fed mean=0\.4, std=0\.3"):
        assert_equivalent_robustness(deployed, original, images(), **BANDS, space="input")
    wrong = Within(network(), 0.0, 1.0)
    assert red(wrong, original).startswith("different from the original reader")


def test_predictions_of_the_original_count_where_there_are_no_labels() -> None:
    sample = images(noise=0.1).with_labels(None)
    found = outcome(network(4.0), network(4.0), sample)
    expected = network(4.0)(sample.pixels()).argmax(dim=1)
    assert found.candidate.labels.tolist() == expected.tolist()


def test_what_cannot_be_compared_is_told() -> None:
    two = nn.Sequential(network(), nn.Linear(3, 2)).eval()
    labels = images().labels % 2  # type: ignore[operator]
    with pytest.raises(ModelError, match="deployed model has 2 classes, the original 3"):
        assert_equivalent_robustness(two, network(), images().with_labels(labels), **BANDS)
    with pytest.raises(SettingsError, match="deployed is a list of 2; give one model"):
        assert_equivalent_robustness([network()] * 2, network(), images())
    one = network()
    with pytest.raises(SettingsError, match="are the same object"):
        assert_equivalent_robustness(one, Classifier(one, name="other"), images(), **BANDS)
    with pytest.raises(SettingsError, match="unknown setting 'max_src_drop'"):
        assert_equivalent_robustness(network(), network(), images(), max_src_drop=0.1)
    with pytest.raises(SettingsError, match="every limit is None"):
        assert_equivalent_robustness(network(), network(), images(), **dict.fromkeys(TIGHT))
    with pytest.raises(SettingsError, match="max_accuracy_difference=5"):
        assert_equivalent_robustness(network(), network(), images(), max_accuracy_difference=5)


def test_the_deployed_model_runs_as_it_is_and_is_never_taken_from_the_cache() -> None:
    calls = 0

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, pixels: Tensor) -> Tensor:
            nonlocal calls
            calls += len(pixels)
            found: Tensor = self.inner(pixels)
            return found

    for _ in range(2):
        before = calls
        found = outcome(Counted(), network())
        # 60 images: 6 answers, and the 14 coalitions of four bands with the image as it is.
        assert calls - before >= 60 * (6 + 14)
    assert found.candidate.passes_from_cache == 0
    assert found.baseline.passes_from_cache > 0


def test_the_blocks_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    text = PAGE.read_text(encoding="utf-8")
    (block,) = [each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if NEW in each]
    monkeypatch.chdir(tmp_path)
    exported(tmp_path / "model.onnx")
    sample = images()
    assert sample.labels is not None
    for place, (image, label) in enumerate(zip(sample.pixels(), sample.labels, strict=True)):
        folder = tmp_path / "images" / str(int(label))
        folder.mkdir(parents=True, exist_ok=True)
        grey = (image[0] * 255).round().byte().numpy()
        Image.fromarray(grey).save(folder / f"{place:02}.png")

    def transform(picture: Any) -> Tensor:
        return torch.from_numpy(np.array(picture.convert("L")))[None] / 255

    held: dict[str, Any] = {"load_model": network, "reference": sample}
    held |= {"server_transform": lambda one: transform(one), "training_transform": transform}
    exec(block, held)
    held["test_what_is_deployed_does_what_was_trained"]()
    held["test_the_server_reads_images_as_training_did"]()


def test_a_red_gate_names_the_first_layer_that_differs() -> None:
    told = " ".join(red(changed("head", 2.0), network()).split())
    assert "the first layer that differs is head" in told
    assert "1 of 3 layers differ" in told
    assert "layers differ" not in red(changed("head", 2.0), network(), where=False)


class TestScores:
    """Of a score of one's own nobody else knows what matters, nor in which unit it is."""

    sample = ReferenceSample(images().images, targets=images().labels)

    @staticmethod
    def scored(model: nn.Module, unit: float = 1.0) -> Classifier:
        def score(logits: Tensor, labels: Tensor) -> Tensor:
            return -unit * nn.functional.cross_entropy(logits, labels, reduction="none")

        return Classifier(model, score=score)

    def test_need_a_margin(self) -> None:
        with pytest.raises(SettingsError, match="max_score_difference=…, in its unit"):
            outcome(self.scored(network()), self.scored(network()), self.sample)

    def test_are_compared_clean_and_perturbed_in_their_unit(self) -> None:
        found = outcome(
            self.scored(network(), 0.01),
            self.scored(network(), 0.01),
            self.sample,
            max_score_difference=1e-4,
        )
        names = ["structured", "clean score", "mean score", "perturbed score", "value", "band"]
        assert [check.name for check in found.checks] == names

    def test_a_worse_one_in_a_small_unit_is_different(self) -> None:
        last = nn.Linear(3, 3)
        worse = nn.Sequential(network(), last)
        with torch.no_grad():
            last.weight.copy_(torch.eye(3))
            last.bias.copy_(torch.tensor([3.0, 0.0, 0.0]))
        told = red(
            self.scored(worse, 0.01),
            self.scored(network(), 0.01),
            self.sample,
            max_score_difference=1e-3,
        )
        assert told.startswith("different from the original")
        assert "score, clean" in told

    def test_are_not_compared_with_classes(self) -> None:
        with pytest.raises(ModelError, match="measured by softmax, the original by score"):
            outcome(network(), self.scored(network()), self.sample, max_score_difference=1)


@pytest.mark.parametrize("name", ["max_accuracy_difference", "max_probability_difference"])
def test_one_percent_is_not_written_as_1(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}=1 allows everything"):
        outcome(network(), network(), **{name: 1})

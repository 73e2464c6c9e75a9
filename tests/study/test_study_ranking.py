"""``iaside rank``: planted orders, ties, pairs of photographs, and what it says to bad input."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from waves import Waves, images, without_high

from pytest_iaside import Classifier, ReferenceSample, SettingsError
from pytest_iaside.cli.main import main
from pytest_iaside.measure.game.changes import ScoreName
from pytest_iaside.measure.metrics import accuracy
from pytest_iaside.study.effective import effective_robustness
from pytest_iaside.study.environments import environments
from pytest_iaside.study.ranking import ranking
from pytest_iaside.study.ranking_page import lines

LAB = """
from waves import Waves, images
from pytest_iaside import ReferenceSample
def low(): return Waves(0.9)
def middle(): return Waves(0.5)
def high(): return Waves(0.1)
def same(): return Waves(0.1)
def wrong(): return Waves(0.9, strength=-6.0)
def one_class(): return lambda x: x.flatten(1)[:, :2] * 0 + x.new_tensor([2.0, 0.0])
def broken(): return lambda x: x.flatten(1)[:, :2] * float("nan")
def both(): return [Waves(0.8), Waves(0.2)]
def reference(): return images()
def unlabelled(): return ReferenceSample(images().images)
def coloured():
    sample = images()
    return ReferenceSample(sample.images.expand(-1, 3, -1, -1), sample.labels)
"""
THREE = ("rank_lab:middle", "rank_lab:high", "rank_lab:low")
REFERENCE = "rank_lab:reference"
QUICK = ("--bands=4", "--backend=eager")
# Takes the high wave away: the less a model relies on it, the less it loses.
BLURRED = ("--environment", "gaussian_blur:5", *QUICK)
NATS = "--score=log-likelihood"


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rank_lab.py").write_text(LAB)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "rank_lab", raising=False)
    return tmp_path


def ranked(*arguments: str) -> dict[str, Any]:
    assert main(["rank", *arguments, "--json", "rank.json"]) == 0
    found: dict[str, Any] = json.loads(Path("rank.json").read_text())
    assert found["format"] == "iaside-ranking/1"
    return found


def names(found: dict[str, Any]) -> list[str]:
    return [each["name"].removeprefix("rank_lab:") for each in found["models"]]


def test_models_are_in_the_order_that_was_planted(capsys: pytest.CaptureFixture[str]) -> None:
    found = ranked(*THREE, REFERENCE, *BLURRED, NATS, "--measure")
    assert names(found) == ["low", "middle", "high"]
    assert [each["rank"] for each in found["models"]] == [[1, 1], [2, 2], [3, 3]]
    assert [each["measured_rank"] for each in found["models"]] == [[1, 1], [2, 2], [3, 3]]
    for each in found["models"]:
        for order in ("left", "lost"):
            foretold, measured = each["foretold"][order], each["measured"][order]
            assert foretold["low"] < foretold["value"] < foretold["high"]
            assert foretold["value"] == pytest.approx(measured["value"], rel=0.15, abs=0.05)
            assert foretold["by_environment"] == {"gaussian_blur:5": foretold["value"]}
        assert each["clean_accuracy"] == 1
    assert found["agreement"]["pearson"] > 0.99
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "log-likelihood (nats) left in gaussian_blur:5"
    assert [line.split()[:2] for line in lines[3:6]] == [
        ["1", "rank_lab:low"],
        ["2", "rank_lab:middle"],
        ["3", "rank_lab:high"],
    ]


def test_models_that_answer_alike_share_their_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    models = (*THREE, "rank_lab:same")
    found = ranked(*models, REFERENCE, *BLURRED, NATS)
    assert [each["rank"] for each in found["models"]] == [[1, 1], [2, 2], [3, 4], [3, 4]]
    assert [each["measured"] for each in found["models"]] == [None] * 4
    assert found["agreement"] is None
    told = capsys.readouterr().out
    assert len(re.findall(r"^3–4 ", told, re.MULTILINE)) == 2
    assert "First: rank_lab:low." in told


def test_a_model_that_is_never_right_loses_nothing_and_is_last_by_what_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    models = ("rank_lab:low", "rank_lab:wrong", "rank_lab:high")
    found = ranked(*models, REFERENCE, *BLURRED, NATS, "--order=lost")
    assert names(found)[0] == "wrong"
    told = " ".join(capsys.readouterr().out.split())
    assert "seldom right has little to lose" in told
    found = ranked(*models, REFERENCE, *BLURRED, NATS)
    assert names(found) == ["low", "high", "wrong"]
    assert [each["rank"] for each in found["models"]] == [[1, 1], [2, 2], [3, 3]]
    sample = images()
    surrogate = environments("gaussian_blur:5", sample, bands=4)[0].surrogate(sample, 0)
    logits = Waves(0.9)(surrogate.pixels()).log_softmax(dim=1)
    assert sample.labels is not None
    expected = logits.gather(1, sample.labels[:, None]).mean().item()
    assert found["models"][0]["foretold"]["left"]["value"] == pytest.approx(expected, abs=1e-5)


def test_several_environments_count_alike_and_trainings_are_numbered() -> None:
    wanted = ["gaussian_blur:5", "white_noise:2"]
    found = ranked("rank_lab:both", REFERENCE, "--environment", ", ".join(wanted), *QUICK)
    assert sorted(names(found)) == ["both 1", "both 2"]
    assert (found["environments"], found["score"]) == (wanted, "accuracy")
    for each in found["models"]:
        for foretold in each["foretold"].values():
            assert list(foretold["by_environment"]) == wanted
            alone = list(foretold["by_environment"].values())
            assert foretold["value"] == pytest.approx(np.mean(alone))


def test_of_an_environment_only_its_spectrum_is_used_and_measured_is_measured() -> None:
    sample = images()
    models = {f"{low:g}": Classifier(Waves(low)) for low in (0.3, 0.7)}
    places = environments("contrast:5", sample, bands=4)
    found = ranking(models, sample, places, measured=True)
    for each in found.models:
        model = models[each.name]
        surrogate = places[0].surrogate(sample, 0)
        clean = accuracy(model, sample).value
        pairs = (
            (each.foretold, accuracy(model, surrogate).value),
            (each.measured, accuracy(model, sample, ("contrast", 5)).value),
        )
        for outcome, expected in pairs:
            assert outcome is not None
            assert outcome.left.mean() == pytest.approx(expected)
            assert outcome.lost.mean() == pytest.approx(clean - expected)


@pytest.mark.parametrize("score", ["log-likelihood", "probability"])
def test_scores_of_distributions_are_expectations(score: ScoreName) -> None:
    """Half of one class and half of the other: the mean of both."""
    sample, halves = images(), np.full((24, 2), 0.5)
    blurred = environments("gaussian_blur:3", sample, bands=4)
    models = {f"{low:g}": Classifier(Waves(low)) for low in (0.3, 0.7)}
    found = ranking(models, ReferenceSample(sample.images, halves), blurred, score=score)
    each = [
        ranking(models, ReferenceSample(sample.images, [k] * 24), blurred, score=score)
        for k in (0, 1)
    ]
    for model in found.models:
        pair = [next(x for x in other.models if x.name == model.name) for other in each]
        expected = np.mean([x.foretold.left for x in pair], axis=0)
        np.testing.assert_allclose(model.foretold.left, expected, atol=1e-9)


def test_without_labels_models_are_held_against_their_own_answers() -> None:
    found = ranked(*THREE, "rank_lab:unlabelled", *BLURRED)
    assert [each["clean_accuracy"] for each in found["models"]] == [1, 1, 1]
    assert "own clean answers" in found["notes"][0]


def test_effective_robustness_is_above_the_line_through_the_models_as_measured() -> None:
    sample = images()
    models = {f"{low:g}": Classifier(Waves(low)) for low in (0.1, 0.3, 0.7, 0.9)}
    recipes = {"0.1": "a", "0.3": "a", "0.7": "b", "0.9": "c"}
    generator = torch.Generator().manual_seed(1)
    noisy = [
        ReferenceSample(
            (sample.pixels() + x * torch.randn(24, 1, 16, 16, generator=generator)).clamp(0, 1),
            sample.labels,
        )
        for x in (0.8, 1.6, 3.0)
    ]
    # Clean ones that not every model reads right either, and two worse ones.
    environment = environments("contrast:5", sample, bands=4)[0]
    places = [replace(environment, pairs=(noisy[0], each)) for each in noisy[1:]]
    found = ranking(models, sample, places, measured=True, recipes=recipes)
    assert found.effective is not None
    names = [each.name for each in found.models]
    hits = [
        np.stack([accuracy(models[name], each).image_values for name in names]) for each in noisy
    ]
    assert (np.mean(hits, axis=2) < 1).any()
    each = [effective_robustness(hits[0], x, [recipes[n] for n in names]) for x in hits[1:]]
    expected = np.mean([x.values for x in each], axis=0)
    np.testing.assert_allclose(found.effective.values, expected, atol=1e-12)
    told = found.as_dict()["models"][2]["effective_robustness"]
    assert told["value"] == pytest.approx(expected[2])
    assert told["low"] < told["value"] < told["high"]
    assert f"{100 * expected.max():+.1f} points".replace("-", "−") in " ".join(lines(found))
    assert max(map(len, lines(found))) <= 80


def test_effective_robustness_needs_three_recipes_and_labels() -> None:
    found = ranked("rank_lab:both", THREE[0], REFERENCE, *BLURRED, "--measure")
    assert [each["effective_robustness"] for each in found["models"]] == [None] * 3
    assert "at least 3 recipes" in found["notes"][0]
    found = ranked(*THREE, "rank_lab:unlabelled", *BLURRED, "--measure")
    assert [each["effective_robustness"] for each in found["models"]] == [None] * 3
    found = ranked(*THREE, REFERENCE, *BLURRED)
    assert [each["effective_robustness"] for each in found["models"]] == [None] * 3


# ------------------------------------------------------------------- pairs of photographs


def save(sample: ReferenceSample, folder: Path, suffix: str = ".png") -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(sample.pixels()):
        pixels = (image.expand(3, -1, -1) * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{number}{suffix}")


def test_a_folder_of_pairs_is_an_environment(lab: Path) -> None:
    sample = images()
    save(sample.take(range(12)), lab / "street" / "clean")
    # Of another type, and not of every photograph.
    blurred = ReferenceSample(without_high(sample.pixels()))
    save(blurred.take(range(10)), lab / "street" / "degraded", ".bmp")
    found = ranked(*THREE, "rank_lab:coloured", "--environment=street", NATS, "--measure", *QUICK)
    assert found["environments"] == ["street"]
    assert names(found) == ["low", "middle", "high"]
    assert [each["measured_rank"] for each in found["models"]] == [[1, 1], [2, 2], [3, 3]]
    assert "measured on the pairs" in found["notes"][0]
    place = environments("street", ReferenceSample(sample.images.expand(-1, 3, -1, -1)), bands=4)[0]
    assert len(place.pairs[0]) == 10
    # Nine tenths of the high wave were taken, of what else is in its band nothing.
    assert (place.spectrum.gains[:, 0] > 0.99).all()
    assert (place.spectrum.gains[:, 3] < 0.4).all()


def test_photographs_of_another_size_are_resized(lab: Path) -> None:
    large = ReferenceSample(images().images.repeat_interleave(2, 2).repeat_interleave(2, 3))
    for name in ("clean", "degraded"):
        save(large.take(range(3)), lab / "same" / name)
    coloured = ReferenceSample(images().images.expand(-1, 3, -1, -1))
    place = environments("same", coloured, bands=4)[0]
    assert place.pairs[0].shape == coloured.shape
    np.testing.assert_allclose(place.spectrum.gains, 1)
    np.testing.assert_allclose(place.spectrum.energies, 0, atol=1e-12)


def test_folders_without_pairs_are_told(lab: Path) -> None:
    coloured = ReferenceSample(images().images.expand(-1, 3, -1, -1))
    sample = images().take(range(2))
    save(sample, lab / "half" / "clean")
    with pytest.raises(SettingsError, match="half has no folder degraded"):
        environments("half", coloured)
    save(sample, lab / "none" / "clean")
    save(sample, lab / "none" / "degraded")
    for path in (lab / "none" / "degraded").iterdir():
        path.rename(path.with_stem(f"other{path.stem}"))
    with pytest.raises(SettingsError, match=r"no photograph in .* has one of the same name"):
        environments("none", coloured)
    with pytest.raises(SettingsError, match="the reference images have 1"):
        environments("none", images())


# ------------------------------------------------------------------- what cannot be done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*THREE, REFERENCE, "--environment=fogg:3"), "did you mean 'fog'?"),
        ((*THREE, REFERENCE, "--environment=fog:9"), "must be 1, 2, 3, 4 or 5"),
        ((*THREE, REFERENCE, "--environment=fog:a"), "no severity from 1 to 5"),
        ((*THREE, REFERENCE, "--environment=streets"), "is no folder, and has no severity"),
        ((*THREE, REFERENCE, "--environment=fog:1,fog:1"), "fog:1 is named twice"),
        ((THREE[0], REFERENCE, "--environment=fog:1"), "1 model cannot be ranked"),
        ((THREE[0], THREE[0], REFERENCE, "--environment=fog:1"), "is named twice"),
        ((*THREE, "rank_lab:nothing", "--environment=fog:1"), "has no 'nothing'"),
    ],
)
def test_what_cannot_be_ranked_is_told(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rank", *arguments, *QUICK]) == 2
    assert message in capsys.readouterr().err


def test_the_page_holds_the_numbers() -> None:
    found = ranked(*THREE, REFERENCE, *BLURRED, "--measure", "--html=rank.html")
    text = Path("rank.html").read_text(encoding="utf-8")
    assert "<script" not in text
    for each in found["models"]:
        assert each["name"] in text
        for order in ("left", "lost"):
            value = each["foretold"][order]["value"]
            assert f"{100 * value:.1f}%".replace("-", "−") in text
    assert "In gaussian_blur:5, most is foretold to be left of" in text


def test_shares_that_are_all_alike_have_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    """Wilson's of none or all of K hits, and Agresti and Min's of none that moved."""
    found = ranked(*THREE, REFERENCE, "--environment=brightness:1", *QUICK)
    count, z = len(images().images), stats.norm.ppf(0.975)
    for each in found["models"]:
        left, lost = each["foretold"]["left"], each["foretold"]["lost"]
        assert (left["value"], left["high"]) == (1, 1)
        assert left["low"] == pytest.approx(1 - z**2 / (count + z**2))
        reach = stats.t.ppf(0.975, count - 1) / (count + 2)
        assert (lost["low"], lost["high"]) == pytest.approx((-reach, reach))


def test_environments_are_not_dropped_in_silence(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lab / "street").mkdir()
    twice = ("--environment=fog:1", "--environment=contrast:1")
    assert main(["rank", *THREE, REFERENCE, *twice, *QUICK]) == 2
    assert "--environment is given 2 times; give it once" in capsys.readouterr().err
    assert main(["rank", *THREE, REFERENCE, "--environment=street,fog:1", *QUICK]) == 2
    assert "street is a folder; it can only be ranked for alone" in capsys.readouterr().err


def test_a_model_that_answers_one_class_is_told_where_there_are_no_labels() -> None:
    found = ranked("rank_lab:high", "rank_lab:one_class", "rank_lab:unlabelled", *BLURRED)
    told = [note for note in found["notes"] if "answers one class" in note]
    assert len(told) == 1 and told[0].startswith("rank_lab:one_class answers one class to every")
    found = ranked("rank_lab:high", "rank_lab:one_class", REFERENCE, *BLURRED)
    assert not any("answers one class" in note for note in found["notes"])


def test_a_model_that_fails_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rank", *THREE, "rank_lab:broken", REFERENCE, *BLURRED]) == 2
    assert "rank_lab:broken: the model returned NaN" in capsys.readouterr().err


def test_log_likelihoods_are_said_to_depend_on_confidence() -> None:
    found = ranked(*THREE, REFERENCE, *BLURRED, NATS)
    assert any("less sure loses less" in note for note in found["notes"])


def test_how_many_pairs_there_are_is_told(lab: Path) -> None:
    save(images().take(range(5)), lab / "street" / "clean")
    save(images().take(range(3)), lab / "street" / "degraded")
    found = ranked(*THREE, "rank_lab:coloured", "--environment=street/", *QUICK)
    expected = "the spectrum of street is the mean of 3 pairs; 2 files without a pair left out"
    assert expected in found["notes"]


def test_pairs_of_different_views_or_of_two_types_are_refused(lab: Path) -> None:
    coloured = ReferenceSample(images().images.expand(-1, 3, -1, -1))
    sample = images().take(range(2))
    for name in ("clean", "degraded"):
        save(sample, lab / "cut" / name)
    path = lab / "cut" / "degraded" / "1.png"
    with Image.open(path) as picture:
        width, height = picture.size
        picture.crop((0, 0, width // 2, height)).resize((width, 2 * height)).save(path)
    with pytest.raises(SettingsError, match=r"1\.png has .* expected two photographs of the same"):
        environments("cut", coloured)
    with Image.open(lab / "cut" / "clean" / "1.png") as picture:
        picture.save(path)
        picture.transpose(Image.Transpose.ROTATE_180).save(path.with_suffix(".bmp"))
    with pytest.raises(SettingsError, match="has two files named 1, of different types"):
        environments("cut", coloured)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"score": "hits"}, "score='hits' is unknown"),
        ({"order": "best"}, "order='best' is unknown"),
        ({"level": 95}, "write 0.95 for 95 %"),
        ({"environments": []}, "no environment to rank for"),
    ],
)
def test_what_a_ranking_cannot_be_made_of(changed: dict[str, Any], message: str) -> None:
    sample, models = images(), {f"{low:g}": Classifier(Waves(low)) for low in (0.3, 0.7)}
    given = {"environments": environments("contrast:5", sample, bands=4), **changed}
    with pytest.raises(SettingsError, match=message):
        ranking(models, sample, **given)


@pytest.mark.filterwarnings("default")
def test_a_warning_does_not_show_the_code_it_comes_from(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = images().take([0, 0, 1])
    for name in ("clean", "degraded"):
        save(sample, lab / "street" / name)
    ranked(*THREE, "rank_lab:coloured", "--environment=street", *QUICK)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and "Warning" not in "".join(told)
    assert told[0].startswith("iaside: warning: in street/clean, 1 exact copy (1.png of 0.png)")

"""The command iaside study: its tables, its JSON, its page, and what it says to bad input."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from profiles import make_profile

from pytest_iaside.study import robustness as robust
from pytest_iaside.track.history import History, Point

Command = Callable[..., int]
QUICK = ("study_lab:models", "study_lab:reference", "--bands=4", "--backend=eager")
PERTURBATIONS = "--perturbations=gaussian_blur:5,white_noise:2,fgsm:0.1"


def document(name: str, version: int = 1) -> dict[str, Any]:
    text = Path("iaside-study", f"{name}.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    found: dict[str, Any] = json.loads(text)
    assert found["format"] == f"iaside-study-{name}/{version}"
    assert found["meta"]["command"].startswith(f"iaside study {name}")
    return found


def page(name: str) -> str:
    text = Path("iaside-study", f"{name}.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    return text


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def test_correlation_writes_all_it_prints(
    iaside: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert iaside("correlation", *QUICK, PERTURBATIONS) == 0
    lines = lines_of(capsys)
    assert lines[0].startswith("low0.1 ")
    assert "5 models of 5 recipes; 3 perturbations" in lines
    assert lines[-1] == "written: iaside-study/correlation.html and correlation.json"
    found = document("correlation")
    assert found["perturbations"] == ["gaussian_blur:5", "white_noise:2", "fgsm:0.1"]
    assert [model["name"] for model in found["models"]] == [
        f"low{low:g}" for low in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]
    table = found["mpe"]["mean"]
    at = next(i for i, line in enumerate(lines) if line.startswith("r with mean mPE"))
    for row, line in zip(table, lines[at + 1 :], strict=False):
        name, r, *_ = re.split(r"\s{2,}", line)
        assert name == row["predictor"]
        expected = row["recipes"]["pearson"]
        if expected is None:  # All five are right on every image.
            assert (name, r) == ("clean accuracy", "—")
        else:
            assert float(r.replace("−", "-")) == pytest.approx(expected, abs=0.005)
    # A blur takes the high wave: the more a model relies on the low one, the less it moves.
    mpe = [model["mpe"]["gaussian_blur:5"] for model in found["models"]]
    assert mpe == sorted(mpe, reverse=True)
    by_score = next(
        row
        for row in found["mpe"]["by_perturbation"]
        if (row["predictor"], row["target"]) == ("signed SRC", "gaussian_blur:5")
    )
    scores = [model["signed_src"] for model in found["models"]]
    assert by_score["recipes"]["pearson"] == pytest.approx(np.corrcoef(scores, mpe)[0, 1])
    assert by_score["recipes"]["pearson"] < -0.8
    text = page("correlation")
    assert f"{scores[0]:+.3f}".replace("-", "−") in text
    assert "What follows mean mPE" in text


def test_correlation_goes_on_where_it_was_stopped(
    iaside: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert iaside("correlation", *QUICK, PERTURBATIONS) == 0
    first = document("correlation")
    kept = sorted(Path("iaside-study", "correlation-kept").glob("*.npz"))
    assert len(kept) == 5
    kept[0].unlink()
    asked: list[int] = []
    ask = robust.answers
    monkeypatch.setattr(robust, "answers", lambda *a, **k: asked.append(len(a[2])) or ask(*a, **k))
    assert iaside("correlation", *QUICK, PERTURBATIONS) == 0
    # Of the four that are kept the clean images; of the fifth all.
    assert sorted(asked) == [1, 1, 1, 1, 4]
    again = document("correlation")
    assert {**again, "meta": None} == {**first, "meta": None}


def test_models_that_fail_are_named_and_left_out(
    iaside: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = ("study_lab:failing", *QUICK[1:])
    assert iaside("correlation", *failing, "--perturbations=gaussian_blur:5") == 1
    captured = capsys.readouterr()
    assert "iaside: broken was left out: it could not be made (ZeroDivisionError" in captured.err
    assert "iaside: none was left out: the function that makes it returned None" in captured.err
    assert [one["name"] for one in document("correlation")["left_out"]] == ["broken", "none"]
    assert "broken was left out" in page("correlation")
    assert iaside("correlation", "study_lab:failing_all", *QUICK[1:]) == 2
    assert "0 of 4 models could be measured" in capsys.readouterr().err


def test_label_noise(iaside: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert iaside("label-noise", *QUICK) == 0
    lines = lines_of(capsys)
    assert any(line.startswith("35%") for line in lines)
    found = document("label-noise", version=2)
    assert [level["value"] for level in found["levels"]] == [0.05, 0.15, 0.25, 0.35, 0.45]
    # The lab's models lean on the low wave by as much as they say their noise is.
    assert found["follows"]["signed SRC"]["spearman"] == pytest.approx(1)
    assert "ρ = " in page("label-noise")


def test_covariate(iaside: Command, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--covariate=images", "--log", "--beta=0.5", "--perturbations=gaussian_blur:5")
    assert iaside("covariate", "study_lab:sized", *QUICK[1:], *asked) == 0
    lines = lines_of(capsys)
    found = document("covariate")
    assert (found["covariate"], found["logarithm"]) == ("images", True)
    assert [level["value"] for level in found["levels"]] == [10, 30, 50, 70, 90]
    # The more a model leans on the low wave, the less a blur moves it.
    assert found["follows"]["mean mPE"]["spearman"] == pytest.approx(-1)
    assert found["follows"]["signed SRC, β = 0.5"]["spearman"] == pytest.approx(1)
    row = next(line for line in lines if line.startswith("mean mPE"))
    assert re.split(r"\s{2,}", row)[:3] == ["mean mPE", "5", "−1.00"]
    text = page("covariate")
    assert "mean mPE against images" in text and "Information and convergence" in text
    asked = ("--covariate=noise", "--perturbations=none", "--samples=20")
    assert iaside("covariate", *QUICK, *asked) == 0
    assert "mean mPE" not in document("covariate")["follows"]


def test_correlation_takes_further_predictors_and_targets(
    iaside: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (
        "--predictors=interactions,depth,noise",
        "--beta=0.5",
        "--perturbations=gaussian_blur:5",
    )
    assert iaside("correlation", *QUICK, *asked, "--perturbations=gaussian_blur:5", "--mce") == 0
    lines = lines_of(capsys)
    found = document("correlation")
    names = {row["predictor"] for row in found["mpe"]["mean"]}
    assert {"signed SRC, β = 0.5", "reconstruction depth", "interaction, all bands"} <= names
    assert "noise" in names  # All models give it.
    assert {row["target"] for row in found["mce"]["mean"]} == {"mean"}
    at = next(i for i, line in enumerate(lines) if line.startswith("r with mCE"))
    left_out = [row["left_out"] for row in found["mce"]["mean"]]
    told = [float(line.split()[-1]) for line in lines[at + 1 : at + 3]]
    assert told == pytest.approx([each["error"] for each in left_out[:2]], abs=0.05)
    alone = next(line for line in lines[at:] if line.startswith("their mean alone"))
    assert float(alone.split()[-1]) == pytest.approx(left_out[0]["of_mean"], abs=0.05)
    assert "error, recipe left out" in page("correlation")


def test_architectures(iaside: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert iaside("architectures", *QUICK, "--projection=pca") == 0
    lines = lines_of(capsys)
    assert any(line.startswith("PCA, ") for line in lines)
    found = document("architectures")
    assert found["projection"]["method"] == "pca"
    assert found["agreement"] is None  # one group
    assert len(found["models"]) == 5
    assert "SIDs in a plane" in page("architectures")


def test_a_mapping_of_bare_models_will_do(iaside: Command) -> None:
    assert iaside("architectures", "study_lab:bare", *QUICK[1:], "--samples=12") == 0
    found = document("architectures")
    assert [model["group"] for model in found["models"]] == ["", "", ""]


def test_training(iaside: Command, lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = History(lab / "history.sqlite")
    for step in (1, 2, 3):
        psi = np.array([3.0 - step / 2, 1.0, 0.5, 0.1])
        point = Point(step=step, name=f"epoch-{step}.pt", profile=make_profile(psi), loss=1 / step)
        history.add(point)
    assert iaside("training", "history.sqlite") == 0
    lines = lines_of(capsys)
    assert lines[1].split()[0] == "epoch"
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "3"]
    found = document("training")
    assert found["moved"]["psi"]["change"] == pytest.approx([-1, 0, 0, 0], abs=1e-6)
    assert [one["loss"] for one in found["points"]] == pytest.approx([1, 1 / 2, 1 / 3])
    text = page("training")
    assert "SID over training" in text and "Information and convergence" in text
    # Of ten labels four images each: H(Y) = ln 10.
    assert f"{np.log(10):.3f}" in text
    history.add(Point(run="second", step=1, name="a.pt", profile=make_profile()))
    assert iaside("training", "history.sqlite") == 2
    assert "holds the runs run, second; choose one with --run" in capsys.readouterr().err
    assert iaside("training", "history.sqlite", "--run=run") == 0
    assert iaside("training", "history.sqlite", "--run=third") == 2
    assert "holds no run 'third'; it has run, second" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("correlation", "study_lab:two"), "returned 2 models; this study needs at least 3"),
        (("correlation", "study_lab:nothing"), "study_lab:nothing returned None; expected a map"),
        (("correlation", "study_lab:numbers"), "'a' in study_lab:numbers is a int; expected"),
        (("correlation", "study_lab:absent"), "study_lab has no 'absent'"),
        (("correlation", "study_lab:models", "--perturbations=fog:9"), "severity=9 must be"),
        (("correlation", "study_lab:models", "--samples=99"), "99 images asked for"),
        (("correlation", "study_lab:models", "--bands=12"), "use at most"),
        (("label-noise", "study_lab:bare"), "low0.2 and 2 more models do not say what share"),
        (("label-noise", "study_lab:same_noise"), "all 5 models have noise 0.5; this study"),
        (("covariate", "study_lab:models", "--covariate=size"), "do not say their size; give"),
        (("covariate", "study_lab:models", "--covariate=noise", "--beta=2"), "--beta holds '2'"),
        (("correlation", "study_lab:models", "--beta=a"), "--beta holds 'a'; give numbers"),
        (("correlation", "study_lab:models", "--predictors=wcam"), "no predictor 'wcam'; choose"),
        (("architectures", "study_lab:models", "--perplexity=5"), "perplexity=5 must be above 0"),
    ],
)
def test_bad_input_is_said_and_nothing_written(
    iaside: Command, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    name, models, *rest = arguments
    assert iaside(name, models, "study_lab:reference", "--backend=eager", *rest) == 2
    assert message in capsys.readouterr().err
    assert not Path("iaside-study", f"{name}.json").exists()


def test_a_history_that_is_not_there(iaside: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert iaside("training", "none.sqlite") == 2
    assert "there is no file none.sqlite; iaside track writes one" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(
    iaside: Command, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lab / "file").write_text("x")
    arguments = (*QUICK, "--perturbations=gaussian_blur:5", "--output=file/inside")
    assert iaside("correlation", *arguments) == 2
    assert re.search(r"cannot write file/inside.*--output", capsys.readouterr().err)

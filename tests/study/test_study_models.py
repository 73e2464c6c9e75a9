"""Reading a set of models: whatever can be a model, and what cannot is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from waves import Waves

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.study.models import StudyModel, study_models


def network() -> nn.Module:
    return Waves(0.5)


def test_whatever_can_be_a_model_is_loaded_under_its_name() -> None:
    made = {
        "module": network(),
        "classifier": Classifier(network(), mean=0.5, std=0.25, name="other", version="3"),
        "factory": network,
        "function": lambda pixels: pixels.mean(dim=(1, 2, 3))[:, None] * torch.tensor([1.0, -1]),
        3: StudyModel(network, group="waves", recipe="half", noise=0.2),
    }
    models = study_models(made, "lab:models")
    assert [model.name for model in models] == ["module", "classifier", "factory", "function", "3"]
    loaded = [model.load() for model in models]
    assert [classifier.name for classifier in loaded] == [model.name for model in models]
    assert loaded[1].mean is not None
    assert (loaded[1].mean.item(), loaded[1].version) == (0.5, "3")
    assert isinstance(loaded[2].network, Waves)
    assert loaded[3].network(torch.ones(2, 1, 4, 4)).tolist() == [[1, -1], [1, -1]]
    assert (models[4].group, models[4].recipe, models[4].noise) == ("waves", "half", 0.2)
    # Without a recipe of its own every model is one.
    assert models[0].recipe == "module"


def test_factories_are_called_only_when_their_model_is_wanted() -> None:
    calls = []

    def make() -> nn.Module:
        calls.append(1)
        return network()

    made = {"late": make, "later": make, "last": make}
    model, *_ = study_models(made, "lab:models")
    assert calls == []
    model.load()
    model.load()
    assert calls == [1, 1]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, "lab:models returned None; expected a mapping from names to models"),
        ([network()], "lab:models returned a list; expected a mapping"),
        ({"a": network()}, "lab:models returned 1 model; this study needs at least 3"),
        ({"a": network(), "b": 7, "c": network()}, "'b' in lab:models is a int; expected"),
        ({"a": None, "b": None, "c": None}, "'a' in lab:models is None; expected"),
    ],
)
def test_what_is_no_set_of_models_is_said(made: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        study_models(made, "lab:models")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": 1.2}, "noise=1.2 must be the share of wrong labels, from 0 to 1"),
        ({"noise": True}, "noise=True"),
        ({"noise": float("nan")}, "noise=nan"),
        ({"group": 3}, "group=3 cannot be used; expected text"),
        ({"recipe": None}, "recipe=None cannot be used"),
    ],
)
def test_what_cannot_be_said_of_a_model(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        StudyModel(network, **settings)


def test_a_factory_that_fails_or_returns_nothing_is_a_model_error() -> None:
    with pytest.raises(ModelError, match=r"could not be made \(ZeroDivisionError: division"):
        StudyModel(lambda: 1 / 0, name="broken").load()
    with pytest.raises(ModelError, match="the function that makes it returned None"):
        StudyModel(lambda: None, name="none").load()

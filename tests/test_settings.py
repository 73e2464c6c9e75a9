"""Settings: their names, their kinds, and which source counts."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from pytest_iaside import settings
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution, scattered
from pytest_iaside.measure.spectral import MEASURE_SETTINGS
from pytest_iaside.settings import Layer, Settings
from pytest_iaside.thresholds import LEVEL, Thresholds


def test_the_names_are_those_of_the_functions_they_are_for() -> None:
    execution = {field.name for field in fields(Execution)}
    assert tuple(name for name in settings.MEASURE if name not in execution) == MEASURE_SETTINGS
    assert execution <= set(settings.MEASURE)
    assert tuple(settings.THRESHOLDS) == tuple(field.name for field in fields(Thresholds))
    keywords = set(settings.SettingKeywords.__annotations__) - {"execution"}
    assert keywords == set(settings.SETTINGS)
    assert Settings.of([]).level == LEVEL


def test_the_first_layer_that_says_something_counts() -> None:
    found = Settings.of(
        [
            Layer("keyword", {"bands": 4, "max_src_drop": None}),
            Layer("marker", {"bands": 5, "level": 0.9, "device": "cpu"}),
            Layer("ini", {"level": 0.5, "fail_on": "any-change", "max_src_drop": 0.1, "seed": 3}),
        ]
    )
    assert found == Settings(
        measure={"bands": 4, "seed": 3, "execution": Execution(device="cpu")},
        thresholds=Thresholds(max_src_drop=None),
        level=0.9,
        fail_on="any-change",
    )
    assert Settings.of([]) == Settings(measure={"execution": Execution()}, thresholds=Thresholds())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("bands", 4.0, "a whole number"),
        ("bands", True, "a whole number"),
        ("bands", None, "a whole number"),
        ("samples", "4", "a whole number, auto or none"),
        ("batch_size", "big", "a whole number or auto"),
        ("device", 0, "text"),
        ("device", "", "text"),
        ("max_band_drop", "0.1", "a number or none"),
        ("max_band_drop", np.array([1.0, 2.0]), "a number or none"),
        ("level", 1, "a number between 0 and 1: write 0.95 for 95 %"),
        ("level", 95, "a number between 0 and 1: write 0.95 for 95 %"),
        ("direction", "up", "one of worse, any"),
        ("fail_on", None, "one of drift, inconclusive, any-change"),
    ],
)
def test_values_of_another_kind_are_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Layer("here", {name: value})
    assert str(raised.value) == f"here: {name}={value!r} cannot be used; expected {expected}"


def test_thresholds_out_of_range_name_their_source() -> None:
    with pytest.raises(SettingsError, match=r"^here: max_sid_shift=-0\.1 must be finite and not"):
        Layer("here", {"max_sid_shift": -0.1})


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError) as raised:
        Layer("here", {"batchsize": 3})
    assert str(raised.value) == (
        "here: unknown setting 'batchsize'; did you mean 'batch_size'? Valid are "
        + ", ".join(settings.SETTINGS)
    )
    with pytest.raises(SettingsError, match=r"unknown setting 'qqq'\. Valid are bands, partition"):
        Layer("here", {"qqq": 3})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bands", "12", 12),
        ("samples", "None", None),
        ("samples", " 20 ", 20),
        ("batch_size", "auto", "auto"),
        ("batch_size", "16", 16),
        ("max_src_drop", "none", None),
        ("max_src_drop", "1e-2", 0.01),
        ("max_src_drop", "0", 0),
        ("device", "0", "0"),
        ("device", " cuda:1 ", "cuda:1"),
        ("level", ".9", 0.9),
        ("direction", "any", "any"),
    ],
)
def test_text_is_read(name: str, text: str, value: Any) -> None:
    found = settings.read_text(name, text, "here")
    assert found == value
    assert type(found) is type(value)


def test_text_that_cannot_be_read_is_shown_as_it_stands() -> None:
    with pytest.raises(SettingsError) as raised:
        settings.read_text("max_src_drop", "2 %", "here")
    assert str(raised.value) == "here: '2 %' cannot be used; expected a number or none"


def test_an_execution_stands_for_its_fields() -> None:
    found = scattered({"bands": 4, "execution": Execution(device="cpu", batch_size=8)})
    assert found == {"bands": 4, "device": "cpu", "batch_size": 8}
    assert scattered({"execution": Execution(), "seed": 1}) == {"seed": 1}
    with pytest.raises(SettingsError, match="execution='cpu' cannot be used"):
        scattered({"execution": "cpu"})
    assert scattered({"execution": Execution(executor="process:2")}) == {"executor": "process:2"}


def test_a_modules_repr_is_no_message() -> None:
    long = "Sequential(\n" + "  (0): Linear(in_features=3, out_features=3, bias=True)\n" * 80 + ")"

    class Module:
        def __repr__(self) -> str:
            return long

    with pytest.raises(SettingsError) as raised:
        Layer("keywords", {"bands": Module()})
    assert len(str(raised.value)) < 200 and "\n" not in str(raised.value)

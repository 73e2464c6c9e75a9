"""Fixtures that a conftest.py may override; each imports what it needs when it is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_iaside.errors import SettingsError
from pytest_iaside.settings import REFERENCE_KEYS, UNSET, ini_value

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pytest_iaside.images.reference import ReferenceSample
    from pytest_iaside.models.classifier import Classifier


@pytest.fixture(scope="session")
def spectral_reference(pytestconfig: pytest.Config) -> ReferenceSample:
    """The images that models are measured on: the ini key iaside_reference names them."""
    from pytest_iaside.testing.factories import named_reference

    text = ini_value(pytestconfig, "reference")
    if text is None:
        raise SettingsError(
            "there is no reference sample; pass one to assert_spectral_robustness, set the ini "
            "key iaside_reference (a folder of images, or package.module:factory), or define the "
            "fixture spectral_reference in conftest.py"
        )
    given = {key: ini_value(pytestconfig, f"reference_{key}", UNSET) for key in REFERENCE_KEYS}
    how = {key: value for key, value in given.items() if value is not UNSET}
    return named_reference(text, _base(pytestconfig), **how)


@pytest.fixture(scope="session")
def spectral_classifier(pytestconfig: pytest.Config) -> Classifier:
    """The model under test: the ini key iaside_model names it."""
    from pytest_iaside.testing.factories import named_model

    text = ini_value(pytestconfig, "model")
    if text is None:
        raise SettingsError(
            "there is no model; set the ini key iaside_model (package.module:factory, or an .onnx "
            "file), or define the fixture spectral_classifier in conftest.py"
        )
    return named_model(text, _base(pytestconfig))


@pytest.fixture(scope="session")
def spectral_baseline_classifier(pytestconfig: pytest.Config) -> Classifier | None:
    """The model that baselines were made from, to look at beside one that fails; or None."""
    from pytest_iaside.testing.factories import named_model

    text = ini_value(pytestconfig, "baseline_model")
    return None if text is None else named_model(text, _base(pytestconfig))


@pytest.fixture(scope="session")
def spectral_executor() -> Executor | str | None:
    """Workers that share the work, or their name ("process:4"), where no setting names them."""
    return None


def _base(config: pytest.Config) -> Path:
    # As pytest reads its own paths: relative to the file that they are written in.
    return config.inipath.parent if config.inipath else config.invocation_params.dir

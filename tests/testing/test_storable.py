"""What of a spectral profile makes a baseline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from profiles import make_profile

from pytest_iaside.errors import BaselineError
from pytest_iaside.testing.spectral import storable


def test_log_likelihoods_are_left_out() -> None:
    profile = replace(make_profile(images=3), log_likelihood=np.zeros((3, 256)))
    found = storable(profile)
    assert found.log_likelihood is None
    np.testing.assert_array_equal(found.values, profile.values)


@pytest.mark.parametrize("psi", [[0.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]])
def test_an_unstructured_or_degenerate_profile_is_refused(psi: list[float]) -> None:
    with pytest.raises(BaselineError, match="makes no baseline, nothing was written: ψ"):
        storable(make_profile(psi, noise=0.0))

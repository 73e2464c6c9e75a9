"""What of a spectral profile makes a baseline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from profiles import make_profile

from pytest_iaside.testing.spectral import storable


def test_log_likelihoods_are_left_out() -> None:
    profile = replace(make_profile(images=3), log_likelihood=np.zeros((3, 256)))
    found = storable(profile)
    assert found.log_likelihood is None
    np.testing.assert_array_equal(found.values, profile.values)

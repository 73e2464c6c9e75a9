"""What of a spectral profile makes a baseline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from profiles import make_profile

from pytest_iaside.testing.spectral import storable


def test_log_likelihoods_are_kept_with_half_their_digits() -> None:
    table = np.random.default_rng(0).normal(-5, 2, (3, 256))
    profile = replace(make_profile(images=3), log_likelihood=table)
    found = storable(profile)
    np.testing.assert_array_equal(found.log_likelihood, table.astype(np.float32))
    np.testing.assert_array_equal(found.values, profile.values)

"""Writers that are killed or hindered in any of their calls: nothing is lost, half or mixed."""

from __future__ import annotations

import pytest
from faulty import POSSIBLE, WHY_NOT, injected


@pytest.mark.skipif(not POSSIBLE, reason=WHY_NOT)
def test_a_fault_in_any_call_leaves_the_old_file_or_the_new_one() -> None:
    found = injected("faults.py", "--short", seconds=170)
    assert found["wrong"] == []
    counts = {what: sum(outcomes.values()) for what, outcomes in found["outcomes"].items()}
    # Every call of every kind of file was reached: a shorter protocol would be a test of less.
    assert counts["baseline: killed before a call"] >= 30
    assert counts["cache: no space left, from there on"] >= 30
    assert counts["report: killed before a call"] >= 10
    assert counts["baseline: two writers and a reader, both go on, no locks"] >= 12
    # A disk that is full is told, unless the new record stands by then.
    outcomes = found["outcomes"]["baseline: no space left, from there on"]
    assert set(outcomes) == {"written", "refused"}

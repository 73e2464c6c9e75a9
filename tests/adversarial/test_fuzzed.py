"""Damaged files of every kind: a clear error or a value, in little memory, and no code is run."""

from __future__ import annotations

from collections import Counter

import pytest
from fuzzing import READERS, CodeWasRun, damaged, no_code, try_reading
from hostile import tamed
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EXAMPLES = 40
CHANGES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 999)),
    min_size=1,
    max_size=4,
)


def fuzz(name: str, examples: int, *, derandomize: bool = True) -> Counter[str]:
    """How many damaged files were read how; raises what hypothesis found."""
    reader, outcomes = READERS[name], Counter[str]()
    seeds = reader.seeds()

    @settings(
        max_examples=examples,
        derandomize=derandomize,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds), CHANGES)
    def run(seed: bytes, changes: list[tuple[int, int, int, int]]) -> None:
        outcomes[try_reading(reader, damaged(seed, changes))] += 1

    run()
    return outcomes


@pytest.mark.parametrize("name", list(READERS))
def test_damaged_files_are_told_or_read(name: str) -> None:
    found = tamed(lambda: fuzz(name, EXAMPLES), seconds=60, megabytes=1000)
    assert sum(found.values()) >= EXAMPLES // 2
    # They are damaged: one reader that reads all of them reads none.
    if READERS[name].errors:
        assert set(found) - {"read"}


@pytest.mark.parametrize("name", list(READERS))
def test_whole_files_are_read(name: str) -> None:
    for seed in READERS[name].seeds():
        if name != "values of settings":  # 4 is not a value of each.
            assert try_reading(READERS[name], seed) == "read"


def test_code_would_be_noticed() -> None:
    import os

    with pytest.raises(CodeWasRun, match=r"os\.system"), no_code():
        os.system("true")

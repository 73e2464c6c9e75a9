"""What version 0.1.0 wrote is read, and leads to the verdicts that it led to then.

tests/data/version_0_1_0 holds files that 0.1.0 wrote (make_data.py beside them tells how), the
example's baselines of that day among them, and in expected.json all that 0.1.0 concluded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_iaside import BaselineError, History, Limit, Measurement, SpectralProfile, Thresholds
from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.sequential import compare_sequentially, drawing_order, stopping_rule
from pytest_iaside.compare.trend import TELL_NOISE
from pytest_iaside.stats.intervals import jackknife_interval
from pytest_iaside.store.baselines import Owner, owner_of, path_for
from pytest_iaside.track.trend import trend_of

DATA = Path(__file__).parent / "data" / "version_0_1_0"
EXPECTED: dict[str, Any] = json.loads((DATA / "expected.json").read_text(encoding="utf-8"))
HISTORY = EXPECTED["histories"]["history.sqlite"]


def close(found: Any, expected: Any) -> bool:
    """Whether numbers agree but for rounding; 'nan' and 'inf' stand for themselves."""
    wanted = np.asarray(expected, dtype=np.float64)
    return bool(np.allclose(np.asarray(found), wanted, rtol=1e-9, atol=1e-12, equal_nan=True))


def as_now(verdict: str, then: str) -> bool:
    """Whether ``verdict`` is what ``then`` was: what was found without one is told apart since."""
    return verdict in {"inconclusive": ("inconclusive", "nothing found")}.get(then, (then,))


# Notes that came after.
TOLD_SINCE = (
    "better",
    "a trade-off in ",
    "beyond what clean accuracy explains: ",
    "some checkpoints were",
    "2 checkpoints",
    "3 checkpoints",
    "4 checkpoints",
)


def assert_same(found: Comparison, expected: dict[str, Any], *, quantities: str) -> None:
    """``found`` has the numbers of version 0.1.0, and its verdict of each check."""
    for name in ("changed", "images"):
        assert getattr(found, name) == expected[name], name
    assert as_now(found.verdict, expected["verdict"])
    # One note is worded otherwise by now, and L(∅) is told.
    notes = [note for note in found.notes if not note.startswith("L(∅)")]
    # Of what drifted nothing is called better any longer.
    said = [note for note in expected["notes"] if note.partition(" ")[0] != "better"]
    notes = [note for note in notes if not note.startswith(TOLD_SINCE)]
    for note, then in zip(notes, said, strict=True):
        same = note.partition(": ")[0] == then.partition(": ")[0]
        assert note == then or (same and then.startswith("unpaired: "))
    for check, then in zip(found.checks, expected["checks"], strict=True):
        assert check.name == then["name"]
        assert as_now(check.verdict, then["verdict"])
        # Among places with the same verdict the plainest is told.
        if check.verdict != then["verdict"]:
            continue
        assert check.where == then["where"]
        for name in ("change", "low", "high"):
            assert close(getattr(check, name), then[name]), (check, name)
        # What is allowed is told on the side to which it moved.
        assert abs(check.limit) == abs(then["limit"])
        if check.limit == then["limit"]:
            # Intervals are cut to what is possible today.
            assert check.sentence.startswith(then.get("sentence", "").partition(" CI ")[0])
    for name in ("change", "low", "high", "p_value"):
        numbers = [getattr(each, name) for each in found.quantities]
        assert close(numbers, expected[quantities][name]), name
    assert [each.moved for each in found.quantities] == expected[quantities]["moved"]


def thresholds_of(case: dict[str, Any]) -> Thresholds:
    """Those of 0.1.0, which had no limit on both sides for upper bands."""
    given = EXPECTED["about"]["default_thresholds"] | case["thresholds"]
    return Thresholds(**given, max_upper_band_change=None)


def loaded(case: dict[str, Any], kind: type[Any] = SpectralProfile) -> tuple[Any, Any]:
    candidate = kind.load(DATA / case["candidate"])
    same = case["candidate"] == case["baseline"]
    baseline = candidate if same else kind.load(DATA / case["baseline"])
    count = case.get("candidate_images")
    return candidate if count is None else candidate.first(count), baseline


@pytest.mark.parametrize("name", EXPECTED["profiles"])
def test_a_profile_is_read(name: str) -> None:
    profile, then = SpectralProfile.load(DATA / name), EXPECTED["profiles"][name]
    assert repr(profile) == then["repr"]
    assert len(profile) == then["images"]
    for what in ("psi", "value", "sid", "src", "signed_src"):
        assert close(getattr(profile, what), then[what]), what
    assert (profile.structured, profile.degenerate) == (then["structured"], then["degenerate"])
    assert profile.unstructured_because == then["unstructured_because"]
    assert profile.forward_passes == then["forward_passes"]
    assert profile.digests[0] == then["first_digest"]
    if then["error_bound"] is not None:
        assert close(profile.error_bound(), then["error_bound"])


@pytest.mark.parametrize("name", EXPECTED["readings"])
def test_readings_are_read_as_a_measurement(name: str) -> None:
    measurement, then = Measurement.load(DATA / name), EXPECTED["readings"][name]
    assert (measurement.kind, len(measurement)) == (then["kind"], then["images"])
    assert close(measurement.means, then["means"])
    bounds = jackknife_interval(measurement.values, lambda mean: mean, 0.95)
    assert close(bounds.low, then["low"]) and close(bounds.high, then["high"])
    assert measurement.forward_passes == then["forward_passes"]
    assert measurement.labels.tolist() == then["labels"]


@pytest.mark.parametrize("name", [*EXPECTED["profiles"], *EXPECTED["readings"]])
def test_what_is_read_is_written_in_the_format_of_today(name: str, tmp_path: Path) -> None:
    then = Measurement.load(DATA / name)
    now = Measurement.load(then.save(tmp_path / "now.yaml"))
    assert type(now) is type(then)
    np.testing.assert_array_equal(now.values, then.values)
    for what in ("kind", "quantities", "settings", "reference", "model", "digests", "names"):
        assert getattr(now, what) == getattr(then, what)


@pytest.mark.parametrize("owned", EXPECTED["owners"], ids=lambda owned: owned["path"])
def test_a_baseline_is_found_and_says_whose_it_is(owned: dict[str, Any]) -> None:
    owner = Owner(owned["node_id"], owned["name"])
    assert path_for(Path(owned["node_id"].partition("::")[0]), owner) == Path(owned["path"])
    if owned["file"] is not None:
        assert owner_of(DATA / f"{owned['file']}.yaml") == owner


@pytest.mark.parametrize("number", range(len(EXPECTED["comparisons"])))
def test_profiles_compare_as_then(number: int) -> None:
    case = EXPECTED["comparisons"][number]
    candidate, baseline = loaded(case)
    thresholds = thresholds_of(case)
    found = compare(candidate, baseline, thresholds, level=case["level"], paired=case["paired"])
    assert_same(found, case["result"], quantities="bands")


@pytest.mark.parametrize("number", range(len(EXPECTED["sequential"])))
def test_verdicts_are_reached_as_early_as_then(number: int) -> None:
    case = EXPECTED["sequential"][number]
    candidate, baseline = loaded(case | {"candidate_images": None})
    thresholds = thresholds_of(case)
    rule = stopping_rule(baseline, thresholds, level=case["level"])
    if case["stop"] is not None and case["result"]["verdict"] == "pass":
        # Since then a pass leaves room for images that nobody has seen: it comes later.
        assert rule(candidate) in (None, *range(case["stop"] + 1, len(candidate) + 1))
    else:
        assert rule(candidate) == case["stop"]
    found = compare_sequentially(
        candidate.first(case["candidate_images"]),
        baseline,
        thresholds,
        level=case["level"],
        exhausted=case["exhausted"],
    )
    assert_same(found, case["result"], quantities="bands")


@pytest.mark.parametrize("case", EXPECTED["drawing_order"], ids=lambda case: str(case["seed"]))
def test_images_are_drawn_as_then(case: dict[str, Any]) -> None:
    digests = SpectralProfile.load(DATA / case["file"]).digests
    assert drawing_order(digests, case["seed"]) == case["order"]


@pytest.mark.parametrize("number", range(len(EXPECTED["reading_comparisons"])))
def test_readings_compare_as_then(number: int) -> None:
    case = EXPECTED["reading_comparisons"][number]
    candidate, baseline = loaded(case, Measurement)
    limits = {family: Limit(**limit) for family, limit in case["limits"].items()}
    found = compare(candidate, baseline, limits, level=case["level"], direction=case["direction"])
    assert_same(found, case["result"], quantities="quantities")


@pytest.mark.parametrize("number", range(len(EXPECTED["refused"])))
def test_what_was_refused_is_refused(number: int) -> None:
    case = EXPECTED["refused"][number]
    kind = Measurement if case["candidate"].startswith("readings") else SpectralProfile
    candidate, baseline = loaded(case, kind)
    with pytest.raises(BaselineError, match="was made for something else") as raised:
        compare(candidate, baseline, {})
    # What differs is named as then; the words around it are others.
    # What differs is named as then; the words around it are others.
    for difference in ("bands: ", "labels: ", "normaliser: ", "reference sample: "):
        assert (difference in str(raised.value)) == (difference in case["message"])


def test_a_history_is_read() -> None:
    history = History(DATA / "history.sqlite")
    assert history.runs() == HISTORY["runs"]
    points = history.points()
    for point, then in zip(points, HISTORY["points"], strict=True):
        for name in ("run", "step", "name"):
            assert getattr(point, name) == then[name]
        for name in ("accuracy", "loss"):
            known = getattr(point, name)
            assert known is then[name] if then[name] is None else close(known, then[name])
        assert close(point.profile.signed_src, then["signed_src"])
        assert close(point.profile.value, then["value"])
        assert len(point.profile) == then["images"]


@pytest.mark.parametrize("number", range(len(HISTORY["trends"])))
def test_trends_are_as_then(number: int) -> None:
    case = HISTORY["trends"][number]
    points = History(DATA / "history.sqlite").points(case["run"])[-case["last"] :]
    found = trend_of(
        points,
        max_src_drop=case["max_src_drop"],
        max_value_drop=case["max_value_drop"],
        level=case["level"],
    )
    assert [point.step for point in points] == case["result"]["steps"]
    then = case["result"]
    if len(points) < TELL_NOISE:
        assert_same(found, then, quantities="bands")
        return
    # How far checkpoints lie off their line counts since: no interval is shorter.
    assert found.images == then["images"]
    for check, before in zip(found.checks, then["checks"], strict=True):
        assert check.name == before["name"]
        if check.where == before["where"]:  # Else another one decides.
            assert close(check.change, before["change"])
            assert check.low <= float(before["low"]) + 1e-9
            assert check.high >= float(before["high"]) - 1e-9
    changes = [each.change for each in found.quantities]
    assert close(changes, then["bands"]["change"])

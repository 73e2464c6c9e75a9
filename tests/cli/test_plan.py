"""``iaside plan``: what checks can see, by how much differences vary from image to image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from profiles import TRAINED, make_profile
from scipy import stats

from pytest_iaside.cli.main import main
from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.plan import plan
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.trainings import mean_of
from pytest_iaside.stats.intervals import paired_error
from pytest_iaside.stats.power import (
    images_for_fall,
    images_for_share,
    smallest_fall,
    smallest_share,
)
from pytest_iaside.thresholds import Thresholds

GATES = 2000
IMAGES, VALUE = 40, float(TRAINED.sum())
BEFORE = make_profile()
BAND_LEVEL = 1 - 0.05 / 8


def moved(noise: float, seed: int = 1) -> Any:
    """Another model: every ψ of every image moved by its own draw."""
    draws = noise * np.random.default_rng(seed).normal(size=BEFORE.values.shape)
    model = replace(BEFORE.model, name=f"seed {seed}", fingerprint=f"{seed:016d}")
    return replace(make_profile(image_psi=BEFORE.values + draws), model=model)


def planned(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[str, dict[str, Any]]:
    """What is told of the baseline b.yaml, and the JSON document."""
    assert main(["plan", "b.yaml", "--json", "plan.json", *more]) == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    return told, json.loads(Path("plan.json").read_text())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_baseline_alone_is_an_upper_bound(capsys: pytest.CaptureFixture[str]) -> None:
    BEFORE.save("b.yaml")
    told, document = planned(capsys)
    assert "40 images, 99 % power" in told and "an upper bound" in told
    assert (document["images"], document["pairs"]) == (IMAGES, 0)
    found = {each["name"]: each for each in document["checks"]}
    assert [*found] == ["src", "sid", "value", "band", "upper"]
    deviation = BEFORE.values.sum(axis=1).std(ddof=1) / VALUE
    assert found["value"]["deviation"] == pytest.approx(deviation)
    # Normal values: what resampling finds is what Student's law tells.
    law = smallest_fall(deviation, IMAGES, 0.2, 0.95)
    assert found["value"]["found"] - 0.2 == pytest.approx(law - 0.2, rel=0.1)
    assert found["value"]["fall"] == 0.4
    law = images_for_fall(0.4, deviation, 0.2, 0.95)
    assert found["value"]["images"] == pytest.approx(law, abs=2)
    # Of eight bands that hold together one of those that vary the most.
    deviations = BEFORE.values.std(axis=0, ddof=1) / VALUE
    widest = deviations.max()
    assert found["band"]["deviation"] == pytest.approx(widest, rel=0.1)
    assert np.isclose(deviations, found["band"]["deviation"]).any()
    beyond = stats.norm.ppf(0.5 + BAND_LEVEL / 2) + stats.norm.ppf(0.99)
    assert found["band"]["found"] == pytest.approx(
        0.2 + beyond * widest / np.sqrt(IMAGES), abs=0.01
    )


def test_a_candidate_shows_how_much_differences_vary(capsys: pytest.CaptureFixture[str]) -> None:
    BEFORE.save("b.yaml")
    after = moved(0.1)
    after.save("a.yaml")
    told, document = planned(capsys, "--candidate", "a.yaml", "--fall", "0.3", "--power", "0.8")
    assert "what a.yaml shows" in told and document["pairs"] == 1
    value = next(each for each in document["checks"] if each["name"] == "value")
    # The change is a share of the baseline's v(all), which varies as well: the further it fell, the
    # more of its spread is in the difference.
    before = BEFORE.values.sum(axis=1)
    difference = after.values.sum(axis=1) - before
    deviation = (difference + value["found"] * before).std(ddof=1) / before.mean()
    assert value["deviation"] == pytest.approx(deviation)
    # Gates on images drawn from these, each with the jackknife's interval of the share.
    moved_by = difference.mean() + value["found"] * before.mean()
    generator, red = np.random.default_rng(1), 0
    for _ in range(GATES):
        some = generator.integers(0, IMAGES, IMAGES)
        one, two = difference[some, None] - moved_by + before[some, None], before[some, None]
        error, freedom = paired_error(one, two, lambda new, old: (new - old) / old)
        change = (one.mean() - two.mean()) / two.mean()
        red += change + stats.t.ppf(0.975, freedom[0]) * error[0] < -0.2
    assert red / GATES == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / GATES) + 0.01)
    assert 3 < value["images"] < IMAGES  # A fall of 0.3 is more than what 40 images find.


def test_a_pair_of_trainings_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = trainings = [moved(0.1, seed) for seed in (1, 2)]
    mean_of(trainings).save("b.yaml")
    told, document = planned(capsys)
    assert document["pairs"] == 1 and "1 pairs of its trainings" in told
    value = next(each for each in document["checks"] if each["name"] == "value")
    # Held one against the other the first is the candidate.
    first, second = (each.values.sum(axis=1) for each in (one, two))
    difference = (first - second + value["found"] * second) / second.mean()
    assert value["deviation"] == pytest.approx(difference.std(ddof=1))


def test_of_several_trainings_it_is_what_their_gates_see(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainings = [moved(0.1, seed) for seed in range(1, 5)]
    mean_of(trainings).save("b.yaml")
    told, document = planned(capsys, "--fall", "0.3")
    assert document["trainings"] == 4 and "Each of its 4 trainings" in told
    gates = [
        compare(one, mean_of([each for each in trainings if each is not one])) for one in trainings
    ]
    for planned_check in document["checks"]:
        seen = sorted(
            check.detectable
            for gate in gates
            for check in gate.checks
            if check.name == planned_check["name"]
        )
        assert planned_check["found"] == pytest.approx(seen[2])
        assert planned_check["images"] is None and planned_check["fall"] == 0.3
    # What is left of a limit where trainings are compared (compare/recipes.py).
    upper = next(each for each in document["checks"] if each["name"] == "upper")
    assert upper["allowed"] == pytest.approx(0.02 * 0.05)
    assert main(["plan", "b.yaml", "--images", "100"]) == 2
    assert "not mended by images" in capsys.readouterr().err
    assert main(["plan", "b.yaml", "--power", "0.8"]) == 2
    assert "known with 99% probability" in capsys.readouterr().err


def test_what_is_allowed_is_never_found(capsys: pytest.CaptureFixture[str]) -> None:
    BEFORE.save("b.yaml")
    told, document = planned(capsys, "--fall", "0.05", "--max-src-drop", "none")
    found = {each["name"]: each for each in document["checks"]}
    assert "src" not in found and found["value"]["images"] is None
    assert "never: what is allowed is never drift" in told


def answers(hits: np.ndarray[Any, Any]) -> Measurement:
    """Answers to the images of ``BEFORE`` as they are, right where ``hits`` (K,) are 1."""
    from pytest_iaside.measure.quantities import answer_quantities

    quantities = answer_quantities(())
    values = np.zeros((IMAGES, len(quantities)))
    values[:, 0] = hits
    return Measurement(
        kind="answers",
        quantities=quantities,
        values=values,
        digests=BEFORE.digests,
        names=BEFORE.names,
        labels=BEFORE.labels,
        settings={"panel": ()},
        reference=BEFORE.reference,
        model=BEFORE.model,
        forward_passes=IMAGES,
    )


def test_hits_are_counted_by_the_binomial_law() -> None:
    hits = np.ones(IMAGES)
    before = replace(BEFORE, answers=answers(hits))
    found = plan(before, Thresholds()).check("clean accuracy")
    assert found is not None and found.won == 0 and found.blind
    assert found.found == pytest.approx(smallest_share(IMAGES, 0.02, 0.95))
    assert found.images == images_for_share(0.04, 0.02, 0.95)
    # Half of them right: differences that vary by a quarter, as the hits do.
    hits[:20] = 0
    found = plan(replace(before, answers=answers(hits)), Thresholds()).check("clean accuracy")
    assert found is not None
    assert found.won == pytest.approx((0.25 + 0.02**2 - 0.02) / 2)
    # Of a pair those that turned both ways count.
    turned = hits.copy()
    turned[[0, 1, 20, 21, 22]] = 1 - turned[[0, 1, 20, 21, 22]]
    after, half = (replace(BEFORE, answers=answers(each)) for each in (turned, hits))
    found = plan(half, Thresholds(), candidate=after).check("clean accuracy")
    assert found is not None and found.won == pytest.approx(2 / IMAGES)


def test_what_cannot_be_planned_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    BEFORE.save("b.yaml")
    assert main(["plan", "b.yaml", "--power", "1.2"]) == 2
    assert "--power=1.2 must be" in capsys.readouterr().err
    assert main(["plan", "b.yaml", "--fall", "-1"]) == 2
    assert "--fall=-1 must be" in capsys.readouterr().err


def test_percent_and_more_images_than_there_are_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    BEFORE.save("b.yaml")
    for option, told in (("--fall=5", "write 0.05 for 5 %"), ("--images=1000000000", "10,000,000")):
        assert main(["plan", "b.yaml", option]) == 2
        assert told in capsys.readouterr().err


def test_many_images_are_planned_by_a_law() -> None:
    several = mean_of([BEFORE, moved(0.1, 1)])
    found = plan(several, images=1_000_000).check("value")
    assert found is not None
    assert found.found == pytest.approx(smallest_fall(found.deviation, 1_000_000, 0.2, 0.95))


def test_a_level_near_one_is_planned_in_seconds() -> None:
    found = plan(mean_of([BEFORE, moved(0.1)]), level=0.999999).check("value")
    assert found is not None
    assert found.images > 4


def test_no_share_falls_by_more_than_all() -> None:
    several = mean_of([BEFORE, moved(0.5, 1)])
    found = plan(several, images=2)
    for name in ("src", "sid"):
        check = found.check(name)
        assert check is not None
        assert check.found == np.inf


def test_a_baseline_that_tells_nothing_is_not_planned_by(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_profile(np.zeros(8), noise=1e-9).save("b.yaml")
    assert main(["plan", "b.yaml"]) == 2
    assert "shows nothing to plan by" in capsys.readouterr().err

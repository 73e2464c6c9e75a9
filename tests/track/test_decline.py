"""The trend over checkpoints: closed forms, what intervals promise, verdicts, and refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import TRAINED, make_profile
from scipy import stats

from pytest_iaside import Thresholds, compare
from pytest_iaside.errors import BaselineError, SettingsError, UndecidedWarning
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import rightness
from pytest_iaside.measure.quantities import ANSWERS, answer_quantities
from pytest_iaside.stats.intervals import leave_one_out
from pytest_iaside.stats.score import sid, signed_src
from pytest_iaside.stats.sid_intervals import certain, contrast_interval
from pytest_iaside.track.history import History, Point
from pytest_iaside.track.trend import assert_no_robustness_decline, trend_of

# As TRAINED, but with one band that is the least beyond doubt.
CLEAR = np.array([4.75, 1.47, 0.50, 0.20, 0.16, -0.05, -0.90, -0.23])
FALLING = np.array([-0.6, 0, 0, 0, 0, 0.2, 0, 0.2])


def checkpoint(step: int, psi: Sequence[float] = CLEAR, **changes: Any) -> Point:
    # Seeded alike: what images have in common is the same in every checkpoint.
    own = np.random.default_rng(1000 + step).normal(scale=0.02, size=(60, len(psi)))
    image_psi = make_profile(psi, images=60, noise=0.5).image_psi + own - own.mean(axis=0)
    point = {name: changes.pop(name) for name in ("run", "name") if name in changes}
    profile = make_profile(image_psi=image_psi, **changes)
    return Point(step=step, profile=profile, **{"name": f"epoch{step}.pt", **point})


def falling(steps: Sequence[int] = range(5), by: float = 1.0) -> list[Point]:
    span = steps[-1] - steps[0]
    return [checkpoint(s, CLEAR + FALLING * by * (s - steps[0]) / span) for s in steps]


def score(psi: np.ndarray, at: np.ndarray) -> np.ndarray:
    return signed_src(sid(psi, at))


class TestTheLine:
    @pytest.mark.parametrize(
        "steps", [[0, 1, 2, 3, 4], [3, 10], [0, 1, 2, 50], [10**12, 10**12 + 7]]
    )
    def test_is_least_squares_against_the_steps(self, steps: list[int]) -> None:
        points = falling(steps)
        line = stats.linregress(
            [step - steps[0] for step in steps], [point.profile.signed_src for point in points]
        )
        check = trend_of(points).checks[0]
        assert check.name == "src"
        assert check.baseline == pytest.approx(line.intercept)
        assert check.candidate == pytest.approx(
            line.intercept + line.slope * (steps[-1] - steps[0])
        )
        assert check.change == pytest.approx(line.slope * (steps[-1] - steps[0]))

    def test_and_so_is_that_of_v_all(self) -> None:
        points = falling([1, 2, 5])
        line = stats.linregress([1, 2, 5], [point.profile.psi.sum() for point in points])
        check = trend_of(points).checks[1]
        assert check.name == "value"
        assert check.baseline == pytest.approx(line.intercept + line.slope)
        assert check.change == pytest.approx(4 * line.slope / (line.intercept + line.slope))

    def test_and_those_of_the_bands(self) -> None:
        points = falling([0, 2, 3, 9])
        for band in trend_of(points).bands:
            values = [point.profile.psi[band.index] for point in points]
            slope = stats.linregress([0, 2, 3, 9], values).slope
            assert band.change == pytest.approx(9 * slope)
            assert band.moved == (band.index in (0, 5, 7))

    def test_interval_counts_images_and_how_far_checkpoints_lie_off_the_line(self) -> None:
        points = falling()
        assert all(certain(point.profile.image_psi) for point in points)
        fitted = []
        for left_out in zip(*(leave_one_out(p.profile.image_psi) for p in points), strict=True):
            fitted.append(4 * stats.linregress(range(5), signed_src(sid(left_out))).slope)
        error = np.sqrt(59 / 60 * ((fitted - np.mean(fitted)) ** 2).sum())
        check = trend_of(points, level=0.9).checks[0]
        scores = [point.profile.signed_src for point in points]
        off = stats.linregress(range(5), scores)
        of_images = stats.t.ppf(0.95, 59) * error
        of_training = stats.t.ppf(0.95, 3) * 4 * off.stderr
        reach = np.hypot(of_images, of_training)
        assert check.low == pytest.approx(check.change - reach)
        assert check.high == pytest.approx(check.change + reach)

    @pytest.mark.parametrize("psi", [CLEAR, TRAINED, TRAINED - 0.1], ids=["clear", "doubt", "low"])
    def test_two_checkpoints_are_held_against_each_other_as_by_a_gate(
        self, psi: Sequence[float]
    ) -> None:
        before, after = checkpoint(3, psi), checkpoint(8, psi + FALLING)
        off = dict.fromkeys(("max_sid_shift", "max_band_drop", "max_upper_band_change"))
        thresholds = Thresholds(**off, max_value_drop=0.05)
        gate = compare(after.profile, before.profile, thresholds)
        trend = trend_of([before, after])
        for ours, theirs in zip(trend.checks, gate.checks[1:], strict=True):
            assert (ours.name, ours.verdict, ours.limit) == (
                theirs.name,
                theirs.verdict,
                theirs.limit,
            )
            for what in ("baseline", "candidate", "change", "low", "high"):
                assert getattr(ours, what) == pytest.approx(getattr(theirs, what))

    def test_does_not_depend_on_the_order_of_points_or_images(self) -> None:
        points = falling()
        mixed = np.random.default_rng(0).permutation(60)
        shuffled = [
            replace(p, profile=p.profile.take(mixed) if i % 2 else p.profile)
            for i, p in enumerate(points)
        ]
        assert repr(trend_of(shuffled[::-1]).checks) == repr(trend_of(points).checks)

    def test_images_that_not_all_have_are_left_out(self) -> None:
        points = falling()
        fewer = [replace(points[0], profile=points[0].profile.first(40)), *points[1:]]
        all_fewer = [replace(point, profile=point.profile.first(40)) for point in points]
        trend = trend_of(fewer)
        assert trend.images == 40
        assert repr(trend.checks) == repr(trend_of(all_fewer).checks)


class TestInDoubt:
    """Where several bands may be the least, and the score is not smooth."""

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 10**6), st.integers(2, 6))
    def test_checkpoints_that_do_not_differ_have_no_trend(self, seed: int, count: int) -> None:
        rows = make_profile(TRAINED, images=40, noise=0.4, seed=seed).image_psi
        assert not certain(rows)
        steps = np.arange(count) - (count - 1) / 2
        low, high = contrast_interval([rows] * count, list(steps), score, 0.95)
        assert (float(low), float(high)) == pytest.approx((0, 0), abs=1e-12)

    def test_the_interval_covers_at_least_as_often_as_it_says(self) -> None:
        generator = np.random.default_rng(0)
        weights = [-0.8, -0.4, 0.0, 0.4, 0.8]
        means = [TRAINED + 0.1 * FALLING * place for place in range(5)]
        truth = sum(w * score(m, m.min(keepdims=True)) for w, m in zip(weights, means, strict=True))
        held = 0
        for _ in range(60):
            common = 0.6 * generator.normal(size=(40, 8))
            points = [m + common + 0.1 * generator.normal(size=(40, 8)) for m in means]
            low, high = contrast_interval(points, weights, score, 0.8)
            held += bool(low <= truth <= high)
        assert held >= 0.8 * 60

    @pytest.mark.parametrize("count", [2, 3, 4])
    def test_turned_round_the_sign_flips_and_nothing_else(self, count: int) -> None:
        points = [
            checkpoint(s, TRAINED + 0.1 * s * FALLING).profile.image_psi for s in range(count)
        ]
        weights = list(np.arange(count) - (count - 1) / 2)
        low, high = contrast_interval(points, weights, score, 0.95)
        turned = contrast_interval(points[::-1], weights, score, 0.95)
        assert turned == pytest.approx((-high, -low))

    def test_one_image_bounds_nothing(self) -> None:
        low, high = contrast_interval([CLEAR[None], CLEAR[None]], [-1.0, 1.0], score, 0.95)
        assert (float(low), float(high)) == (-np.inf, np.inf)


class TestVerdicts:
    def test_a_fall_beyond_what_is_allowed_raises(self) -> None:
        points = falling(range(12, 17))
        with pytest.raises(AssertionError) as raised:
            assert_no_robustness_decline(points)
        trend = trend_of(points)
        check = trend.checks[0]
        first, *details = str(raised.value).splitlines()
        assert first == trend.summary()
        assert first.startswith(
            f"SRC fell by {-check.change:.3f} (95% CI {-check.high:.3f}…{-check.low:.3f}) over the "
            "last 5 checkpoints (epoch 12 to 16), allowed 0.020; "
        )
        assert first.endswith("; band 0 (0.00–0.06 cycles/px) −0.60 nats")
        checkpoints = details[details.index("checkpoints:") + 1 :]
        assert checkpoints[0].startswith("  epoch 12: signed SRC +0.")
        assert checkpoints[4].endswith("epoch16.pt")
        assert checkpoints[5:7] == ["", "measured on its own (60 images)"]

    def test_what_is_allowed_passes_and_is_returned(self) -> None:
        trend = assert_no_robustness_decline(falling(by=0.05))
        assert trend.verdict == "pass"
        assert (trend.candidate.names, trend.images) == (falling()[0].profile.names, 60)
        assert "over the last 5 checkpoints (epoch 0 to 4)" in trend.summary()
        assert assert_no_robustness_decline(falling(), max_src_drop=1, max_value_drop=1)

    def test_a_rise_passes_and_reads_like_one(self) -> None:
        trend = assert_no_robustness_decline(falling(by=-1.0))
        assert trend.summary().startswith("SRC rose by 0.0")
        assert "allowed is a fall of 0.020" in trend.summary()

    def test_v_all_alone_may_fall_too_far(self) -> None:
        points = [checkpoint(step, CLEAR * (1 - 0.1 * step)) for step in range(4)]
        with pytest.raises(
            AssertionError, match=r"^v\(all\) fell by 30\.0% \(95% CI .* allowed 5\.0%"
        ):
            assert_no_robustness_decline(points)
        assert assert_no_robustness_decline(points, max_value_drop=None).verdict == "pass"

    def test_only_the_last_count(self) -> None:
        fallen = [checkpoint(s, CLEAR + 1.5 * FALLING) for s in range(5, 9)]
        points = [*falling(range(5), by=1.5), *fallen]
        assert_no_robustness_decline(points, last=4)
        with pytest.raises(AssertionError, match=r"the last 9 checkpoints \(epoch 0 to 8\)"):
            assert_no_robustness_decline(points, last=20)

    def test_fail_on(self) -> None:
        points = falling(by=0.55)
        drop = -trend_of(points).checks[0].change * 0.99
        arguments: dict[str, Any] = {"max_src_drop": drop, "max_value_drop": None}
        with pytest.warns(UndecidedWarning, match="cannot decide at 60 images: SRC fell"):
            assert assert_no_robustness_decline(points, **arguments).verdict == "inconclusive"
        with pytest.raises(AssertionError, match="SRC fell"):
            assert_no_robustness_decline(points, **arguments, fail_on="inconclusive")
        same = [checkpoint(0), replace(checkpoint(0), step=1)]
        assert not assert_no_robustness_decline(same, fail_on="any-change").changed
        with pytest.raises(AssertionError):
            assert_no_robustness_decline(falling(by=0.05), fail_on="any-change")

    def test_predicted_labels_are_said(self) -> None:
        trend = trend_of([checkpoint(s, labels="predicted") for s in (0, 1)])
        few, predicted = trend.notes
        assert few.startswith("2 checkpoints do not tell how far training moves a model")
        assert predicted == (
            "the reference sample has no labels: each checkpoint is scored on its own predictions"
        )


class TestHistories:
    def test_a_history_and_its_path_are_as_good_as_points(self, tmp_path: Path) -> None:
        history = History(tmp_path / "h.sqlite")
        for point in reversed(falling()):
            history.add(point)
        for given_as in (history, str(history.path), history.path):
            with pytest.raises(AssertionError, match="SRC fell by"):
                assert_no_robustness_decline(given_as)

    def test_one_of_several_runs_is_to_be_named(self, tmp_path: Path) -> None:
        history = History(tmp_path / "h.sqlite")
        for step in range(3):
            history.add(checkpoint(step, run="a"))
            history.add(checkpoint(step, CLEAR + FALLING * step, run="b"))
        with pytest.raises(SettingsError, match=r"are of 2 runs: a, b; say which with run="):
            assert_no_robustness_decline(history)
        with pytest.raises(SettingsError, match=r"there is no run 'c' in .* only a, b"):
            assert_no_robustness_decline(history, run="c")
        assert assert_no_robustness_decline(history, run="a").verdict == "pass"
        with pytest.raises(AssertionError):
            assert_no_robustness_decline(history, run="b")

    def test_a_history_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(BaselineError, match=r"there is no history at .*; measure checkpoints"):
            assert_no_robustness_decline(tmp_path / "h.sqlite")

    @pytest.mark.parametrize("given_as", [3, [1, 2], None])
    def test_what_is_no_history_is_named(self, given_as: Any) -> None:
        with pytest.raises(SettingsError, match=r"the history is a \w+; expected a History, its"):
            assert_no_robustness_decline(given_as)


class TestRefusals:
    @pytest.mark.parametrize(
        ("points", "message"),
        [
            ([], "needs at least 2 checkpoints, there are 0"),
            ([checkpoint(0)], "needs at least 2 checkpoints, there are 1"),
            ([checkpoint(3), checkpoint(3)], "two checkpoints have epoch 3"),
            (
                [checkpoint(0, rules=Rules(bands=8, absence="gaussian")), checkpoint(1)],
                r"1 of 2 .* epoch 0 \(epoch0\.pt\): absence: this one 'gaussian', the last one "
                "'zero'",
            ),
            (
                [checkpoint(0), checkpoint(1, size=32)],
                r"reference sample: this one 60 images \(ffffffff\), the last one",
            ),
            (
                [checkpoint(0), checkpoint(1, information=0.0)],
                r"1 of 2 checkpoints are unstructured.*epoch 1 \(epoch1\.pt\): an image tells",
            ),
            (
                [
                    replace(checkpoint(0), profile=checkpoint(0).profile.take(range(30))),
                    replace(checkpoint(1), profile=checkpoint(1).profile.take(range(30, 60))),
                ],
                "have 0 measured images in common, at least 2 are needed",
            ),
        ],
    )
    def test_what_has_no_trend(self, points: list[Point], message: str) -> None:
        with pytest.raises(BaselineError, match=message):
            assert_no_robustness_decline(points)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"last": 1}, "last=1 must be a whole number of at least 2"),
            ({"last": 2.0}, r"last=2\.0 must be a whole number"),
            ({"max_src_drop": -0.1}, r"max_src_drop=-0\.1 must be finite and not negative"),
            ({"max_value_drop": "5%"}, "max_value_drop='5%' must be a number or None"),
            ({"max_src_drop": None, "max_value_drop": None}, "so nothing would be checked"),
            ({"level": 95}, "level=95 must lie between 0 and 1: write 0.95 for 95 %"),
            ({"max_value_drop": 5}, r"max_value_drop=5 is a share of v\(all\): write 0.05 for 5 %"),
            ({"max_src_drop": 2}, "is a part of the signed SRC, .*: write 0.02 for 2 %"),
            ({"fail_on": "never"}, "fail_on='never' is unknown; use one of drift"),
        ],
    )
    def test_wrong_arguments(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            assert_no_robustness_decline(falling(), **arguments)


@pytest.mark.parametrize("plugin", [["-p", "no:iaside"], []])
def test_in_a_test_it_is_an_assertion_as_any(pytester: pytest.Pytester, plugin: list[str]) -> None:
    history = History(pytester.path / "h.sqlite")
    for point in falling():
        history.add(point)
    pytester.makepyfile(
        """
        from pytest_iaside.track.trend import assert_no_robustness_decline
        def test_training_keeps_robustness():
            assert_no_robustness_decline("h.sqlite")
        """
    )
    result = pytester.runpytest_inprocess(*plugin)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E * AssertionError: SRC fell by 0.0* over the last 5 checkpoints*"]
    )
    assert "contrast_interval" not in result.stdout.str()


class TestAnswers:
    """A run whose bands stay as they are while its answers get worse (SPEC.md 12)."""

    def points(self, *, wrong: float, labels: str = "dataset") -> list[Point]:
        """Checkpoints that answer ever more images wrongly, ``wrong`` of them at the last."""
        found = []
        for step in range(5):
            count = round(wrong * step / 4 * 40)
            psi = make_profile(labels=labels)
            right = np.arange(40) >= count
            log_probabilities = np.log(np.full((40, 10), 0.01))
            log_probabilities[np.arange(40), (psi.labels + ~right) % 10] = np.log(0.91)
            values = rightness([log_probabilities], psi.labels)
            answers = Measurement(
                kind=ANSWERS,
                quantities=answer_quantities(()),
                values=values,
                digests=psi.digests,
                names=psi.names,
                labels=psi.labels,
                settings={"panel": []},
                reference=psi.reference,
                model=replace(psi.model, classes=10),
                forward_passes=40,
            )
            profile = replace(psi, answers=answers)
            found.append(Point(step=step, name=f"epoch{step}.pt", profile=profile))
        return found

    def test_accuracy_that_falls_is_red(self) -> None:
        found = trend_of(self.points(wrong=0.5))
        assert found.verdict == "drift"
        verdicts = {check.name: check for check in found.checks}
        assert verdicts["clean accuracy"].verdict == "drift"
        # The line through 0, 5, 10, 15 and 20 of 40 wrong answers.
        assert verdicts["clean accuracy"].change == pytest.approx(-0.5)
        assert verdicts["src"].verdict == "pass"
        assert "over the last 5 checkpoints (epoch 0 to 4)" in found.summary()
        assert [each.name for each in found.answers][:1] == ["accuracy, clean"]
        with pytest.raises(AssertionError, match="accuracy, clean"):
            assert_no_robustness_decline(self.points(wrong=0.5))

    def test_answers_that_stay_pass(self) -> None:
        assert trend_of(self.points(wrong=0.0)).verdict == "pass"

    def test_each_limit_can_be_left_out(self) -> None:
        off = dict.fromkeys(
            ("max_accuracy_drop", "max_log_likelihood_drop", "max_probability_drop")
        )
        found = trend_of(self.points(wrong=0.5), **off)
        assert {check.name for check in found.checks} == {"src", "value"}

    def test_predicted_labels_have_no_accuracy(self) -> None:
        found = trend_of(self.points(wrong=0.5, labels="predicted"))
        assert {check.name for check in found.checks} == {"src", "value"}

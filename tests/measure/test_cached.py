"""What measure() takes from the cache, and what it measures anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import Classifier, ReferenceSample, compare, measure
from pytest_iaside.execute import spreading
from pytest_iaside.execute.execution import gathered
from pytest_iaside.measure.game import replay
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.spectral import Progress
from pytest_iaside.store.cache import ResultCache

SIDE, BANDS, CLASSES = 12, 3, 5
GAME = 2**BANDS + 1  # Passes for an image: its coalitions, and itself.
PROBE = 1  # Pass of every measurement that runs the network: how many operations it takes.

seen: list[int] = []  # No constant: those are part of what a model is.


def count(batch: int) -> None:
    seen.append(batch)


class Counted(nn.Module):
    """Knows its input apart, and tells how much of it there was."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 5))

    def forward(self, x: Tensor) -> Tensor:
        count(len(x))
        found: Tensor = self.layers(x)
        return found


def sample(images: int = 6, *, start: int = 0, **settings: Any) -> ReferenceSample:
    pictures = torch.rand(20, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return ReferenceSample(pictures[start : start + images], **settings)


@pytest.fixture(autouse=True)
def few_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a large game: of a small one all is replayed. Whether it is steady is tested apart."""
    monkeypatch.setattr(replay, "LEAST", 1)
    monkeypatch.setattr(spreading, "check_answers", lambda *of: None)


def played(model: Any = None, reference: ReferenceSample | None = None, **settings: Any) -> Any:
    """A profile, and how many passes of the network it took beside those that were replayed."""
    seen.clear()
    settings = gathered({"bands": BANDS, "cache": True, "device": "cpu", **settings})
    profile = measure(Counted() if model is None else model, reference or sample(), **settings)
    replayed = profile.passes_replayed
    passes = sum(seen) - replayed - (PROBE if replayed else 0)
    return profile, passes - PROBE if passes else 0


def same(one: SpectralProfile, other: SpectralProfile) -> bool:
    return (
        np.array_equal(one.image_psi, other.image_psi)
        and np.array_equal(one.by_size, other.by_size)
        and np.array_equal(one.information, other.information)
        and np.array_equal(one.labels, other.labels)
        and one.digests == other.digests
        and (one.log_likelihood is None) == (other.log_likelihood is None)
    )


def test_the_same_again_takes_no_pass() -> None:
    first, passes = played()
    assert passes == first.forward_passes == 6 * GAME
    assert first.passes_from_cache == first.passes_replayed == 0
    again, passes = played()
    assert passes == 0
    # Of one image of every class, itself and a coalition.
    assert again.passes_replayed == 2 * len(set(first.labels.tolist()))
    assert again.forward_passes == again.passes_from_cache == 6 * GAME
    assert same(first, again)
    assert again.not_cached_because == first.not_cached_because == ""
    assert again.environment == first.environment
    assert played(cache=False)[1] == 6 * GAME


@pytest.mark.parametrize("moved", [0.0, 0.1])
def test_what_was_answered_again_is_compared_and_not_run_once_more(moved: float) -> None:
    first, _ = played()
    logits = Counted()(sample().pixels()).detach().double().numpy()
    logits[:, 0] += moved
    again, _ = played(again=dict(zip(sample().digests, logits, strict=True)))
    if moved:
        assert again.passes_from_cache == 0
        assert "not its answers" in again.notes[0]
    else:
        # Of one image of every class a coalition.
        assert again.passes_replayed == len(set(first.labels.tolist()))


def test_answers_to_a_part_of_the_images_do_not_stand_for_the_rest() -> None:
    first, _ = played()
    logits = Counted()(sample().pixels()).detach().double().numpy()
    again, _ = played(again={sample().digests[0]: logits[0]})
    classes = len(set(first.labels.tolist()))
    # Only where that one image is all that is drawn.
    assert again.passes_replayed == (1 if classes == 1 else 2 * classes)


def test_measure_keeps_nothing_unless_it_is_told_to(cache_folder: Path) -> None:
    measure(Counted(), sample(), bands=BANDS)
    assert list(cache_folder.iterdir()) == []


def test_a_larger_sample_takes_the_rows_of_a_smaller_one() -> None:
    played(reference=sample(3))
    larger, passes = played()
    assert passes == 3 * GAME
    assert (larger.forward_passes, larger.passes_from_cache) == (6 * GAME, 3 * GAME)
    assert same(larger, played(cache=False)[0])
    # In any order, with any others between.
    mixed = sample(8).take([7, 4, 6, 0, 5])
    profile, passes = played(reference=mixed)
    assert passes == 2 * GAME
    assert same(profile, played(reference=mixed, cache=False)[0])


def test_labels_count() -> None:
    first, _ = played()
    # Those that it predicted are the same game; others are not.
    assert played(reference=sample(labels=first.labels.tolist()))[1] == 0
    assert played(labels_from=first)[1] == 0
    others = (first.labels + 1) % CLASSES
    profile, passes = played(reference=sample(labels=others.tolist()))
    assert passes == 6 * GAME
    assert profile.labels.tolist() == others.tolist()
    soft = torch.full((6, CLASSES), 1 / CLASSES)
    assert played(reference=sample(labels=soft))[1] == 6 * GAME
    assert played(reference=sample(labels=soft))[1] == 0
    soft[2] = torch.eye(CLASSES)[0]
    assert played(reference=sample(labels=soft))[1] == GAME
    # A game with given labels says what is predicted only where that is the label.
    assert played(Counted(1), sample(labels=[0] * 6))[1] == 6 * GAME
    predicted, passes = played(Counted(1))
    assert passes == GAME * int((predicted.labels != 0).sum())


@pytest.mark.parametrize(
    "settings",
    [
        {"bands": 2},
        {"partition": "l2"},
        {"absence": "gaussian"},
        {"absence": "replacement"},
        {"space": "pixel"},
        {"design": "latin"},
        {"dtype": "bfloat16"},
        {"seed": 1},
        {"backend": "eager"},
    ],
)
def test_other_settings_are_another_game(settings: dict[str, Any]) -> None:
    played()
    _, passes = played(**settings)
    assert passes > 0
    profile, passes = played(**settings)
    assert passes == 0
    assert same(profile, played(**settings, cache=False)[0])


def test_another_model_is_another_game() -> None:
    played()
    assert played(Counted(1))[1] == 6 * GAME
    assert played(Classifier(Counted(), mean=0.5, std=0.5))[1] == 6 * GAME
    model = Counted()
    model.layers[3].bias.data[0] += 1e-4
    assert played(model)[1] == 6 * GAME


def test_a_replacement_belongs_to_the_row() -> None:
    """Bands of another image come from the reference sample: a larger one may hold another."""
    few, more = sample(4), sample(8)
    played(reference=few, absence="replacement")
    found, passes = played(reference=more, absence="replacement")
    assert same(found, played(reference=more, absence="replacement", cache=False)[0])
    assert 4 * GAME <= passes <= 8 * GAME
    assert passes == found.forward_passes - found.passes_from_cache


def test_how_it_is_run_changes_nothing() -> None:
    played(batch_size=3)
    assert played(batch_size=5)[1] == 0
    with ThreadPoolExecutor(2) as executor:
        # A worker counts on a copy of its own.
        profile, _ = played(executor=executor, reference=sample(12))
        assert profile.forward_passes - profile.passes_from_cache == 6 * GAME
        assert played(executor=executor, reference=sample(12))[1] == 0
    # Another batch may give other last digits: which, depends on the processor.
    again, _ = played(reference=sample(12), cache=False)
    np.testing.assert_allclose(profile.image_psi, again.image_psi, rtol=0, atol=1e-6)


def test_an_interrupted_measurement_goes_on_where_it_was() -> None:
    def interrupt(progress: Progress) -> None:
        if progress.images_done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        played(progress=interrupt, batch_size=GAME - 1)
    profile, passes = played(batch_size=GAME - 1)
    assert 0 < passes <= 2 * GAME + GAME
    assert same(profile, played(cache=False, batch_size=GAME - 1)[0])


def test_stopping_early_keeps_what_was_found() -> None:
    def stop(profile: SpectralProfile) -> int | None:
        return 3 if len(profile) >= 3 else None

    first, _ = played(until=stop, batch_size=GAME - 1)
    again, passes = played(until=stop)
    assert passes == 0
    assert len(first) == len(again) == 3
    assert again.passes_from_cache == 3 * GAME


def test_progress_counts_the_passes_that_were_run() -> None:
    played(reference=sample(3))
    told: list[Progress] = []
    played(progress=told.append, batch_size=GAME - 1)
    assert [p.images_done for p in told] == list(range(1, 7))
    assert [p.forward_passes for p in told] == [0, 0, 0, GAME, 2 * GAME, 3 * GAME]


def test_functions_are_kept_only_under_a_version(cache_folder: Path) -> None:
    def function(x: Tensor) -> Tensor:
        count(len(x))
        return x.mean((2, 3))

    for _ in range(2):
        profile, _ = played(function)
        assert profile.not_cached_because.startswith("it has no weights that could tell it from")
        assert profile.passes_from_cache == 0
    assert not ResultCache(cache_folder).path.exists()
    for version, kept in (("1", 0), ("1", 6 * GAME), ("2", 0)):
        seen.clear()
        profile = measure(Classifier(function, version=version), sample(), bands=3, cache=True)
        assert profile.passes_from_cache == kept
        assert sum(seen) == 6 * GAME - kept + profile.passes_replayed


@pytest.mark.parametrize("labels", [None, [0, 1, 2, 3, 4, 0]])
def test_rows_of_a_model_that_answers_otherwise_by_now_are_thrown_away(
    labels: list[int] | None, cache_folder: Path
) -> None:
    reference = sample(labels=labels)
    before, _ = played(reference=reference)
    model = Counted()
    model.register_forward_hook(lambda module, given, logits: logits * 1.1)
    found, _ = played(model, reference)
    assert found.passes_from_cache == 0
    (note,) = found.notes
    assert note.startswith("the model has the weights of an earlier run but not its answers (image")
    assert same(found, played(model, reference, cache=False)[0])
    # What it answers now is kept instead, and so holds for the next run.
    again, passes = played(model, reference)
    assert (passes, again.passes_from_cache) == (0, 6 * GAME)
    assert again.notes == ()
    note = f"cached, {again.passes_replayed} of {6 * GAME} passes replayed"
    assert note in compare(again, before).notes
    assert same(again, found) and not same(again, before)


@pytest.mark.parametrize("design", ["exact", "latin", "permutation"])
@pytest.mark.parametrize("absence", ["zero", "gaussian", "replacement"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_replayed_agrees_where_nothing_changed(
    design: str, absence: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "LEAST", 200)
    settings = {"design": design, "absence": absence, "dtype": dtype, "bands": 4}
    found, _ = played(**settings, batch_size=3)
    again, passes = played(**settings, batch_size=64)
    assert (passes, again.passes_from_cache) == (0, found.forward_passes)
    assert again.passes_replayed == found.forward_passes  # So few are all played again.


@pytest.mark.parametrize(("images", "passes"), [(6, 54), (50, 100)])
def test_at_least_64_passes_are_replayed(
    images: int, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "LEAST", 64)
    pictures = torch.rand(images, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    reference = ReferenceSample(pictures)
    played(reference=reference)
    assert played(reference=reference)[0].passes_replayed == passes


def test_a_folder_that_cannot_be_used_costs_nothing_but_the_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(tmp_path / "file"))
    for _ in range(2):
        profile, passes = played()
        assert passes == 6 * GAME
        assert profile.not_cached_because

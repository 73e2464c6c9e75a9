"""What a gate looks at: where it has to look again, and what it says of what it was given."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import ReferenceSample, assert_spectral_robustness, measure
from pytest_iaside.errors import BaselineError, UndecidedWarning
from pytest_iaside.measure.profile import SpectralProfile

WAVES = torch.stack([torch.cos(2 * torch.pi * k * torch.arange(16) / 16) for k in (1, 3, 7)])
ANSWERS, ENDS, ARCS, ALL = 24 * 6, 16, 32, 64
UNLIMITED: dict[str, Any] = {
    "max_accuracy_drop": None,
    "max_log_likelihood_drop": None,
    "max_probability_drop": None,
}


def sample(groups: list[str] | None = None, order: list[int] | None = None) -> ReferenceSample:
    labels = torch.arange(24) % 3
    images = 0.5 + 0.2 * WAVES[labels][:, None, None, :].expand(24, 1, 16, 16)
    noise = 0.05 * torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    rows = list(range(24)) if order is None else order
    return ReferenceSample((images + noise).clamp(0, 1)[rows], labels[rows], groups=groups)


class Net(nn.Module):
    """Finds the wave of each class, that of the second as well as ``gain`` says."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.waves = nn.Parameter(WAVES * torch.tensor([2.0, 2.0 * gain, 2.0])[:, None])

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(1, 2)) @ self.waves.T


class Edited(Net):
    """Weights stay; its code is now bad with little contrast, now with less than an image."""

    code = ""

    def forward(self, images: Tensor) -> Tensor:
        answers = super().forward(images)
        flat = images.std(dim=(1, 2, 3)) < 0.08
        picture = images.amin(dim=(1, 2, 3)) >= 0
        bad = {"contrast": flat & picture, "bands": ~picture}.get(self.code, flat & ~flat)
        return torch.where(bad[:, None], -answers, answers)


class First(np.random.Generator):
    """Draws the first of several whenever it is asked for one of them."""

    def integers(self, low: Any, high: Any = None, size: Any = None, **more: Any) -> Any:
        return np.full(size, low)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(tmp_path / "cache"))
    yield
    Edited.code = ""


def gate(model: Any, images: ReferenceSample, baseline: Any, **settings: Any) -> Any:
    """Call the assertion where no test is known to run."""
    settings = {"bands": 6, "cache": False, **settings}
    return contextvars.Context().run(
        assert_spectral_robustness, model, images, baseline=baseline, **settings
    )


def profile(model: Any, images: ReferenceSample, **settings: Any) -> SpectralProfile:
    return measure(model, images, panel="auto", **{"bands": 6, **settings})


def test_kept_answers_that_are_the_models_no_longer_decide_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Red by answers of before, of which none was played again: the game finds out."""
    images = sample()
    baseline = profile(Edited(), images)
    Edited.code = "contrast"
    with pytest.raises(AssertionError, match="contrast"):
        gate(Edited(), images, baseline, cache=True)
    Edited.code = "bands"
    monkeypatch.setattr(np.random, "default_rng", lambda seed=3: First(np.random.PCG64(seed)))
    with pytest.raises(AssertionError) as raised:
        gate(Edited(), images, baseline, cache=True)
    told = " ".join(str(raised.value).split())
    assert "the answers to all" not in told
    assert "the model has the weights of an earlier run but not its answers" in told
    with pytest.raises(AssertionError) as whole:
        gate(Edited(), images, baseline, budget="everything")
    assert str(whole.value).splitlines()[0] == str(raised.value).splitlines()[0]


@pytest.mark.parametrize("gain", [1.0, -1.0])
def test_without_an_image_in_common_it_is_said_so(gain: float) -> None:
    baseline = profile(Net(), sample(), samples=10)
    other = sample(order=[*range(12, 24), *range(12)])
    with pytest.raises(BaselineError, match="have no image in common; make a new baseline"):
        gate(Net(gain), other, baseline, samples=10)


def test_exact_copies_are_played_once_of_a_model_that_answers_worse() -> None:
    images = sample(order=[*range(12), *range(12)])
    baseline = profile(Net(), images)
    with pytest.raises(AssertionError) as raised:
        gate(Net(-1.0), images, baseline)
    told = " ".join(str(raised.value).split())
    assert "the answers to all 12 images decide" in told
    assert "of the 12 images that moved most" in told
    assert "copies" not in told.partition("note: the answers")[2].partition("note:")[0]


def test_a_budget_does_not_make_a_gate_red() -> None:
    """Of two groups nothing can be told, whichever model it is."""
    images = sample([f"group {i // 4}" for i in range(24)])
    baseline = profile(Net(), images)
    assert gate(Net(), images, baseline, **UNLIMITED).verdict == "pass"
    with pytest.warns(UndecidedWarning, match="cannot decide at 8 images in 2 groups"):
        found = gate(Net(), images, baseline, budget=1, **UNLIMITED)
    assert (found.verdict, found.images, found.fails()) == ("inconclusive", 8, False)
    assert "leaves out 16 of 24 images" in found.notes[0]
    assert "the 8 images come in 2 groups, of which nothing can be told" in found.notes[1]


def test_a_model_that_sees_nothing_is_red_at_any_budget() -> None:
    """Where the baseline's game of the same images tells something."""
    images, blind = sample(), Net()
    baseline = profile(Net(), images)
    nn.init.zeros_(blind.waves)
    with pytest.raises(AssertionError, match="the candidate is unstructured"):
        gate(blind, images, baseline, budget=ANSWERS + 20 * (ARCS + 1), **UNLIMITED)


def test_of_a_single_group_no_image_is_left_out() -> None:
    """A group is played whole: then all images are, and the rest of their game is left out."""
    images, apart = sample(["one"] * 24), sample([str(i) for i in range(24)])
    baseline = profile(Net(), apart)
    with pytest.raises(AssertionError) as raised:
        gate(Net(0.98), images, baseline, budget=1, **UNLIMITED)
    told = " ".join(str(raised.value).split())
    assert f"leaves out {24 * (ALL - ARCS)} forward passes" in told
    assert "leaves out 0" not in told


@pytest.mark.parametrize("bands", [2, 3])
def test_where_ends_are_all_there_is_none_is_called_left_out(bands: int) -> None:
    images = sample()
    baseline = profile(Net(), images, bands=bands)
    with pytest.raises(AssertionError) as raised:  # Of so few bands nothing can be told.
        gate(Net(), images, baseline, bands=bands)
    assert "unchanged" not in str(raised.value)


def test_any_change_is_looked_for_where_nothing_moved_yet() -> None:
    images = sample()
    baseline = profile(Net(), images)
    found = gate(Net(), images, baseline, fail_on="any-change", **UNLIMITED)
    assert found.candidate.forward_passes == ANSWERS + 24 * ALL
    found = gate(Net(), images, baseline, **UNLIMITED)
    assert found.candidate.forward_passes == ANSWERS + 24 * ENDS


@pytest.mark.parametrize("budget", ["1e306s", "1e305min", 10**400])
def test_a_budget_beyond_all_limits_everything_fits_in(budget: Any) -> None:
    images = sample()
    found = gate(Net(0.98), images, profile(Net(), images), budget=budget, **UNLIMITED)
    assert found.verdict in ("pass", "nothing found")


def test_a_budget_that_limits_nothing_says_so() -> None:
    images = sample()
    latin = profile(Net(), images, design="latin")
    found = gate(Net(), images, latin, design="latin", budget=300, **UNLIMITED)
    assert "the budget of 300 does not apply: the design is 'latin'" in found.notes
    exact = profile(Net(), images)
    found = gate(Net(0.98), images, exact, samples="auto", budget="1s", **UNLIMITED)
    why = "samples='auto' stops where the verdict is decided"
    assert f"the budget of 1s does not apply: {why}" in found.notes
    found = gate(Net(0.98), images, exact, budget=10**6, **UNLIMITED)
    assert "does not apply" not in "".join(found.notes)


def test_a_budget_for_the_ends_knows_an_unchanged_model() -> None:
    images, enough = sample(), ANSWERS + 24 * ENDS
    baseline = profile(Net(), images)
    found = gate(Net(), images, baseline, budget=enough, **UNLIMITED)
    assert (found.verdict, found.candidate.forward_passes) == ("pass", enough)
    with pytest.warns(UndecidedWarning):
        found = gate(Net(), images, baseline, budget=enough - 1, **UNLIMITED)
    count = (24 * ENDS - 1) // ARCS
    assert found.candidate.forward_passes == ANSWERS + count * ARCS


class Masked(Net):
    """Answers as ever, and otherwise where nearly nothing is left of an image."""

    def forward(self, images: Tensor) -> Tensor:
        blank = images.std(dim=(1, 2, 3)) < 1e-3
        return super().forward(images) + blank[:, None] * torch.tensor([2.0, 0.0, 0.0])


def test_ends_that_were_played_count_in_a_budget() -> None:
    images = sample()
    baseline = profile(Net(), images)
    # Of ends and arcs of all images nothing is played twice: both fit in.
    enough = ANSWERS + 24 * ARCS
    with pytest.warns(UndecidedWarning):
        found = gate(Masked(), images, baseline, budget=enough, **UNLIMITED)
    assert (found.images, found.candidate.forward_passes) == (24, enough)
    assert f"leaves out {24 * (ALL - ARCS)} forward passes" in found.notes[0]
    # Of some images they are: what the ends took is gone.
    with pytest.warns(UndecidedWarning):
        found = gate(Masked(), images, baseline, budget=enough - 1, **UNLIMITED)
    some = (24 * ARCS - 1 - 24 * ENDS) // ARCS
    assert found.images == some
    used = 24 * ENDS + some * ARCS
    assert found.candidate.forward_passes == ANSWERS + used <= enough - 1


def test_a_budget_holds_for_few_bands_as_well() -> None:
    """Of five bands orders and arcs are no looks, unless everything is not affordable."""
    images, arcs, order = sample(), 5 * 4 + 2, 2 * 5
    baseline = profile(Net(), images, bands=5)
    for budget, used in ((24 * arcs, 24 * order), (24 * 32 - 1, 24 * order)):
        found = gate(Net(0.98), images, baseline, bands=5, budget=ANSWERS + budget, **UNLIMITED)
        assert found.candidate.forward_passes == ANSWERS + used
    found = gate(Net(0.98), images, baseline, bands=5, budget=ANSWERS + 24 * 32, **UNLIMITED)
    assert found.candidate.forward_passes == ANSWERS + 24 * 32


class Breaking(Net):
    """Fails after so many more images."""

    left = 10**9

    def forward(self, images: Tensor) -> Tensor:
        Breaking.left -= len(images)
        if Breaking.left < 0:
            Breaking.left = 10**9
            raise KeyboardInterrupt
        return super().forward(images)


@pytest.mark.parametrize("look", ["order", "everything"])
def test_an_interrupted_gate_goes_on_where_it_was(look: str) -> None:
    images, limits = sample(), {"max_band_drop": 0.2, **UNLIMITED}
    baseline = profile(Net(), images, bands=8)
    if look == "everything":
        limits |= {"max_band_drop": 1e-5, "max_src_drop": 1e-5}
    order, arcs, every = 2 * 8, 8 * 7 + 2, 2**8

    def gated(**more: Any) -> Any:
        some = {"bands": 8, "backend": "eager", "batch_size": 50, "cache": True, **limits, **more}
        try:
            return gate(Breaking(0.9), images, baseline, **some)
        except AssertionError as error:
            return str(error).splitlines()[0]

    whole = gated(cache=False)
    left = 12 * (order + 1) if look == "order" else 24 * (arcs + 1) + 16 * (every - arcs)
    # What is run to see that answers are steady goes before.
    Breaking.left = 24 * 6 + 12 + left
    with pytest.raises(KeyboardInterrupt):
        gated()
    before = Breaking.left
    found = gated()
    used = before - Breaking.left
    rest = 24 * (order + 1) if look == "order" else 24 * (every + 1)
    if look == "order":
        np.testing.assert_allclose(found.candidate.values, whole.candidate.values, atol=1e-6)
        assert found.candidate.passes_from_cache >= 8 * (order + 1)
    else:
        # Of every other image at most, and what is played again of those that are kept.
        assert used < 2 * rest / 3
        assert found == whole

"""The example's set of models: what differs between its recipes, and that it can be resumed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("mlxtend")
EXAMPLE = Path(__file__).parents[2] / "example_project"


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    from scrapbook import zoo

    return zoo


def test_the_sets_are_what_the_studies_need(zoo) -> None:
    models = zoo.models()
    recipes = {model.recipe for model in models.values()}
    assert (len(models), len(recipes)) == (44, 21)
    assert Counter(model.group for model in models.values()) == {
        "plain": 4,
        "augmented": 14,
        "adversarial": 10,
        "width": 8,
        "wrong labels": 8,
    }
    assert len(zoo.clean_models()) == 36
    noises = Counter(model.noise for model in zoo.label_noise().values())
    assert noises == {0.0: 3, 0.2: 3, 0.4: 3, 0.6: 3, 0.8: 3, 1.0: 3}
    kinds = Counter(model.group for model in zoo.architectures().values())
    assert len(kinds) == 6
    assert set(kinds.values()) == {4}


def test_labels_are_wrong_in_the_share_asked_for_and_never_by_chance_right(zoo) -> None:
    labels = torch.arange(20_000) % 10
    for share in (0.0, 0.2, 0.8, 1.0):
        found = zoo.mislabel(labels, share, torch.Generator().manual_seed(0))
        assert float((found != labels).float().mean()) == pytest.approx(share, abs=0.01)
        assert set(found.tolist()) == set(range(10))


def test_changes_do_to_images_what_they_say(zoo) -> None:
    images = torch.full((50, 1, 28, 28), 0.5)
    generator = torch.Generator().manual_seed(0)
    noisy = zoo.noise(images, generator, deviation=0.1)
    assert float(noisy.std()) == pytest.approx(0.1, abs=0.002)
    empty = zoo.erase(images, generator, pixels=12)
    assert int((empty == 0).sum()) == 50 * 144
    assert float(images.min()) == 0.5  # its argument is as it was
    spot = torch.zeros(2, 1, 28, 28)
    spot[:, :, 14, 14] = 1
    blurred = zoo.blur(spot, generator, deviation=1.0)
    assert float(blurred[0].max()) < 0.2
    assert torch.equal(blurred[1], spot[1])
    moved = zoo.shift(spot, generator, pixels=3).nonzero()[0, 2:] - 14
    assert int(moved.abs().max()) <= 3
    bright = zoo.brighten(torch.full((200, 1, 2, 2), 0.5), generator)
    assert float(bright.min()) >= 0
    assert float(bright.flatten(1).std(dim=0).mean()) > 0.1


def test_every_network_gives_ten_logits(zoo) -> None:
    kinds = {recipe.network for recipe in zoo.RECIPES.values()}
    for kind in kinds:
        assert kind()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_training_is_repeatable_and_a_kept_model_is_loaded(
    zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(zoo.RECIPES["width0.25-1"], epochs=1)
    monkeypatch.setitem(zoo.RECIPES, "width0.25-1", recipe)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    model = zoo.models()["width0.25-1"]
    with pytest.raises(FileNotFoundError, match=r"train it with python -m scrapbook\.zoo"):
        model.model()
    name, right = zoo._train("width0.25-1")
    assert (name, right) == ("width0.25-1", zoo.accuracy(model.model()))
    ((again, _),) = recipe.train()
    for kept, other in zip(model.model().parameters(), again.parameters(), strict=True):
        assert torch.equal(kept, other)
    assert [path.name for path in tmp_path.iterdir()] == ["width0.25-1.pt"]

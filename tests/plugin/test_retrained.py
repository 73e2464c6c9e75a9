"""Several trainings of one recipe: given, added to a baseline, and what a gate makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from project import Project

from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.trainings import trainings_of

# Trainings differ by how well they find each wave.
TEST = """
import models, os, torch
from pytest_iaside import Classifier, assert_spectral_robustness

def training(seed, gain=1.0):
    generator = torch.Generator().manual_seed(seed)
    gains = 2.0 + 0.3 * torch.rand(3, generator=generator)
    gains[1] *= gain
    if str(seed) == os.environ.get("BAD"):
        gains[1] *= 0.1
    def network(images):
        return (images.mean(dim=(1, 2)) @ models.WAVES.T) * gains
    return Classifier(network, name=f"seed {seed}", version=f"{seed} {list(gains)}")

def test_robust():
    seeds = [int(each) for each in os.environ["SEEDS"].split()]
    trainings = [training(seed, float(os.environ["GAIN"])) for seed in seeds]
    assert_spectral_robustness(trainings if len(trainings) > 1 else trainings[0])
"""


@pytest.fixture
def seeds(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    project.pytester.makepyfile(test_it=TEST)
    monkeypatch.setenv("SEEDS", "0 1 2 3 4")
    return project


def trained(project: Project, seeds: str, *options: str, gain: float = 1.0) -> dict:  # type: ignore[type-arg]
    project.monkeypatch.setenv("SEEDS", seeds)
    (record,) = project.records(*options, gain=gain)
    return record  # type: ignore[no-any-return]


def test_a_baseline_holds_each_training(seeds: Project) -> None:
    trained(seeds, "0 1 2 3 4", "--iaside-update=new")
    baseline = SpectralProfile.load(seeds.baseline)
    assert [each.model.name for each in baseline.trainings] == [f"seed {n}" for n in range(5)]
    every = np.array([each.values for each in trainings_of(baseline)])
    assert baseline.values == pytest.approx(every.mean(axis=0))
    assert baseline.model.name == "seed 0 and 4 others (5 trainings)"
    assert "trainings" in seeds.baseline.read_text()


def test_another_training_is_not_red_and_a_worse_one_is(seeds: Project) -> None:
    trained(seeds, "0 1 2 3 4", "--iaside-update=new")
    same = trained(seeds, "7")
    assert not same["failed"]
    assert any("1 training against 5" in note for note in same["comparison"]["notes"])
    checks = same["comparison"]["checks"]
    shares = [each["of_seeds"] for each in checks if each["name"] == "clean log-likelihood"]
    assert 0 <= shares[0] <= 1
    worse = trained(seeds, "7 8 9", gain=0.1)
    assert worse["failed"]
    assert any("3 trainings against 5" in note for note in worse["comparison"]["notes"])


def test_a_training_is_added_to_a_baseline(seeds: Project) -> None:
    trained(seeds, "0", "--iaside-update=new")
    record = trained(seeds, "1", "--iaside-update=add")
    assert record["status"] == "updated"
    assert "it holds 2 trainings now" in record["summary"]
    assert len(SpectralProfile.load(seeds.baseline).trainings) == 2
    trained(seeds, "2 3", "--iaside-update=add")
    assert len(SpectralProfile.load(seeds.baseline).trainings) == 4


def test_one_that_answers_worse_is_added_only_where_that_is_accepted(seeds: Project) -> None:
    trained(seeds, "0", "--iaside-update=new")
    before = seeds.contents()
    record = trained(seeds, "1", "--iaside-update=add", gain=0.1)
    assert record["failed"]
    assert "--iaside-update=add --iaside-accept-drift" in record["accept"]
    assert seeds.contents() == before
    options = ("--iaside-update=add", "--iaside-accept-drift")
    record = trained(seeds, "1", *options, gain=0.1)
    assert record["status"] == "updated"
    assert len(SpectralProfile.load(seeds.baseline).trainings) == 2


def test_a_bad_training_among_good_ones_is_not_added(seeds: Project) -> None:
    trained(seeds, "0 1 2 3 4", "--iaside-update=new")
    before = seeds.contents()
    seeds.monkeypatch.setenv("BAD", "9")
    record = trained(seeds, "7 8 9", "--iaside-update=add")
    assert record["failed"]
    assert any("training 3 of 3 (seed 9)" in note for note in record["comparison"]["notes"])
    assert "--iaside-accept-drift" in record["accept"]
    assert seeds.contents() == before
    record = trained(seeds, "7 8 9", "--iaside-update=add", "--iaside-accept-drift")
    assert record["status"] == "updated"
    assert "overrules drift" in record["summary"]
    assert len(SpectralProfile.load(seeds.baseline).trainings) == 8


def test_the_same_training_twice_is_refused(seeds: Project) -> None:
    trained(seeds, "0", "--iaside-update=new")
    before = seeds.contents()
    record = trained(seeds, "0", "--iaside-update=add")
    assert record["status"] == "refused"
    assert "are the same network" in record["summary"]
    assert seeds.contents() == before


def test_trainings_need_labels(seeds: Project) -> None:
    seeds.pytester.makeconftest(
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def spectral_reference():\n"
        "    import models\n"
        "    return models.reference(labels=False)\n"
    )
    record = trained(seeds, "0 1", "--iaside-update=new")
    assert "the reference sample has neither: give it labels, or targets" in record["summary"]


OTHERS = {
    "several labels": ('task="multilabel"', ""),
    "a score": ('score=closeness, unit="points"', ", max_score_drop=0.1"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_of_other_tasks_are_given_added_and_compared(seeds: Project, kind: str) -> None:
    settings, limit = OTHERS[kind]
    closeness = "def closeness(z, t):\n    return -(torch.sigmoid(z) - t).abs().mean(dim=1)\n\n"
    text = TEST.replace("def test_robust():", f"{closeness}def test_robust(spectral_reference):")
    text = text.replace("Classifier(network,", f"Classifier(lambda x: network(x) - 2, {settings},")
    sample = "targets = torch.eye(3)[spectral_reference.labels]"
    text = text.replace("    seeds =", f"    {sample}\n    seeds =")
    text = text.replace(
        "trainings[0])", f"trainings[0], spectral_reference.with_targets(targets){limit})"
    )
    seeds.pytester.makepyfile(test_it=text)
    assert not trained(seeds, "0 1 2", "--iaside-update=new")["failed"]
    added = trained(seeds, "3", "--iaside-update=add")
    assert "it holds 4 trainings now" in added["summary"]
    baseline = SpectralProfile.load(seeds.baseline)
    assert [each.model.name for each in baseline.trainings] == [f"seed {n}" for n in range(4)]
    assert baseline.model.task == ("score" if limit else "multilabel")
    assert not trained(seeds, "5 6")["failed"]
    assert trained(seeds, "5 6", gain=0.1)["failed"]


def test_no_training_at_all_is_refused(seeds: Project) -> None:
    seeds.call("[]")
    (record,) = seeds.records("--iaside-update=new")
    assert "a list of 0 models" in record["summary"]


def test_a_single_training_says_how_to_add_others_where_it_drifts(seeds: Project) -> None:
    trained(seeds, "0", "--iaside-update=new")
    result = seeds.run(gain=0.1)
    del result
    record = trained(seeds, "1", gain=0.1)
    assert record["failed"]
    assert any("--iaside-update=add" in note for note in record["comparison"]["notes"])


def test_the_perturbation_gate_knows_trainings_as_well(seeds: Project) -> None:
    text = TEST.replace("assert_spectral_robustness", "assert_perturbation_robustness")
    seeds.pytester.makepyfile(test_it=text)
    trained(seeds, "0 1 2 3 4", "--iaside-update=new")
    record = trained(seeds, "7 8")
    assert not record["failed"]
    assert any("2 trainings against 5" in note for note in record["comparison"]["notes"])
    assert trained(seeds, "7 8", gain=0.02)["failed"]
    record = trained(seeds, "9", "--iaside-update=add")
    assert "it holds 6 trainings now" in record["summary"]


def test_trainings_that_are_replaced_by_fewer_are_named(seeds: Project) -> None:
    trained(seeds, "0 1 2 3 4", "--iaside-update=new")
    record = trained(seeds, "7", "--iaside-update=all")
    assert record["status"] == "updated"
    assert "it HELD 5 TRAININGS AND HOLDS 1 now" in record["summary"]
    assert "--iaside-update=add keeps" in record["summary"]
    assert "HELD" not in trained(seeds, "0 1", "--iaside-update=all")["summary"]


def test_a_new_baseline_says_what_a_gate_of_another_training_finds(seeds: Project) -> None:
    record = trained(seeds, "0 1 2 3 4", "--iaside-update=new")
    assert "a gate of another training finds a fall of" in record["summary"]
    checks = trained(seeds, "7")["comparison"]["checks"]
    found = next(each["detectable"] for each in checks if each["name"] == "clean accuracy")
    told = float(record["summary"].split("a fall of ")[1].split(" points")[0])
    assert told / 100 == pytest.approx(found, rel=0.5)


def test_of_two_trainings_it_is_said_what_is_not_in_it(seeds: Project) -> None:
    record = trained(seeds, "0 1", "--iaside-update=new")
    assert "if it did not matter how far its 2 trainings lie apart" in record["summary"]


def test_a_bad_training_of_a_new_baseline_is_named(seeds: Project) -> None:
    seeds.monkeypatch.setenv("BAD", "4")
    record = trained(seeds, "0 1 2 3 4", "--iaside-update=new")
    assert record["status"] == "created"
    assert "training 5 of 5 (seed 4) answers worse than the others" in record["summary"]

"""What is said of one training that is compared with one."""

from __future__ import annotations

from dataclasses import replace

from profiles import make_profile

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.quantity_change import QuantityChange
from pytest_iaside.testing.trainings import single_training


def compared(accuracy: float) -> Comparison:
    """Another training than the baseline, with so many of the images right of all."""
    one = make_profile(images=4)
    old, new = (
        replace(one, model=replace(one.model, fingerprint=name), answers=None)
        for name in ("old", "new")
    )
    answers = QuantityChange(
        index=0,
        name="accuracy, clean",
        family="clean accuracy",
        better="higher",
        baseline=1.0,
        candidate=accuracy,
        change=accuracy - 1,
        low=accuracy - 1,
        high=accuracy - 1,
        p_value=0.0,
        moved=True,
    )
    return Comparison(
        candidate=new,
        baseline=old,
        limits={},
        level=0.95,
        images=4,
        checks=(),
        quantities=(),
        answers=(answers,),
    )


def test_another_seed_may_be_the_cause_of_a_fall() -> None:
    (told,) = single_training(compared(0.9), "pytest --iaside-update=add")
    assert told.startswith("one training is compared with one: if the model was trained anew,")
    assert told.endswith("add every training to the baseline: pytest --iaside-update=add")


def test_no_seed_is_blamed_where_hardly_any_answer_is_left() -> None:
    assert single_training(compared(0.24), "pytest --iaside-update=add") == []

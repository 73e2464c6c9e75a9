"""The digest of a score's code: which edits change it, and which do not."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import Classifier
from pytest_iaside.models.function_code import code_digest
from pytest_iaside.models.identity import identity
from pytest_iaside.models.tasks import SOFTMAX

BEFORE = '''
import functools
import torch

WEIGHT = 2.0
PATH = "weights.pt"

def helper(x):
    return x * WEIGHT

def score(outputs, targets):
    """More is better."""
    # Of each image.
    return helper(outputs.mean(dim=1))

def maker(power):
    def inner(outputs, targets):
        return outputs.mean(dim=1) ** power
    return inner

closure = maker(2)
part = functools.partial(helper)
short = lambda outputs, targets: outputs.mean(dim=1)

class Metric:
    def __init__(self, sharp=1.0):
        self.sharp, self.calls = sharp, 0

    def again(self, outputs):
        return outputs * self.sharp

    def __call__(self, outputs, targets):
        return self.again(outputs.mean(dim=1))

    def unused(self):
        return 1

metric = Metric()
method = Metric().__call__
'''


def digests(folder: Path, text: str, name: str) -> dict[str, str]:
    """The digest of everything in a module of ``text`` that can be a score."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    made = {each: code_digest(getattr(module, each)) for each in MADE}
    del sys.modules[name]
    return made


MADE = ("score", "closure", "part", "short", "metric", "method")
EDITS: dict[str, tuple[str, str, set[str]]] = {
    "a comment": ("# Of each image.", "# Of every one.", set()),
    "a docstring": ("More is better.", "Better is more.", set()),
    "layout": ("helper(outputs.mean(dim=1))", "helper(\n        outputs.mean(dim=1)\n    )", set()),
    "a name in quotes": ("weights.pt", "others.pt", set()),
    "a method that it does not call": ("return 1", "return 2", set()),
    "its own code": ("helper(outputs.mean(dim=1))", "helper(outputs.amax(dim=1))", {"score"}),
    "what it calls": ("return x * WEIGHT", "return x / WEIGHT", {"score", "part"}),
    "a number that it names": ("WEIGHT = 2.0", "WEIGHT = 3.0", {"score", "part"}),
    "what it closes over": ("maker(2)", "maker(3)", {"closure"}),
    "an argument that is set": ("partial(helper)", "partial(helper, x=3)", {"part"}),
    "an operator": (": outputs.mean", ": outputs.amax", {"short"}),
    "a setting of an object": ("sharp=1.0", "sharp=2.0", {"metric", "method"}),
    "a method that it calls": ("outputs * self", "outputs / self", {"metric", "method"}),
    "calls so far": ("self.calls = sharp, 0", "self.calls = sharp, 9", set()),
}


@pytest.mark.parametrize("what", EDITS)
def test_it_changes_with_what_is_computed_and_with_nothing_else(what: str, tmp_path: Path) -> None:
    old, new, expected = EDITS[what]
    assert BEFORE.count(old) == 1
    before = digests(tmp_path, BEFORE, "scores_before")
    after = digests(tmp_path, BEFORE.replace(old, new), "scores_after")
    assert {each for each in MADE if before[each] != after[each]} == expected


def made_without_source(text: str) -> Any:
    found: dict[str, Any] = {}
    exec(text, found)
    return found["score"]


def test_without_source_instructions_count() -> None:
    one, same, other = (
        made_without_source(f"def score(outputs, targets):\n    {body}")
        for body in ("return outputs + 1", "# A comment.\n    return outputs + 1", "return outputs")
    )
    assert code_digest(one) == code_digest(same) != code_digest(other)


class Nearest(nn.Module):
    def __init__(self, prototypes: Tensor) -> None:
        super().__init__()
        self.prototypes = prototypes

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -torch.cdist(outputs, self.prototypes).amin(dim=1)


def test_numbers_that_are_compared_with_count() -> None:
    zeros = functools.partial(torch.cdist, x2=torch.zeros(2, 3))
    ones = functools.partial(torch.cdist, x2=torch.ones(2, 3))
    assert code_digest(zeros) != code_digest(ones)
    first, again, second = (code_digest(Nearest(x * torch.ones(2, 3))) for x in (0, 0, 1))
    assert first == again != second


@pytest.mark.parametrize("given", [torch.cosine_similarity, max, nn.CosineSimilarity(), len])
def test_of_a_library_the_name_alone_is_known(given: Any) -> None:
    assert len(code_digest(given)) == 16
    assert code_digest(given) == code_digest(given)


class Odd:
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.missing  # type: ignore[attr-defined, no-any-return]

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("nobody may look")


def test_what_cannot_be_looked_at_has_none() -> None:
    assert code_digest(Odd()) == ""


def test_results_are_kept_for_one_score_only() -> None:
    network = nn.Linear(3, 2)
    one, other = (
        made_without_source(f"def score(z, t):\n    return z[:, {column}]") for column in (0, 1)
    )
    keys = [identity(Classifier(network, score=each)) for each in (one, other, one)]
    assert keys[0] == keys[2] != keys[1]
    assert Classifier(network, score=one).fingerprint() == (
        Classifier(network, score=other).fingerprint()
    )
    assert SOFTMAX.score_code == ""

"""Models that rely on two frequencies, each as much as its name says, and images that show both."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from waves import images

from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.study import command as study
from pytest_iaside.study.models import Measuring

Command = Callable[..., int]

LAB = """
from waves import Waves, images
from pytest_iaside.study.models import StudyModel
def reference(): return images()
def models():
    return {f"low{low:g}": StudyModel(lambda low=low: Waves(low), group="waves", noise=low / 2)
            for low in (0.1, 0.3, 0.5, 0.7, 0.9)}
def sized():
    return {name: StudyModel(m.model, covariates={"images": 200 * m.noise})
            for name, m in models().items()}
def bare(): return {f"low{low:g}": Waves(low) for low in (0.2, 0.5, 0.8)}
def failing(): return {**models(), "broken": lambda: 1 / 0, "none": lambda: None}
def failing_all(): return {name: (lambda: None) for name in "abcd"}
def two(): return dict(list(models().items())[:2])
def nothing(): return None
def numbers(): return {"a": 1, "b": 2, "c": 3}
def same_noise(): return {name: StudyModel(m.model, noise=0.5) for name, m in models().items()}
"""


@pytest.fixture
def measuring() -> Measuring:
    return Measuring(
        reference=images(),
        settings={"bands": 4, "execution": Execution(backend="eager")},
        cache=False,
        showing=lambda _: contextlib.nullcontext(),
    )


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "study_lab.py").write_text(LAB)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "study_lab", raising=False)
    return tmp_path


@pytest.fixture
def iaside(lab: Path) -> Command:
    """The command ``iaside study``, as the command line calls it."""

    def run(*arguments: str) -> int:
        parser = argparse.ArgumentParser()
        study.add(parser.add_subparsers())
        options = parser.parse_args(["study", *arguments])
        try:
            return int(options.run(options, shlex.join(["iaside", "study", *arguments])))
        except SpectralRobustnessError as error:
            print(f"iaside: {error}", file=sys.stderr)
            return 2

    return run

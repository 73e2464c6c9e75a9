"""Writes the gallery: real reports that open, and the output of the tutorial's commands.

``python docs/gallery.py``, which ``make docs`` runs, works on a copy of the example project. It
writes reports to docs/_extra/gallery (not committed), and outputs to docs/outputs (committed, as
pages and the README show them).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "example_project"
REPORTS = HERE / "_extra" / "gallery"
OUTPUTS = HERE / "outputs"
SECONDS = re.compile(r" *\b\d+\.\d+ ?s\b")
# What the gallery shows: the file of a report, and what it is of.
SHOWN = {
    "green.html": "a gate that is green",
    "red.html": "a gate that is red, with the images that drive the drift explained",
    "diagnosis.html": "one digit, with and without fog",
    "track.html": "a reader after each of six epochs",
    "study.html": "a study of eight readers of seven recipes",
}
# Small enough for seconds; a real study has more recipes (docs/how-to/studies.md).
STUDIED = """
from scrapbook.zoo import RECIPES, Recipe, StudyModel, _save, convolutional
from functools import cache, partial
from pathlib import Path

NAMES = ["plain-0", "plain-1", "noise0.3-0", "blur2-0", "brighten-0", "width0.25-0", "wrong0.4-0",
         "wrong0.8-0"]

@cache
def make(name):
    recipe = RECIPES[name]
    *_, (network, _) = Recipe(**{**vars(recipe), "epochs": 2}).train()
    return network

def models():
    return {name: model(name) for name in NAMES}

def model(name):
    recipe = name.rpartition("-")[0]
    return StudyModel(partial(make, name), group=RECIPES[name].group, recipe=recipe)

def checkpoints():
    for epoch, (network, loss) in enumerate(Recipe(group="plain", epochs=6).train(), start=1):
        state = {"state_dict": network.state_dict(), "epoch": epoch, "loss": loss}
        _save(state, Path("epochs") / f"epoch-{epoch}.pt")

def digit():
    from PIL import Image
    from scrapbook.data import digits
    Image.fromarray(digits()[1].images[4, 0].numpy()).save("digit.png")
"""


class Copy:
    """A copy of the example project in a temporary folder, and commands that run in it.

    They run in this process: PyTorch is loaded once.
    """

    def __init__(self, folder: Path) -> None:
        ignored = shutil.ignore_patterns("zoo", "iaside-*", "__pycache__", ".pytest_cache")
        self.folder = Path(shutil.copytree(EXAMPLE, folder / "example_project", ignore=ignored))
        (self.folder / "studied.py").write_text(STUDIED, encoding="utf-8")
        (self.folder / "epochs").mkdir()
        # Neither a CI's variables nor what others have measured may change what is shown.
        for name in (
            "CI",
            "BUILD_NUMBER",
            "GITHUB_ACTIONS",
            "GITHUB_STEP_SUMMARY",
            "PYTEST_ADDOPTS",
        ):
            os.environ.pop(name, None)
        usual = {"OMP_WAIT_POLICY": "passive", "COLUMNS": "88", "NO_COLOR": "1"}
        os.environ.update(usual, IASIDE_CACHE_DIR=str(folder / "cache"))
        os.chdir(self.folder)
        sys.path[:0] = [str(HERE.parent), str(self.folder)]

    def pytest(self, *options: str, expected: int = 0) -> str:
        """The output of pytest, without what is of this machine."""
        import pytest

        sys.modules.pop("test_mine", None)  # the tutorial changes it
        quiet = ("-p", "no:cacheprovider", "--no-header", "--color=no")
        return without_rules(_output(pytest.main, [*quiet, *options], expected))

    def iaside(self, *arguments: str, expected: int = 0) -> str:
        """The output of the command ``iaside``."""
        from pytest_iaside.cli.main import main

        return _output(main, list(arguments), expected)

    def keep(self, file: str, name: str) -> None:
        """Put a report into the gallery."""
        target = REPORTS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / file, target)


def _output(run: Callable[[list[str]], int], arguments: list[str], expected: int) -> str:
    """What ``run(arguments)`` prints; raises where its exit status is not ``expected``."""
    told, written = " ".join(arguments), io.StringIO()
    started = time.perf_counter()
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(io.StringIO()) as errors:
        status = int(run(arguments))
    if status != expected:
        said = written.getvalue() + errors.getvalue()
        raise RuntimeError(f"{told} ended with {status}, expected {expected}:\n{said}")
    print(f"{time.perf_counter() - started:5.1f} s  {told}", flush=True)
    return written.getvalue()


def without_rules(text: str) -> str:
    """What pytest printed, without its rules of equal signs being as wide as this terminal."""
    lines = re.sub(r"={5,}", "=====", text).strip().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def first_line(text: str) -> str:
    """The first line of a failure, wrapped as a README shows it."""
    (found,) = re.findall(r"^E +AssertionError: (.*)$", text, re.MULTILINE)
    return textwrap.fill(found, 100) + "\n"


def write_unless_alike(path: Path, text: str) -> None:
    """Write an output, unless the one that is there differs in seconds alone."""
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    if SECONDS.sub("", kept) != SECONDS.sub("", text):
        path.write_text(text, encoding="utf-8")


def tests_of_the_tutorial() -> list[str]:
    """The test that the tutorial writes, and what it becomes when the model gets worse."""
    text = (HERE / "tutorial.md").read_text(encoding="utf-8")
    found: list[str] = re.findall(r"```python\n(# tests/test_mine\.py\n.*?)```", text, re.DOTALL)
    return found


def main() -> None:
    shutil.rmtree(REPORTS, ignore_errors=True)
    OUTPUTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        before, after = tests_of_the_tutorial()
        test = copy.folder / "tests" / "test_mine.py"
        test.write_text(before, encoding="utf-8")
        mine = "tests/test_mine.py"
        missing = copy.pytest(mine, expected=1)
        created = copy.pytest(mine, "--iaside-update=new")
        green = copy.pytest(mine, "--iaside-report=green.html")
        copy.keep("green.html", "green.html")
        test.write_text(after, encoding="utf-8")
        red = copy.pytest(mine, expected=1)
        copy.pytest("candidates", "-k", "digit", "--iaside-report=red.html", expected=1)
        copy.keep("red.html", "red.html")
        import studied  # of the copy

        studied.checkpoints()
        studied.digit()
        whole = ("--resize", "none", "--crop", "none")
        reference = ("scrapbook.zoo:reference",)
        copy.iaside(
            *("explain", "scrapbook.models:load_digit_reader", "digit.png", "--grey", *whole),
            *("--grid", "4", "--perturb", "fog:3", "--output", "diagnosis"),
        )
        copy.iaside(
            *("track", "epochs/*.pt", "--model", "scrapbook.networks:convolutional"),
            *("--reference", *reference, "--bands", "5", "--html", "track.html"),
        )
        copy.iaside("study", "correlation", "studied:models", *reference, "--bands", "5")
        for file, name in (
            ("diagnosis/index.html", "diagnosis.html"),
            ("track.html", "track.html"),
            ("iaside-study/correlation.html", "study.html"),
        ):
            copy.keep(file, name)
        outputs = {"missing": missing, "created": created, "green": green, "red": red}
        for name, text in {**outputs, "red-first-line": first_line(red)}.items():
            write_unless_alike(OUTPUTS / f"{name}.txt", text)


if __name__ == "__main__":
    main()

"""Pages of tracking, studies and explanations: alone, in any light, at any width, on paper."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from .conftest import Opened
from .test_opened import BEYOND_THE_EDGE, CUT_IN_CHARTS, LOST_ON_PAPER, UNSEEN, _severe
from .validity import invalid

Open = Callable[..., Opened]

MODULE = """
from functools import partial
import torch
from torch import nn
from pytest_iaside import ReferenceSample
from pytest_iaside.study.models import StudyModel

def reference():
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(24, 3, 16, 16, generator=generator)
    classes = torch.arange(24) % 3
    return ReferenceSample(0.3 * noise + 0.3 * classes.view(-1, 1, 1, 1) / 2, classes)

def network(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16, 3)).eval()

def trained(seed=0):
    # Knows the reference sample, so that there is something to measure.
    found, sample = network(seed), reference()
    optimiser = torch.optim.Adam(found.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(found(sample.images), sample.labels)
        loss.backward()
        optimiser.step()
    return found.eval()

def models():
    return {f"seed {seed}": partial(trained, seed) for seed in range(4)}

def sized():
    # The last one knows nothing: it has no structure.
    made = [*(partial(trained, seed) for seed in range(3)), network]
    return {f"a long name of model {number}": StudyModel(model, covariates={"images": 10**number})
            for number, model in enumerate(made)}

def first():
    return trained(1)

def second():
    return trained(2)

def third():
    return trained(3)
"""
COMMANDS = {
    "explanation": "explain pages_nets:trained photo.png --resize none --crop 16 --output out",
    "tracking": "track steps/*.pt --model pages_nets:network --reference pages_nets:reference "
    "--bands 3 --html out/index.html",
    "study": "study correlation pages_nets:models pages_nets:reference --bands 3 --output out "
    "--perturbations white_noise:3,contrast:3",
    "covariate": "study covariate pages_nets:sized pages_nets:reference --bands 3 --output out "
    "--perturbations white_noise:3 --covariate images --log",
    "ranking": "rank pages_nets:first pages_nets:second pages_nets:third pages_nets:reference "
    "--bands 3 --environment white_noise:3,contrast:3 --measure --html out/index.html",
}


@pytest.fixture(scope="module", params=COMMANDS)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``iaside`` writes in a process of its own."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "pages_nets.py").write_text(MODULE)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    (folder / "steps").mkdir()
    scope: dict[str, object] = {}
    exec(compile(MODULE, "pages_nets", "exec"), scope)
    for step in range(1, 4):
        state = scope["trained"]().state_dict()  # type: ignore[operator]
        torch.save({"state_dict": state, "epoch": step}, folder / "steps" / f"epoch-{step}.pt")
    variables = {**os.environ, "IASIDE_CACHE_DIR": str(folder / "cache")}
    command = [
        sys.executable,
        "-c",
        "import sys; from pytest_iaside.cli.main import main; sys.exit(main())",
    ]
    run = subprocess.run(
        [*command, *COMMANDS[request.param].split()],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (written,) = (folder / "out").glob("*.html")
    return written


def test_needs_no_network_and_says_nothing(open_report: Open, page: Path) -> None:
    opened = open_report(page)
    opened.unfold()
    assert opened.messages == []
    assert opened.requests == []


def test_is_valid_html(page: Path) -> None:
    assert invalid(page) == []


@pytest.mark.parametrize("width", [320, 360, 1280])
def test_fits_its_width(open_report: Open, page: Path, width: int) -> None:
    opened = open_report(page, viewport={"width": width, "height": 800})
    opened.unfold()
    assert opened.page.evaluate("() => document.documentElement.scrollWidth") == width
    assert opened.page.evaluate(BEYOND_THE_EDGE) == []
    assert opened.page.evaluate(CUT_IN_CHARTS) == []


def test_accessible(open_report: Open, page: Path, axe: str) -> None:
    opened = open_report(page, color_scheme="light")
    opened.unfold()
    opened.page.evaluate(axe)
    assert _severe(opened, "{ resultTypes: ['violations'] }") == []
    opened.page.emulate_media(color_scheme="dark")
    assert _severe(opened, "{ runOnly: ['color-contrast'], resultTypes: ['violations'] }") == []


def test_on_paper(open_report: Open, page: Path) -> None:
    opened = open_report(page, viewport={"width": 718, "height": 1047})
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate(UNSEEN) == []
    assert opened.page.evaluate(LOST_ON_PAPER) == []

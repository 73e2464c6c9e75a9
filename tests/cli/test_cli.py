"""The command iaside: exit 0 passed, 1 drifted, 2 could not be done."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pytest_iaside.cli import options
from pytest_iaside.cli.main import main
from pytest_iaside.errors import SettingsError
from pytest_iaside.measure.profile import SpectralProfile

MODULE = """
import torch
from pytest_iaside import ReferenceSample
GRID = torch.arange(16) / 16
WAVES = torch.stack([torch.cos(2 * torch.pi * k * GRID) for k in (1, 3, 7)])
def images():
    labels = torch.arange(24) % 3
    images = 0.5 + 0.2 * WAVES[labels][:, None, None, :].expand(24, 1, 16, 16)
    noise = 0.05 * torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return ReferenceSample((images + noise).clamp(0, 1), labels)
def most(): return images().take(range(20))
def network(weights):
    return lambda images: (images.mean(dim=(1, 2)) @ WAVES.T) * torch.tensor(weights)
def good(): return network([2.0, 2.0, 2.0])
def worse(): return network([2.0, 0.6, 2.0])
def broken(): return lambda images: images
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lab.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "lab", raising=False)
    return tmp_path


def measured(name: str, *arguments: str) -> int:
    return main(["measure", f"lab:{name}", "lab:images", "--output", f"{name}.yaml", *arguments])


NARROW = ["compare", "worse.yaml", "good.yaml", "--max-band-drop=0.01"]


@pytest.fixture
def both(folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert measured("good", "--bands=4") == measured("worse", "--bands=4") == 0
    capsys.readouterr()
    return folder


def test_measure_prints_and_writes_the_profile(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = list(sys.path)
    assert measured("good", "--bands", "4", "--samples=12", "--level=0.9") == 0
    assert sys.path == path
    profile = SpectralProfile.load(folder / "good.yaml")
    assert len(profile) == 12
    output = capsys.readouterr()
    assert output.err == ""
    lines = output.out.splitlines()
    assert lines[2].split() == ["band", "ψ", "(nats)", "±", "se", "SID", "90%", "CI"]
    shares = profile.interval("sid", 0.9)
    for band, line in enumerate(lines[3:7]):
        number, _, unit, psi, error, share, interval = line.split()
        assert (int(number), unit) == (band, "cycles/px")
        assert float(psi) == pytest.approx(profile.psi[band], abs=5e-4)
        assert float(error) == pytest.approx(profile.standard_error[band], abs=5e-4)
        assert float(share) == pytest.approx(profile.sid[band], abs=5e-4)
        low, high = map(float, interval.split("…"))
        assert (low, high) == pytest.approx((shares.low[band], shares.high[band]), abs=5e-4)
    interval = profile.interval("signed_src", 0.9)
    low, high = (
        f"{float(bound):+.3f}".replace("-", "−") for bound in (interval.low, interval.high)
    )
    assert lines[9] == f"signed SRC    {profile.signed_src:+.3f}  (90% CI {low}…{high})"
    assert "structured    yes" in lines
    assert "measured      12 images, 348 forward passes" in lines
    assert lines[-1] == "written: good.yaml and good.npz"


def test_compare_exits_with_the_verdict(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "good.yaml", "good.yaml"]) == 0
    assert capsys.readouterr().out.startswith("pass: SRC 0.051 → 0.051 (+0.000, ")
    assert main([*NARROW, "--max-value-drop=0.05"]) == 1
    output = capsys.readouterr().out
    assert output.startswith(
        "drift: the model relies much less on coarse structures (band 1). Failed: "
    )
    lines = [line for line in output.splitlines()[1:] if " note: " not in line]
    verdicts = dict(re.split(r"\s{2,}", line.strip())[:2] for line in lines)
    assert verdicts["structured"] == "pass"
    assert verdicts["value"] == verdicts["band"] == "drift"


def test_thresholds_and_fail_on_decide(both: Path) -> None:
    names = ("value-drop", "band-drop", "sid-shift", "accuracy-drop", "log-likelihood-drop")
    others = ("probability-drop", "upper-band-change")
    loose = [f"--max-{name}=none" for name in (*names, *others)]
    compare = ["compare", "worse.yaml", "good.yaml", *loose]
    assert main([*compare, "--fail-on=inconclusive"]) == 0  # nothing found
    small = "--max-src-drop=0.01"
    assert main([*compare, small]) == 0  # inconclusive about the score
    assert main([*compare, small, "--fail-on=inconclusive"]) == 1
    assert main([*compare, "--max-src-drop=0.5", "--fail-on=inconclusive"]) == 0


def test_compare_writes_reports(both: Path) -> None:
    assert main([*NARROW, "--json=r.json", "--html=r.html"]) == 1
    (gate,) = json.loads((both / "r.json").read_text())["gates"]
    assert (gate["verdict"], gate["failed"], gate["baseline"]) == ("drift", True, "good.yaml")
    assert "worse.yaml" in (both / "r.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "none.yaml", "none.yaml"], "iaside: cannot read none.yaml: No such file"),
        (["measure", "lab:nothing", "lab:images", "--output=x.yaml"], "lab has no 'nothing'"),
        (["measure", "lab:broken", "lab:images", "--output=x.yaml"], "expected logits"),
        (["measure", "lab:good", "nowhere", "--output=x.yaml"], "nowhere does not exist"),
        (["measure", "lab:good", "lab:images", "--output=x"], "expected the path of a .yaml file"),
        (
            ["measure", "lab:good", "lab:images", "--output=x.yaml", "--bands=few"],
            "iaside: --bands: 'few' cannot be used; expected a whole number",
        ),
        (["measure", "lab:good", "lab:images", "--output=x.yaml", "--absence=x"], "absence='x'"),
        (["measure", "lab:good", "lab:images", "--output=x.yaml", "--limit=3"], "own sample"),
        (["measure", "lab:good", "lab:images"], "required: --output"),
        (["compare", "a.yaml", "b.yaml", "--max-drop=1"], "unrecognized arguments: --max-drop=1"),
        ([], "required: COMMAND"),
    ],
)
def test_what_cannot_be_done_exits_2_without_a_traceback(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert "Traceback" not in output.err
    assert output.out == ""
    assert list(folder.glob("x.*")) == []


def test_profiles_of_other_settings_are_not_compared(
    both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measured("good", "--bands=3") == 0
    assert main(["compare", "worse.yaml", "good.yaml", "--max-band-drop=0.01"]) == 2
    assert "bands: candidate 4, baseline 3" in capsys.readouterr().err


def test_help_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "--help"]) == 0
    output = capsys.readouterr().out
    for option in ("--labels", "--limit", "--bands", "--batch-size", "--output"):
        assert option in output


def test_unpaired_is_for_profiles_of_other_images(
    both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", "lab:good", "lab:most", "--bands=4", "--output=most.yaml"]) == 0
    capsys.readouterr()
    assert main(["compare", "most.yaml", "good.yaml"]) == 2
    assert "reference sample: candidate 20 images" in capsys.readouterr().err
    assert main(["compare", "most.yaml", "good.yaml", "--unpaired"]) == 0
    assert (
        "note: unpaired: 20 images of the candidate, 24 of the baseline" in capsys.readouterr().out
    )


NETWORK = """
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(WAVES.T * 2.0)
    def forward(self, images):
        return images.mean(dim=(1, 2)) @ self.weight
def net(): return Network()
"""


def test_cache_lists_what_is_kept_and_forgets_it(
    folder: Path, cache_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "lab.py").write_text(MODULE + NETWORK)
    assert main(["cache"]) == 0
    file = cache_folder / "results.sqlite"
    assert capsys.readouterr().out == f"{file}: 0.00 MB of at most 500 MB (IASIDE_CACHE_MB)\n"
    assert measured("net", "--bands=4", "--no-cache") == 0
    assert "552 forward passes\n" in capsys.readouterr().out
    assert not file.exists()
    assert measured("net", "--bands=4") == measured("net", "--bands=4", "--samples=9") == 0
    kept = "9 images, 0 forward passes (297 more from the cache, 111 of them replayed)"
    assert kept in capsys.readouterr().out
    assert main(["cache", "list"]) == 0
    listed = capsys.readouterr().out
    assert "     24 images  Network, 4 bands, exact, zero\n" in listed
    assert "     24 images  Network, answers under 5 perturbations\n" in listed
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"forgotten: what was found for 48 images ({file})\n"
    assert not file.exists()


def test_cache_says_where_it_cannot_be_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "results.sqlite").write_text("in the way")
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(folder))
    assert main(["cache"]) == 2
    assert "cannot be used (file is not a database); make its folder" in capsys.readouterr().err


def test_pictures_of_a_folder_can_be_made_grey(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((20, 24, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    parser = argparse.ArgumentParser()
    options.add_reference(parser)
    read = [str(tmp_path), "--labels", "none", "--resize", "none", "--crop", "16"]
    found = options.read_reference(parser.parse_args([*read, "--grey"]))
    assert found.shape == (1, 16, 16)
    with pytest.raises(SettingsError, match="--grey is one channel, --channels is 3"):
        options.read_reference(parser.parse_args([*read, "--grey", "--channels", "3"]))

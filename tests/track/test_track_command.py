"""iaside track: what is measured once, what is skipped and said, and the page that it draws."""

from __future__ import annotations

import base64
import io
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from profiles import TRAINED, make_profile

from pytest_iaside.cli.main import main
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.spectral import measure
from pytest_iaside.report.charts.heat import COLOURS
from pytest_iaside.track.charts import Curve, curves_chart, sid_heat_map
from pytest_iaside.track.history import History, Point
from pytest_iaside.track.page import track_page
from pytest_iaside.track.records import unit_of
from pytest_iaside.track.trend import trend_of

MODULE = """
import torch
from pytest_iaside import ReferenceSample
GRID = torch.arange(16) / 16
WAVES = torch.stack([torch.cos(2 * torch.pi * k * GRID) for k in (1, 3, 7)])
LABELS = torch.arange(24) % 3
IMAGES = (
    0.5 + 0.2 * WAVES[LABELS][:, None, None, :].expand(24, 1, 16, 16)
    + 0.05 * torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
).clamp(0, 1)
def images(): return ReferenceSample(IMAGES, LABELS)
def unlabelled(): return ReferenceSample(IMAGES)
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(16, 3))
    def forward(self, images):
        return images.mean(dim=(1, 2)) @ self.weight
def function(): return lambda images: images.mean(dim=(1, 2)) @ WAVES.T
"""
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lab.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "lab", raising=False)
    for epoch in range(4):
        save(epoch)
    return tmp_path


def weights(factor: float) -> torch.Tensor:
    waves = [torch.cos(2 * torch.pi * k * torch.arange(16) / 16) for k in (1, 3, 7)]
    return torch.stack(waves, dim=1) * torch.tensor([2.0, 2.0, 2.0 * factor])


def save(epoch: int, name: str = "", *, factor: float | None = None, **beside: Any) -> None:
    state = {"model.weight": weights(1 - 0.2 * epoch if factor is None else factor)}
    content = {"epoch": epoch, "val_loss": 1.0 - 0.1 * epoch, "state_dict": state, **beside}
    torch.save(content, name or f"epoch{epoch}.pt")


def track(*arguments: str, reference: str = "lab:images") -> int:
    given = ["track", "*.pt", "--model=lab:Network", f"--reference={reference}", "--bands=4"]
    return main([*given, *arguments])


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each measurement was of."""
    from pytest_iaside.track import tracker as measuring

    calls: list[int] = []

    def counting(model: Any, reference: ReferenceSample, **rest: Any) -> Any:
        calls.append(len(reference))
        return measure(model, reference, **rest)

    monkeypatch.setattr(measuring, "measure", counting)
    return calls


def test_every_checkpoint_is_measured_with_its_weights(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert track() == 0
    sys.path.insert(0, "")
    import lab

    sys.path.remove("")
    points = History("iaside-history.sqlite").points()
    assert [(p.run, p.step, p.name) for p in points] == [
        ("run", epoch, f"epoch{epoch}.pt") for epoch in range(4)
    ]
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert output.err == ""
    for epoch, (point, line) in enumerate(zip(points, lines, strict=False)):
        network = lab.Network()
        network.load_state_dict({"weight": weights(1 - 0.2 * epoch)})
        expected = measure(network, lab.images(), bands=4)
        np.testing.assert_allclose(point.profile.image_psi, expected.image_psi, atol=1e-6)
        assert point.loss == pytest.approx(1 - 0.1 * epoch)
        # Every picture is told right by its own wave, which the noise does not drown.
        assert point.accuracy == 1.0
        score = f"{expected.signed_src:+.3f}".replace("-", "−")
        assert line.startswith(f"epoch    {epoch}  signed SRC {score} (95% CI ")
        value = f"v(all) {expected.value:.2f} nats  accuracy 100.0%  epoch{epoch}.pt"
        assert line.endswith(value)
    trend = trend_of(points)
    assert lines[5] == f"trend: {trend.verdict}: {trend.summary()}"
    assert lines[6:] == [
        "page: iaside-track.html",
        "history: iaside-history.sqlite, 4 checkpoints of run 'run'",
    ]


def test_what_is_known_is_not_measured_again(
    folder: Path, measured: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert track() == 0
    save(4)
    capsys.readouterr()
    assert track() == 0
    assert len(measured) == 5
    said = [line.endswith("already measured") for line in capsys.readouterr().out.splitlines()[:5]]
    assert said == [True] * 4 + [False]
    # Other rules, other images, other weights, and on demand.
    assert track("--bands=3") == 0
    assert len(measured) == 10
    assert track("--bands=3", "--samples=20") == 0
    assert len(measured) == 15
    save(4, factor=0.9)
    assert track("--bands=3", "--samples=20") == 0
    assert len(measured) == 16
    assert track("--bands=3", "--samples=20", "--no-cache") == 0
    assert len(measured) == 21
    assert len(History("iaside-history.sqlite").points()) == 5


def test_code_that_computes_something_else_is_measured_anew(
    folder: Path, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert track() == 0
    before = History("iaside-history.sqlite").points()
    (folder / "lab.py").write_text(MODULE.replace("@ self.weight", "@ self.weight / 2"))
    monkeypatch.delitem(sys.modules, "lab")
    sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
    for compiled in folder.glob("__pycache__/*"):
        compiled.unlink()
    assert track() == 0
    sys.dont_write_bytecode = kept
    assert len(measured) == 8
    after = History("iaside-history.sqlite").points()
    assert all(a.profile.value < b.profile.value for a, b in zip(after, before, strict=True))


def test_killed_in_the_middle_nothing_is_lost_or_repeated(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert track("--history=whole.sqlite") == 0
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(folder / "other-cache"))
    add = History.add

    def die(history: History, point: Point, **rest: Any) -> None:
        if point.step == 2:
            raise KeyboardInterrupt
        add(history, point, **rest)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(History, "add", die)
        track()
    assert [point.step for point in History("iaside-history.sqlite").points()] == [0, 1]
    assert track() == 0
    whole, points = History("whole.sqlite").points(), History("iaside-history.sqlite").points()
    for ours, theirs in zip(points, whole, strict=True):
        np.testing.assert_array_equal(ours.profile.image_psi, theirs.profile.image_psi)
    # The third had been measured when the first run ended, though not been added.
    passes = 24 * (2**4 + 1)
    assert [point.profile.passes_from_cache for point in points] == [0, 0, passes, 0]


def test_what_cannot_be_measured_is_skipped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
            return os.mkdir, ("sprung",)

    save(5, hidden=Trap())
    Path("epoch6.pt").write_bytes(Path("epoch0.pt").read_bytes()[:600])
    Path("epoch7.pt").write_bytes(pickle.dumps(3))
    torch.save({"state_dict": {"bias": torch.zeros(3)}, "epoch": 8}, "epoch8.pt")
    save(9, factor=float("nan"))
    assert track() == 1
    output = capsys.readouterr()
    assert not Path("sprung").exists()
    errors = output.err.splitlines()
    assert [line.partition(".pt")[0] for line in errors] == [
        f"iaside: skipped: epoch{epoch}" for epoch in (5, 6, 7, 8, 9)
    ]
    called = f"would call {os.mkdir.__module__}.mkdir, and loading it could run any code"
    assert f"epoch5.pt was refused: it {called}" in errors[0]
    assert "damaged or none" in errors[1]
    assert "1 of 1 missing: weight (16, 3); 1 of 1 unexpected: bias (3)" in errors[3]
    assert "epoch9.pt: the model returned NaN or infinite logits" in errors[4]
    assert [point.step for point in History("iaside-history.sqlite").points()] == [0, 1, 2, 3]
    assert output.out.splitlines()[-1] == "skipped: 5 of 9 checkpoints, as said above"


def test_the_same_weights_at_another_step_are_not_measured_again(
    folder: Path, measured: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    save(3, "best.pt")  # the same as epoch3.pt
    save(7, "swa_epoch7.pt", factor=0.4)  # the same weights later on
    assert track() == 0
    assert len(measured) == 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("best.pt")
    assert lines[4].endswith("epoch3.pt  already measured as best.pt")
    assert lines[5].endswith("swa_epoch7.pt  the same weights as before, already measured")
    points = History("iaside-history.sqlite").points()
    assert [(point.step, point.loss) for point in points][-1] == (7, pytest.approx(0.3))
    np.testing.assert_array_equal(points[-1].profile.image_psi, points[-2].profile.image_psi)


def test_another_runs_step_is_not_overwritten(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert track() == 0
    Path("other").mkdir()
    save(2, "other/a2.pt", factor=0.1)
    options = ["--model=lab:Network", "--reference=lab:images", "--bands=4"]
    assert main(["track", "other/a2.pt", *options]) == 1
    message = capsys.readouterr().err
    assert "other/a2.pt has step 2, as epoch2.pt has in run 'run'" in message
    assert "--run" in message
    assert main(["track", "other/a2.pt", *options, "--run=b"]) == 0
    history = History("iaside-history.sqlite")
    assert history.runs() == ["b", "run"]
    assert [point.name for point in history.points("run")] == [f"epoch{e}.pt" for e in range(4)]


def test_a_checkpoint_that_was_moved_is_measured_anew_where_that_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert track() == 0
    Path("other").mkdir()
    Path("epoch2.pt").rename("other/epoch2.pt")
    options = ["--model=lab:Network", "--reference=lab:images", "--bands=4", "--run=run"]
    assert main(["track", "other/epoch2.pt", *options, "--no-cache"]) == 0
    names = [point.name for point in History("iaside-history.sqlite").points("run")]
    assert names == ["epoch0.pt", "epoch1.pt", "other/epoch2.pt", "epoch3.pt"]


def test_without_labels_the_trainers_accuracy_counts(folder: Path) -> None:
    save(0, val_acc=0.75)
    assert track(reference="lab:unlabelled") == 0
    accuracies = [point.accuracy for point in History("iaside-history.sqlite").points()]
    assert accuracies == [0.75, None, None, None]
    assert "scored on its own predictions" in Path("iaside-track.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--last=1"], "--last 1: a trend needs at least 2 checkpoints"),
        (["--model=lab:function"], "is no nn.Module, so no checkpoint can be loaded into it"),
        (["--model=lab:nothing"], "lab has no 'nothing'"),
        (["--history=lab.py"], "lab.py is no history"),
        (["--bands=1"], "bands=1 is out of range"),
        (["--samples=99"], "99 images asked for"),
        (["--absence=x"], "absence='x'"),
        (["--reference=nowhere"], "nowhere does not exist"),
        (["--history=gone/../lab.py/h.sqlite"], "cannot use the history"),
    ],
)
def test_what_cannot_be_done_exits_2(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert track(*arguments) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert "Traceback" not in output.err
    assert not Path("iaside-track.html").exists()
    assert (folder / "lab.py").read_text() == MODULE


def test_a_pattern_that_names_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model=lab:Network", "--reference=lab:images"]
    assert main(["track", "gone*.pt", *options]) == 2
    assert "'gone*.pt' names no checkpoint" in capsys.readouterr().err


def drawn(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


class TestPage:
    def points(self, steps: list[int], **changes: Any) -> list[Point]:
        falls = np.array([-0.3, 0, 0, 0, 0, 0.2, 0, 0.2])
        return [
            Point(
                step=step,
                name=f"<b>{step}.pt",
                profile=make_profile(TRAINED + i * falls, **changes),
                accuracy=0.5 + i / 10,
            )
            for i, step in enumerate(steps)
        ]

    def test_says_and_shows_everything(self, folder: Path) -> None:
        assert track("--html=pages/p.html", "--level=0.9") == 0
        page = Path("pages/p.html").read_text()
        assert "<h1>" in page
        assert "over the last 4 checkpoints of 4" in page
        for expected in ("signed SRC", "v(all), nats", "accuracy", "loss", "90% CI", "lab:Network"):
            assert expected in page
        # One file that needs no other.
        assert "://" not in page.replace("http://www.w3.org/2000/svg", "")

    def test_its_trend_is_of_as_many_checkpoints_as_asked_for(self, folder: Path) -> None:
        assert track("--html=p.html", "--last=2") == 0
        assert "over the last 2 checkpoints of 4" in Path("p.html").read_text()

    def test_without_a_trend_it_says_why(self) -> None:
        points = self.points([4])
        page = track_page(points, None, level=0.95, no_trend="there is one only")
        assert page.headline == "1 checkpoints, and no trend"
        assert page.about.startswith("there is one only. Run run, step 4 to 4")
        assert all(drawn(str(figure.chart)) is not None for figure in page.figures)

    def test_tables_hold_the_numbers(self) -> None:
        points = self.points([1, 2, 5])
        sids, scores = track_page(points, None, level=0.95).figures
        assert sids.table is not None
        assert scores.table is not None
        assert len(sids.table.head) == 9
        for point, row in zip(points, sids.table.rows, strict=True):
            assert [cell.text for cell in row] == [
                str(point.step),
                *(f"{value:.3f}" for value in point.profile.sid),
            ]
        assert [cell.text for cell in scores.table.rows[2]][5:] == ["70.0%", "—", "", "<b>5.pt"]

    def test_what_was_measured_otherwise_is_left_out_and_said(self) -> None:
        points = self.points([1, 2, 3])
        other = make_profile(rules=Rules(bands=8, space="pixel"))
        points[0] = Point(step=1, name="1.pt", profile=other)
        page = track_page(points, None, level=0.95)
        assert len(page.figures[0].table.rows) == 2  # type: ignore[union-attr]
        assert page.warnings[0].startswith("1 checkpoints are left out")
        assert "space: this one 'pixel', the last one 'input'" in page.warnings[0]

    def test_unstructured_checkpoints_are_marked(self) -> None:
        points = self.points([1, 2])
        points[0] = Point(step=1, name="1.pt", profile=make_profile(information=0.0))
        page = track_page(points, None, level=0.95)
        assert "1 checkpoints are unstructured (step 1)" in page.warnings[0]
        chart = drawn(str(page.figures[1].chart))
        assert len([c for c in chart.iter(f"{SVG}circle")]) == 1


class TestCharts:
    def test_the_heat_map_is_a_pixel_for_each_share(self) -> None:
        shares = np.array([[0.0, 0.2, 0.8], [0.4, np.nan, 0.6], [0.8, 0.0, 0.2], [0.1, 0.1, 0.8]])
        chart = drawn(sid_heat_map("h", shares, [0, 5, 6, 7], ["a", "b", "c cycles/px"]))
        image, scale = chart.iter(f"{SVG}image")
        content = (image.get("href") or "").partition("base64,")[2]
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
        assert pixels.shape == (3, 4, 4)
        # The lowest band is at the bottom; the least share dark, the greatest (0.8) light.
        assert pixels[2, 0, :3].tolist() == COLOURS[0].tolist()
        assert pixels[0, 0, :3].tolist() == COLOURS[-1].tolist()
        assert pixels[2, 1, :3].tolist() == COLOURS[4].tolist()
        assert pixels[1, 1, 3] == 0
        assert (pixels[..., 3] == 0).sum() == 1
        assert float(scale.get("width") or 0) == float(image.get("width") or 0)
        texts = [text.text for text in chart.iter(f"{SVG}text")]
        assert {"a", "b", "c", "0", "5", "6", "7", "0.0", "0.8", "SID", "step"} <= set(texts)
        hits = [each for each in chart.iter(f"{SVG}rect") if each.get("class") == "hit"]
        assert [each.get("data-row") for each in hits] == ["0", "1", "2", "3"]

    @pytest.mark.parametrize("count", [1, 2, 60, 1000])
    def test_no_step_is_written_over_another(self, count: int) -> None:
        steps = [1000 * place for place in range(count)]
        chart = drawn(sid_heat_map("h", np.full((count, 4), 0.25), steps, list("abcd")))
        shown = [text for text in chart.iter(f"{SVG}text") if (text.text or "").isdigit()]
        places = [float(text.get("x") or 0) for text in shown]
        widths = [6 * len(text.text or "") for text in shown]
        apart = np.diff(places)
        assert len(shown) >= 1
        assert all(apart >= widths[1:])

    def test_curves_stand_over_their_steps_and_break_at_gaps(self) -> None:
        values = [0.1, 0.3, None, 0.2, 0.3]
        curve = Curve("signed SRC", values, [0.0] * 5, [float("inf")] * 5, line=[0.2, 0.3])
        chart = drawn(curves_chart("c", [curve], [1, 2, 3, 4, 5]))
        lines = [
            [tuple(map(float, pair.split(","))) for pair in (each.get("points") or "").split()]
            for each in chart.iter(f"{SVG}polyline")
        ]
        assert [len(line) for line in lines] == [2, 2, 2]
        step = (346 - 62) / 5
        expected = [62 + step * (place + 0.5) for place in (0, 1, 3, 4, 3, 4)]
        assert [x for line in lines for x, _ in line] == pytest.approx(expected, abs=0.06)
        heights = [y for line in lines for _, y in line]
        assert heights[0] > heights[2] > heights[1]
        assert heights[1] == heights[3] == heights[5]
        assert len(list(chart.iter(f"{SVG}polygon"))) == 2


def test_steps_are_called_what_the_names_call_them() -> None:
    assert unit_of(["run/epoch1.pt", "Epoch-02.ckpt"]) == "epoch"
    assert unit_of(["epoch1.pt", "last.pt"]) == unit_of(["a1.pt"]) == unit_of([]) == "step"

"""What the page of wrong things says of each of them, line by line."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.v2  # noqa: F401 (cannot be imported twice)
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from wave_models import MODELS

# pytester forgets, after each run in process, the modules that the run imported; torch cannot be
# imported twice.
import pytest_iaside.report.html
import pytest_iaside.report.terminal
import pytest_iaside.testing.spectral  # noqa: F401
from pytest_iaside import (
    BaselineError,
    Classifier,
    Execution,
    ModelError,
    ReferenceSample,
    ReferenceSampleError,
    SettingsError,
    assert_equivalent_robustness,
    assert_preprocessing_robustness,
    assert_spectral_robustness,
    compare,
    measure,
)
from pytest_iaside.errors import OutOfTimeError
from pytest_iaside.testing.factories import named_reference
from pytest_iaside.testing.session import CI_VARIABLES

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "when-something-is-wrong.md"
SIDE, CLASSES = 16, 3
USUAL = ("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:html")
HELPERS = """
import contextlib, pytest
from pytest_iaside import assert_spectral_robustness as gate

@pytest.fixture
def spectral_reference():
    return reference()
"""
GATE = "def test_it():\n    gate(model, bands=4)\n"


class Lines:
    """What each line of the table promises, brought about."""

    def __init__(self, pytester: pytest.Pytester, patch: pytest.MonkeyPatch) -> None:
        self.pytester, self.patch, self.folder = pytester, patch, pytester.path
        for name in (*CI_VARIABLES, "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS", "GAIN"):
            patch.delenv(name, raising=False)

    # --------------------------------------------------------------- helpers

    def sample(self, **more: Any) -> ReferenceSample:
        pictures = torch.rand(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
        return ReferenceSample(pictures, **more)

    def net(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, CLASSES))

    def fails(self, kind: type[Exception], match: str, call: Callable[[], Any]) -> None:
        with pytest.raises(kind, match=match):
            call()

    def run(self, *options: str, test: str = GATE, gain: float = 1.0) -> pytest.RunResult:
        self.patch.setenv("GAIN", str(gain))
        self.pytester.makepyfile(test_it=f"from models import *\n{test}", models=MODELS + HELPERS)
        if "-n0" in options:
            return self.pytester.runpytest_subprocess(*USUAL, *options)
        return self.pytester.runpytest_inprocess(*USUAL, *options)

    @property
    def baseline(self) -> Path:
        (found,) = self.folder.rglob("__iaside__/*/*.yaml")
        return found

    def saved(self) -> Path:
        profile = measure(self.net(), self.sample(), bands=3)
        return profile.save(self.folder / "baseline.yaml")

    def against(self, path: Path, model: Any = None, **more: Any) -> None:
        settings = {"bands": 3, **more}
        assert_spectral_robustness(model or self.net(), self.sample(), baseline=path, **settings)

    # ----------------------------------------------------------------- lines

    def no_images(self) -> None:
        empty, far = torch.rand(0, 3, 8, 8), torch.full((2, 3, 8, 8), 200.0)
        self.fails(ReferenceSampleError, "no image", lambda: ReferenceSample(empty))
        self.fails(ReferenceSampleError, "image 0.*200.*255", lambda: ReferenceSample(far))
        lost = torch.rand(2, 3, 8, 8)
        lost[1] = torch.nan
        self.fails(ReferenceSampleError, "image 1.*NaN", lambda: ReferenceSample(lost))

    def labels_of_another_number(self) -> None:
        self.fails(ReferenceSampleError, "8 images", lambda: self.sample(labels=[0, 1]))
        labels = [0, 7, 1, 2, 0, 1, 2, 0]
        call = lambda: measure(self.net(), self.sample(labels=labels), bands=3)  # noqa: E731
        self.fails(ReferenceSampleError, "image 1 has label 7, but the model has 3", call)

    def groups_of_another_number(self) -> None:
        images = self.sample().images
        for groups in (["a"] * 3, ["a"] * 7 + [1], ["a"] * 7 + [""], [0.5] * 7 + [float("nan")]):
            call = partial(ReferenceSample, images, groups=groups)
            self.fails(ReferenceSampleError, "strings?|8 images|NaN|nan", call)

    def copies_in_different_groups(self) -> None:
        images = torch.rand(12, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
        images[1] = images[0]
        labels = [0, 0, *([1, 2] * 5)]
        grouped = [ReferenceSample(images, labels, groups=list(range(12)))]
        grouped.append(ReferenceSample(images, labels, groups=[n // 2 for n in range(12)]))
        one, other = (measure(self.net(), each, bands=3) for each in grouped)
        assert one.group_count == 11
        found = compare(one, other)
        assert found.groups == 6
        assert any("groups" in note for note in found.notes)

    def nan_or_infinite(self) -> None:
        net = self.net()
        bad = lambda x: net(x) / (x.mean() < -9)  # noqa: E731
        self.fails(ModelError, "infinite logits for image 0", lambda: measure(bad, self.sample()))
        self.fails(ModelError, "shape", lambda: measure(lambda x: x, self.sample(), bands=3))

    def two_outputs(self) -> None:
        net = self.net()
        both = Classifier(lambda x: {"a": net(x), "b": net(x)})
        call = lambda: measure(both, self.sample(), bands=3)  # noqa: E731
        self.fails(ModelError, r"'a' \(.*'b' \(.*2 of them may be the logits.*output='a'", call)

    def unfit_targets(self) -> None:
        several = Classifier(self.net(), task="multilabel")
        call = lambda: measure(several, self.sample(targets=torch.ones(8, 2)), bands=3)  # noqa: E731
        self.fails(ReferenceSampleError, r"targets of shape \(images, 3\) .*\(8, 2\)", call)
        scored = Classifier(self.net(), score=lambda outputs, targets: outputs.missing)
        none = lambda: measure(scored, self.sample(), bands=3)  # noqa: E731
        self.fails(ReferenceSampleError, "a score needs targets", none)
        broken = lambda: measure(scored, self.sample(labels=[0] * 8), bands=3)  # noqa: E731
        self.fails(ModelError, "score= failed on .* images, the first image 0", broken)

    def probabilities(self) -> None:
        net = self.net()
        call = lambda: measure(lambda x: net(x).softmax(1), self.sample(), bands=3)  # noqa: E731
        self.fails(ModelError, "leave the softmax out", call)

    def training_mode(self) -> None:
        net = nn.Sequential(nn.Dropout(0.5), self.net()).train()
        found = measure(lambda x: [net][0](x), self.sample(), bands=3)
        assert net.training and net[0].training
        expected = measure(net[1], self.sample(), bands=3)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-6)

    def otherwise_the_second_time(self) -> None:
        net = self.net()
        call = lambda: measure(  # noqa: E731
            lambda x: net(nn.functional.dropout(x)), self.sample(), bands=3
        )
        self.fails(ModelError, r"answered image \d differently when it was asked again, by", call)

    def hanging(self) -> None:
        path, net = self.saved(), self.net()

        def hangs(images: Any) -> Any:
            if len(images) == 1:
                time.sleep(60)
            return net(images)

        call = partial(
            assert_spectral_robustness, hangs, self.sample(), baseline=path, timeout="0.2s", bands=3
        )
        self.fails(OutOfTimeError, r"timeout=0\.2s and was stopped, after \d+ forward passes", call)

    def several_threads(self) -> None:
        net = self.net()
        expected = measure(net, self.sample(), bands=3)
        with ThreadPoolExecutor(2) as executor:
            execution = Execution(executor=executor)
            found = measure(net, self.sample(), bands=3, execution=execution)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-6)

    def more_bands(self) -> None:
        call = lambda: measure(self.net(), self.sample(), bands=30)  # noqa: E731
        self.fails(SettingsError, "at most", call)

    def unknown_setting(self) -> None:
        result = self.run("--iaside-update=new", test="def test_it():\n    gate(model, bandz=4)\n")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stdout.fnmatch_lines(["*bandz*bands*"])

    def no_baseline(self) -> None:
        result = self.run()
        result.stdout.fnmatch_lines(["*BaselineError*", '*pytest "test_it.py*--iaside-update=new'])

    def corrupt_baseline(self) -> None:
        path = self.saved()
        path.write_text(path.read_text()[:200])
        before = path.read_bytes()
        self.fails(BaselineError, "baseline.yaml", lambda: self.against(path))
        assert path.read_bytes() == before

    def hostile_file(self) -> None:
        path = self.saved()
        path.write_text("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n")
        self.fails(BaselineError, "baseline.yaml", lambda: self.against(path))

    def edited_numbers(self) -> None:
        path = self.saved()
        arrays = dict(np.load(path.with_suffix(".npz")))
        arrays["values"] = arrays["values"] * 0.5
        import hashlib

        np.savez_compressed(path.with_suffix(".npz"), **arrays)
        digest = hashlib.sha256(path.with_suffix(".npz").read_bytes()).hexdigest()
        path.write_text(re.sub(r"sha256: \w+", f"sha256: {digest}", path.read_text()))
        self.fails(BaselineError, "edited", lambda: self.against(path))

    def other_settings(self) -> None:
        path = self.saved()
        self.fails(
            BaselineError, "bands: candidate 4, baseline 3", lambda: self.against(path, bands=4)
        )

    def unwritable_folder(self) -> None:
        (self.folder / "file").write_text("")
        profile = measure(self.net(), self.sample(), bands=3)
        self.fails(
            BaselineError,
            "nothing was overwritten",
            lambda: profile.save(self.folder / "file/b.yaml"),
        )

    def values_and_channels(self) -> None:
        deep = np.zeros((2, 1, 8, 8), np.uint16)
        self.fails(ReferenceSampleError, r"give range=\(low, high\)", lambda: ReferenceSample(deep))
        last = np.zeros((2, 8, 8, 3), np.uint8)
        self.fails(
            ReferenceSampleError,
            "channels_last=True, and channels_last=False",
            lambda: ReferenceSample(last),
        )

    def ambiguous_datasets(self) -> None:
        image = np.zeros((3, 8, 8), np.uint8)
        for rows, match in (
            ([{"a": image, "b": image}], "columns a, b, .*image=<"),
            ([{"a": image, "label": 0, "class": 1}], "label and class.*label=<"),
            ({"train": []}, "keys train"),
            (DataLoader([image], shuffle=True), "shuffle=False"),  # type: ignore[arg-type]  # a list is one
        ):
            self.fails(ReferenceSampleError, match, partial(ReferenceSample.from_dataset, rows))

    def unreadable_pictures(self) -> None:
        for name, color in (("a.png", 9), ("b.png", 8)):
            Image.new("L", (8, 8), color).save(self.folder / name)
        (self.folder / "b.png").write_text("no picture")
        read = partial(
            ReferenceSample.from_folder, self.folder, labels=None, resize=None, crop=None
        )
        self.fails(ReferenceSampleError, r"b\.png cannot be read", read)
        (note,) = read(on_error="skip").notes
        assert re.match(r"1 of 2 images .* skipped: b\.png cannot be read .*Unidentified", note)

    def different_sizes(self) -> None:
        images = [np.zeros((3, 8, width), np.uint8) for width in (8, 9)]
        match = r"image 1 is 3×8×9 .* image 0 is 3×8×8 .*resize and crop.*by_size"
        self.fails(ReferenceSampleError, match, lambda: ReferenceSample.from_dataset(images))
        assert list(ReferenceSample.by_size(images)) == [(8, 8), (8, 9)]

    def hub(self) -> None:
        self.fails(
            ReferenceSampleError, "names no split", lambda: named_reference("hf://a/b", self.folder)
        )
        self.patch.setitem(sys.modules, "datasets", None)
        read = lambda: named_reference("hf://a/b/test", self.folder)  # noqa: E731
        self.fails(ReferenceSampleError, "pip install", read)

    def two_labels(self) -> None:
        pictures = self.folder / "pictures"
        pictures.mkdir()
        Image.new("RGB", (8, 8), (9, 9, 9)).save(pictures / "a.png")
        (pictures / "labels.csv").write_text("file,label\na.png,0\na.png,1\n")
        self.fails(
            ReferenceSampleError,
            r"a\.png",
            lambda: ReferenceSample.from_folder(pictures, labels=pictures / "labels.csv"),
        )
        Image.new("1", (8000, 7000)).save(pictures / "a.png")
        call = lambda: ReferenceSample.from_folder(pictures, labels=None)  # noqa: E731
        self.fails(ReferenceSampleError, r"a\.png.*56", call)

    def warned_pictures(self) -> None:
        folder = self.folder / "pictures" / "cat"
        folder.mkdir(parents=True)
        for name in "ab":
            Image.new("RGB", (8, 8), (9, 9, 9)).save(folder / f"{name}.png")
        with pytest.warns(UserWarning, match="exact cop|enlarged") as found:
            ReferenceSample.from_folder(self.folder / "pictures")
        told = " ".join(str(each.message) for each in found)
        assert "cop" in told and "enlarge" in told

    def ignores_its_input(self) -> None:
        blind = "lambda x: torch.zeros(len(x), 3) + 1e-9 * x.mean()"
        test = f"def test_it():\n    gate({blind}, bands=4)\n"
        result = self.run("--iaside-update=new", test=test)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert not list(self.folder.rglob("__iaside__/*/*.yaml"))

    def update_on_ci(self) -> None:
        self.patch.setenv("GITHUB_ACTIONS", "true")
        assert self.run("--iaside-update=new").ret == 4

    def update_of_drift(self) -> None:
        assert self.run("--iaside-update=new").ret == 0
        before = self.baseline.read_bytes()
        assert self.run("--iaside-update=all", gain=-0.5).ret == 1
        assert self.baseline.read_bytes() == before
        assert self.run("--iaside-accept-drift", gain=0.1).ret == 0

    def swallowed(self) -> None:
        quiet = "contextlib.suppress(AssertionError)"
        test = f"def test_it():\n    with {quiet}:\n        gate(model, bands=4)\n"
        assert self.run("--iaside-update=new", test=test).ret == 0
        result = self.run(test=test, gain=-0.5)
        assert result.ret == 1
        result.stdout.fnmatch_lines(["test_it.py::test_it did not fail although a gate in it did*"])

    def in_a_fixture(self) -> None:
        test = "@pytest.fixture\ndef f():\n    gate(model, bands=4)\ndef test_it(f):\n    pass\n"
        # In a process of its own: in this one a test is running.
        self.run("-n0", test=test).stdout.fnmatch_lines(["*SettingsError*call the assertion in*"])

    def other_classes(self) -> None:
        wider = nn.Sequential(self.net(), nn.Linear(CLASSES, 5))
        call = partial(assert_equivalent_robustness, wider, self.net(), self.sample(), bands=3)
        self.fails(ModelError, "deployed model has 5 classes, the original 3", call)
        both = [self.net(), self.net()]
        call = partial(assert_equivalent_robustness, both, self.net(), self.sample(), bands=3)
        self.fails(SettingsError, "deployed is a list of 2; give one model", call)
        one = self.net()
        call = partial(assert_equivalent_robustness, one, one, self.sample(), bands=3)
        self.fails(SettingsError, "the same object", call)

    def wrong_pipelines(self) -> None:
        Image.new("RGB", (SIDE, SIDE), (9, 200, 9)).save(self.folder / "a.png")

        def plain(picture: Any) -> torch.Tensor:
            return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255

        for wrong, match in (
            (lambda picture: picture.gone, r"failed on a\.png"),
            (lambda picture: plain(picture) * torch.rand(1), "called again.*random"),
            (lambda picture: picture, "returned a Image .*ToDtype"),
            (lambda picture: plain(picture)[:, ::2], "3×16×16, the other of 3×8×16"),
            (lambda picture: plain(picture) * 9, "normalises pixels in .* by itself"),
        ):
            model = Classifier(self.net(), mean=0.5, std=0.5)
            call = partial(
                assert_preprocessing_robustness, model, wrong, plain, self.folder, labels=None
            )
            self.fails(SettingsError, match, call)


# By the first words of each line.
LINES = {
    "no images;": Lines.no_images,
    "groups of another number": Lines.groups_of_another_number,
    "exact copies of an image": Lines.copies_in_different_groups,
    "labels of another number;": Lines.labels_of_another_number,
    "NaN or infinite logits;": Lines.nan_or_infinite,
    "probabilities instead": Lines.probabilities,
    "two outputs that may": Lines.two_outputs,
    "targets that do not fit": Lines.unfit_targets,
    "a model in training mode": Lines.training_mode,
    "a model that answers": Lines.otherwise_the_second_time,
    "a model that hangs": Lines.hanging,
    "one model in several": Lines.several_threads,
    "more bands than": Lines.more_bands,
    "an unknown or impossible": Lines.unknown_setting,
    "no baseline": Lines.no_baseline,
    "a baseline that is corrupt": Lines.corrupt_baseline,
    "a baseline, history, picture": Lines.hostile_file,
    "a baseline whose numbers": Lines.edited_numbers,
    "a baseline of other settings": Lines.other_settings,
    "a folder that cannot": Lines.unwritable_folder,
    "uint16, CT values": Lines.values_and_channels,
    "a dataset of which two": Lines.ambiguous_datasets,
    "a picture that cannot be decoded": Lines.unreadable_pictures,
    "images of different sizes": Lines.different_sizes,
    "`hf://…` without": Lines.hub,
    "a picture listed with two": Lines.two_labels,
    "pictures that were enlarged": Lines.warned_pictures,
    "a model that ignores": Lines.ignores_its_input,
    "`--iaside-update` on CI": Lines.update_on_ci,
    "`--iaside-update` where": Lines.update_of_drift,
    "a drift that the test": Lines.swallowed,
    "an assertion in a fixture": Lines.in_a_fixture,
    "a deployed model with": Lines.other_classes,
    "a pipeline that fails": Lines.wrong_pipelines,
}


def test_every_line_has_its_test() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    found = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert len(found[1:]) == len(LINES)
    for line, words in zip(found[1:], LINES, strict=True):
        assert line.startswith(words)


@pytest.mark.parametrize("line", list(LINES))
def test_it_is_true(line: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    LINES[line](Lines(pytester, monkeypatch))

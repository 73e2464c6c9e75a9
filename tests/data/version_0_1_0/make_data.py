"""Files as pytest-iaside 0.1.0 wrote them, and what it concluded from them.

Written with version 0.1.0: formats ``iaside-profile/1`` (SpectralProfile.save),
``iaside-readings/1`` (Readings.save) and history 1 (track/history.py, ``PRAGMA user_version``).
A later version must read these files and come to the same conclusions, which are in
``expected.json``. This script is kept to say how they came about; it runs with 0.1.0 only.

    python make_data.py OUTPUT          writes the files and expected.json into OUTPUT
    python make_data.py OUTPUT --check  reads the files in OUTPUT anew, and says whether today's
                                        conclusions are those of expected.json, to the last bit

The package itself and the example project's ``scrapbook`` must be importable. One thread, CPU,
PyTorch without compilation: the same files come out of every run on one machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import scrapbook
import torch
import torch.nn.functional as F
from pytest_iaside.facts import ModelFacts, ReferenceFacts
from pytest_iaside.game.rules import Rules
from pytest_iaside.gate.baseline import Owner, owner_of, path_for
from pytest_iaside.gate.sequential import compare_sequentially, drawing_order, stopping_rule
from pytest_iaside.track.measuring import Tracker
from scrapbook.data import digits
from scrapbook.models import DigitReader, load_digit_reader
from torch import nn

from pytest_iaside import (
    BaselineError,
    Classifier,
    History,
    Limit,
    Point,
    Readings,
    ReferenceSample,
    SpectralProfile,
    Thresholds,
    compare,
    compare_readings,
    measure,
    measure_lens_smoothness,
    measure_perturbations,
    measure_reconstruction_depth,
    measure_scale_reliance,
)
from pytest_iaside.track.checkpoints import find_checkpoints
from pytest_iaside.track.history import key_of
from pytest_iaside.track.trend import fit_trend

RUNNING: dict[str, Any] = {"device": "cpu", "backend": "eager", "batch_size": 64}
BANDS = 5
NUMBER = 20  # of images; a sequential gate looks from 16 on.
FAIL_ON = ("drift", "inconclusive", "any-change")
# EfficientNet-Lite0 on photographs, in nats, and the same leaning on finer detail.
PHOTO_PSI = np.array([4.75, 1.47, 0.50, 0.20, 0.16, -0.05, -0.50, -0.23])
FINER_PSI = np.array([3.05, 1.27, 0.80, 0.65, 0.50, 0.30, -0.50, -0.05])


# ---------------------------------------------------------------------------------------- models


class FineReader(nn.Module):
    """The digit reader, fed ``share`` of an image's fine detail in the place of the image.

    Its logits are ``factor`` times as large.
    """

    def __init__(self, share: float = 0.0, factor: float = 1.0) -> None:
        super().__init__()
        self.reader, self.share = flat_reader(factor), share

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        top = (images.shape[-1] - 28) // 2  # 32×32 images have a margin of two pixels.
        images = images[..., top : top + 28, top : top + 28]
        detail = 2 * (images - F.avg_pool2d(images, 3, 1, 1)).abs()
        logits: torch.Tensor = self.reader((1 - self.share) * images + self.share * detail)
        return logits


def flat_reader(factor: float) -> nn.Module:
    """The digit reader with its logits times ``factor``."""
    reader = load_digit_reader()
    with torch.no_grad():
        reader.head.weight.mul_(factor)
        reader.head.bias.mul_(factor)
    return reader


def shaken_reader(amount: float, seed: int) -> nn.Module:
    """The digit reader with noise on all of its weights."""
    reader = load_digit_reader()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in reader.parameters():
            noise = torch.randn(weights.shape, generator=generator)
            weights.add_(amount * weights.std() * noise)
    return reader


def untrained_reader() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DigitReader().eval()


def says_nothing(images: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(images), 10)


# ------------------------------------------------------------------------------------- the files


def write_baselines(folder: Path) -> None:
    """The committed baselines of the example project."""
    committed = Path(scrapbook.__file__).resolve().parents[1] / "tests" / "__iaside__"
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(committed.glob("*/*")):
        if file.suffix in (".yaml", ".npz"):
            shutil.copyfile(file, folder / file.name)


def write_spectral(folder: Path) -> None:
    _, held_out = digits()
    images, labels = held_out.images, held_out.labels
    numbers = ReferenceSample(
        images[:NUMBER], labels[:NUMBER], names=[f"digit {i}" for i in range(NUMBER)]
    )
    backwards = numbers.take(list(range(NUMBER))[::-1])
    test = {"node_id": "tests/test_numbers.py::test_reader[größer]", "name": None}

    def keep(name: str, profile: SpectralProfile, *, whole: bool = False, **header: Any) -> None:
        # As baselines are kept: without the log-likelihoods of all coalitions.
        kept = profile if whole else replace(profile, log_likelihood=None)
        kept.save(folder / f"{name}.yaml", **header)

    def played(model: Any, sample: ReferenceSample, **settings: Any) -> SpectralProfile:
        return measure(model, sample, **{"bands": BANDS, **RUNNING, **settings})

    baseline = played(load_digit_reader(), numbers)
    keep("baseline", baseline, whole=True, test=test)
    keep("same", played(load_digit_reader(), backwards, batch_size=7))
    keep("worse", played(FineReader(1.0, 0.5), numbers))
    keep("worse_value", played(flat_reader(0.3), numbers))
    keep("noisy", played(shaken_reader(0.4, 0), numbers))
    keep("fewer", played(FineReader(0.2), numbers, samples=16))
    keep("unstructured", played(untrained_reader(), numbers, samples=12))
    keep("constant", played(says_nothing, numbers, samples=12))
    others = ReferenceSample(images[100:112], labels[100:112])
    keep("others", played(FineReader(0.2), others))

    unlabelled = ReferenceSample(images[:12])
    predicted = played(load_digit_reader(), unlabelled)
    keep("predicted", predicted)
    keep("predicted_worse", played(FineReader(1.0), unlabelled))

    some = numbers.take(range(12))
    drawn = {"bands": 8, "design": "latin", "partition": "l2", "absence": "gaussian", "seed": 3}
    keep("latin", played(load_digit_reader(), some, **drawn))
    keep("latin_worse", played(FineReader(0.8), some, **drawn))

    soft = torch.full((12, 10), 0.02, dtype=torch.float64)
    soft[torch.arange(12), labels[:12]] = 0.82
    unsure = ReferenceSample(images[:12], soft)
    fed = {"mean": 0.02, "std": 0.9}
    keep("soft", played(Classifier(flat_reader(0.25), **fed), unsure, space="pixel"))
    keep("soft_worse", played(Classifier(FineReader(1.0, 0.1), **fed), unsure, space="pixel"))

    keep("photos", synthetic(PHOTO_PSI, seed=1))
    keep("photos_worse", synthetic(FINER_PSI, seed=2))


def synthetic(psi: np.ndarray, *, seed: int, images: int = NUMBER) -> SpectralProfile:
    """A profile with the mean ``psi``, made up; images with names that are not ASCII."""
    generator = np.random.default_rng(seed)
    shared = 0.1 * np.random.default_rng(0).normal(size=(images, len(psi)))
    own = 0.02 * generator.normal(size=(images, len(psi)))
    image_psi = psi + (shared - shared.mean(axis=0)) + (own - own.mean(axis=0))
    steps = np.linspace(0, 1, len(psi) + 1)
    return SpectralProfile(
        image_psi=image_psi,
        by_size=-6.9 + steps * image_psi.sum(axis=1, keepdims=True),
        log_likelihood=None,
        information=3.0 + 0.1 * generator.normal(size=images),
        digests=tuple(f"{i:032x}" for i in range(images)),
        names=tuple(f"größe 測/{i}.png" for i in range(images)),
        labels=np.arange(images) % 10,
        rules=Rules(bands=len(psi)),
        reference=ReferenceFacts(
            digest="f" * 32, images=images, channels=3, height=64, width=64, labels="predicted"
        ),
        model=ModelFacts(name="made up", classes=1000, fingerprint=f"{seed:016x}"),
        forward_passes=images * (2 ** len(psi) + 1),
        environment={"pytest-iaside": "0.1.0"},
    )


def write_readings(folder: Path) -> None:
    _, held_out = digits()
    pictures = F.pad(held_out.images[:16], (2, 2, 2, 2))  # 32×32 can be halved three times.
    numbers = ReferenceSample(pictures, held_out.labels[:16])
    unlabelled = ReferenceSample(pictures)
    good, worse = FineReader(0.0), FineReader(0.9)
    cells = {"grid": 8, "levels": 3, "designs": 4}
    lens = {"scales": [0.1, 0.3, 0.6, 0.9], "max_samples": 16}
    test = {"node_id": "tests/test_numbers.py::test_reader"}
    for kind, function, sample, settings in (
        ("perturbations", measure_perturbations, numbers, {}),
        ("predicted", measure_perturbations, unlabelled, {"perturbations": [("contrast", 3)]}),
        ("scales", measure_scale_reliance, numbers, cells),
        ("depth", measure_reconstruction_depth, numbers, cells),
        ("lens", measure_lens_smoothness, numbers, lens),
    ):
        baseline = function(good, sample, **settings, **RUNNING)
        name = f"{baseline.kind} {kind}" if kind == "predicted" else baseline.kind
        header = {"test": {**test, "name": name}}
        baseline.save(folder / f"{kind}.yaml", **header)
        after = {**settings, **RUNNING, "labels_from": baseline}
        function(worse, sample, **after).save(folder / f"{kind}_worse.yaml")
        if kind == "perturbations":
            other = {**after, "batch_size": 5}
            backwards = sample.take(list(range(16))[::-1])
            function(good, backwards, **other).save(folder / f"{kind}_same.yaml")
            function(FineReader(0.2), sample, **after).save(folder / f"{kind}_noisy.yaml")
    settings = {"perturbations": [("contrast", 3)], "normaliser": "alexnet", "samples": 8}
    for name, model in (("corruptions", good), ("corruptions_worse", worse)):
        measure_perturbations(model, numbers, **settings, **RUNNING).save(folder / f"{name}.yaml")


def write_history(path: Path) -> None:
    """A run that gets worse, one that stays what it is, and one that is made up."""
    _, held_out = digits()
    numbers = ReferenceSample(held_out.images[:12], held_out.labels[:12])
    history = History(path)
    settings = {"bands": BANDS, **RUNNING}
    for step in range(5):
        profile = measure(FineReader(0.25 * step, 1 - 0.15 * step), numbers, **settings)
        history.add(
            Point(
                run="declining",
                step=100 * step,
                name=f"epoch {step}",
                profile=replace(profile, seconds=0.0),
                accuracy=1 - step / 10,
                loss=None if step == 2 else 0.1 * step,
            )
        )
    # As `iaside track` does, into a history of its own: how long it took is no matter of ours.
    with tempfile.TemporaryDirectory() as folder, _working_in(Path(folder)):
        Path("steady").mkdir()
        for step in range(4):
            weights = shaken_reader(0.002 * step, step).state_dict()
            numbers_beside = {"epoch": step, "val_loss": 0.25 + step / 64}
            torch.save({**numbers_beside, "model": weights}, f"steady/epoch{step}.pt")
        tracked = History("tracked.sqlite")
        tracker = Tracker(
            Classifier(DigitReader(), name="digit reader"),
            numbers,
            tracked,
            run="steady",
            settings=settings,
            anew=True,
        )
        for checkpoint in find_checkpoints(["steady/*.pt"]):
            assert tracker.track(checkpoint).status == "measured"
        with contextlib.closing(sqlite3.connect(tracked.path)) as database:
            keys = dict(database.execute("SELECT step, key FROM points"))
        points = tracked.points()
    for point in points:
        same = replace(point, profile=replace(point.profile, seconds=0.0))
        history.add(same, key=keys[point.step])
    for step in range(3):
        psi = PHOTO_PSI + step / 2 * (FINER_PSI - PHOTO_PSI)
        profile = synthetic(psi, seed=10 + step, images=8)
        # Steps that a float cannot tell apart.
        point = Point(run="größer", step=2**53 + step, name=f"測/{step}", profile=profile, loss=1.5)
        history.add(point)


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


# -------------------------------------------------------------------------- what is said of them


def conclusions(folder: Path) -> dict[str, Any]:
    """What this version says of the files in ``folder``; in plain values."""
    profiles = {
        file.relative_to(folder).as_posix().removesuffix(".yaml"): SpectralProfile.load(file)
        for part in ("baselines", "spectral")
        for file in sorted((folder / part).glob("*.yaml"))
    }
    readings = {
        file.relative_to(folder).as_posix().removesuffix(".yaml"): Readings.load(file)
        for file in sorted((folder / "readings").glob("*.yaml"))
    }
    histories = [History(file) for file in sorted(folder.glob("*.sqlite"))]
    found = {
        "about": {
            "version": "0.1.0",
            "formats": ["iaside-profile/1", "iaside-readings/1", "history 1"],
            "files": "paths without .yaml are relative to this folder",
            "same": "where candidate and baseline are one file, it is read once: compare(x, x)",
            "bands, quantities": "lists, by the band's index or in the order of the quantities",
            "thresholds": "those that are not default_thresholds",
            "default_thresholds": asdict(Thresholds()),
            "candidate_images": "how many of the candidate's, the first; None for all",
            "numbers": "at full precision; 'nan', 'inf' and '-inf' are numbers, too",
        },
        "profiles": {name: _profile(profile) for name, profile in profiles.items()},
        "owners": _owners(folder),
        "drawing_order": _drawing_order(profiles),
        "comparisons": _comparisons(profiles),
        "sequential": _sequential(profiles),
        "refused": _refused(profiles, readings),
        "readings": {name: _reading(each) for name, each in readings.items()},
        "reading_comparisons": _reading_comparisons(readings),
        "histories": {history.path.name: _history(history) for history in histories},
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def _profile(profile: SpectralProfile) -> dict[str, Any]:
    found: dict[str, Any] = {
        "repr": repr(profile),
        "images": len(profile),
        "psi": profile.psi,
        "value": profile.value,
        "sid": profile.sid,
        "src": profile.src,
        "signed_src": profile.signed_src,
        "degenerate": profile.degenerate,
        "structured": profile.structured,
        "unstructured_because": profile.unstructured_because,
        "information": profile.information.mean(),
        "error_bound": None if profile.log_likelihood is None else profile.error_bound(),
        "forward_passes": profile.forward_passes,
        "first_digest": profile.digests[0],
        "last_name": profile.names[-1],
        "labels": profile.labels.shape,
        "key": key_of(
            str(profile.model.fingerprint), profile.rules, profile.reference, profile.digests
        ),
        "intervals": {},
    }
    for what in ("psi", "sid", "signed_src", "value"):
        interval = profile.interval(what)
        found["intervals"][what] = {"low": interval.low, "high": interval.high}
    return found


def _owners(folder: Path) -> list[dict[str, Any]]:
    """Which test each baseline belongs to, and what its file would be called."""
    found = []
    for file in sorted(folder.glob("*/*.yaml")):
        owner = owner_of(file)
        if owner is not None:
            test_file = Path(owner.node_id.partition("::")[0])
            found.append(
                {
                    "file": file.relative_to(folder).as_posix().removesuffix(".yaml"),
                    "node_id": owner.node_id,
                    "name": owner.name,
                    "path": path_for(test_file, owner).as_posix(),
                }
            )
    for test, name in (("test_a", None), ("test_a", "zweite Größe"), ("T::test_a[1-é]", None)):
        owner = Owner(f"tests/test_x.py::{test}", name)
        path = path_for(Path("tests/test_x.py"), owner).as_posix()
        found.append({"file": None, "node_id": owner.node_id, "name": name, "path": path})
    return found


def _drawing_order(profiles: dict[str, SpectralProfile]) -> list[dict[str, Any]]:
    """In which order images are drawn for samples="auto"."""
    names = ("spectral/baseline", "spectral/photos")
    return [
        {"file": name, "seed": seed, "order": drawing_order(profiles[name].digests, seed)}
        for name in names
        for seed in (0, 7)
    ]


def _comparisons(profiles: dict[str, SpectralProfile]) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = [
        {"candidate": name, "baseline": name} for name in profiles if name.startswith("baselines/")
    ]

    def ask(candidate: str, baseline: str = "baseline", **more: Any) -> None:
        names = {"candidate": f"spectral/{candidate}", "baseline": f"spectral/{baseline}"}
        asked.append({**names, **more})

    candidates = ("same", "worse", "worse_value", "noisy", "fewer")
    for name in ("baseline", *candidates, "unstructured", "constant"):
        ask(name)
    ask("baseline", "worse")  # Better, so that notes say so.
    ask("constant", "constant")
    ask("predicted_worse", "predicted")
    ask("latin_worse", "latin")
    ask("soft_worse", "soft")
    ask("photos_worse", "photos")
    ask("photos", "photos_worse")
    for name, other in (("worse", "baseline"), ("others", "baseline")):
        ask(name, other, paired=False)
    any_way = {"direction": "any"}
    ask("same", thresholds=any_way)
    ask("baseline", "worse", thresholds=any_way)
    loose = {
        "min_src": 0.25,
        "max_src_drop": 0.5,
        "max_sid_shift": 0.8,
        "max_value_drop": 0.25,
        "max_band_drop": 0.8,
    }
    ask("worse_value", thresholds=loose)
    ask("worse", thresholds=loose, level=0.99)
    few = dict.fromkeys(("max_src_drop", "max_sid_shift", "max_band_drop"))
    ask("worse", thresholds={**few, "max_value_drop": 0.02}, level=0.9)
    ask("photos_worse", "photos", thresholds={**few, "max_value_drop": None, "min_src": 0.1})
    ask("noisy", candidate_images=1)

    found = []
    for one in asked:
        one = {
            "candidate": one["candidate"],
            "baseline": one["baseline"],
            "candidate_images": one.get("candidate_images"),
            "thresholds": one.get("thresholds", {}),
            "level": one.get("level", 0.95),
            "paired": one.get("paired", True),
        }
        candidate = profiles[one["candidate"]]
        if one["candidate_images"] is not None:
            candidate = candidate.first(one["candidate_images"])
        comparison = compare(
            candidate,
            profiles[one["baseline"]],
            Thresholds(**one["thresholds"]),
            level=one["level"],
            paired=one["paired"],
        )
        found.append({**one, "result": _comparison(comparison)})
    return found


def _sequential(profiles: dict[str, SpectralProfile]) -> list[dict[str, Any]]:
    asked: list[tuple[str, str, dict[str, Any], tuple[bool, ...]]] = [
        (name, name, {}, (False,)) for name in profiles if name.startswith("baselines/")
    ]
    nothing = dict.fromkeys(("max_src_drop", "max_sid_shift", "max_value_drop", "max_band_drop"))
    asked += [
        (f"spectral/{candidate}", f"spectral/{baseline}", thresholds, exhausted)
        for candidate, baseline, thresholds, exhausted in (
            ("same", "baseline", {}, (True,)),
            ("worse", "baseline", {}, (False,)),
            ("noisy", "baseline", {}, (False, True)),
            # Decided after the first look.
            ("worse_value", "baseline", {**nothing, "max_value_drop": 0.07}, (False,)),
            ("noisy", "baseline", {**nothing, "max_src_drop": 0.05}, (False,)),
        )
    ]
    found = []
    for candidate, baseline, given, ways in asked:
        ours, theirs, thresholds = profiles[candidate], profiles[baseline], Thresholds(**given)
        stop = stopping_rule(theirs, thresholds, level=0.95)(ours)
        for exhausted in ways:
            # What was decided earlier is decided on the images up to there.
            count = stop if stop is not None and not exhausted else len(ours)
            comparison = compare_sequentially(
                ours.first(count), theirs, thresholds, level=0.95, exhausted=exhausted
            )
            found.append(
                {
                    "candidate": candidate,
                    "baseline": baseline,
                    "thresholds": given,
                    "level": 0.95,
                    "stop": stop,
                    "candidate_images": count,
                    "exhausted": exhausted,
                    "result": _comparison(comparison),
                }
            )
    return found


def _comparison(comparison: Any) -> dict[str, Any]:
    found = comparison.as_dict()
    changes = found["image_changes"]
    return {
        **_head(comparison, found),
        "checks": _without(found["checks"], "baseline", "candidate"),
        "bands": _columns(found["bands"]),
        "image_changes": changes
        and {
            **{name: changes[name] for name in ("quantity", "unit", "change", "count")},
            # The first alone, for brevity.
            "images": [
                {name: image[name] for name in ("name", "label", "contribution")}
                for image in changes["images"][:1]
            ],
        },
    }


def _head(comparison: Any, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "verdict": found["verdict"],
        "changed": found["changed"],
        "fails": {fail_on: comparison.fails(fail_on) for fail_on in FAIL_ON},
        "summary": found["summary"],
        "images": found["images"],
        "notes": found["notes"],
    }


def _without(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{name: each for name, each in row.items() if name not in names} for row in rows]


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Of all bands, or of all quantities in their order, each thing in a list of its own."""
    names = ("change", "low", "high", "p_value", "moved")
    return {name: [row[name] for row in rows] for name in names}


def _refused(
    profiles: dict[str, SpectralProfile], readings: dict[str, Readings]
) -> list[dict[str, Any]]:
    """Pairs that must not be compared, and why."""
    found = []
    for candidate, baseline in (
        ("spectral/latin", "spectral/baseline"),
        ("spectral/others", "spectral/baseline"),
        ("spectral/predicted", "spectral/baseline"),
        ("spectral/photos", "spectral/baseline"),
        ("readings/perturbations", "readings/scales"),
        ("readings/perturbations", "readings/corruptions"),
        ("readings/predicted", "readings/perturbations"),
    ):
        try:
            if candidate in profiles:
                compare(profiles[candidate], profiles[baseline])
            else:
                compare_readings(readings[candidate], readings[baseline], {})
        except BaselineError as error:
            found.append({"candidate": candidate, "baseline": baseline, "message": str(error)})
        else:
            raise AssertionError(f"{candidate} was compared with {baseline}")
    return found


def _reading(readings: Readings) -> dict[str, Any]:
    interval = readings.interval(0.95)
    return {
        "repr": repr(readings),
        "kind": readings.kind,
        "images": len(readings),
        "quantities": [quantity.name for quantity in readings.quantities],
        "means": readings.values.mean(axis=0),
        "low": interval.low,
        "high": interval.high,
        "settings": dict(readings.settings),
        "forward_passes": readings.forward_passes,
        "labels": readings.labels,
        "first_digest": readings.digests[0],
        "last_name": readings.names[-1],
    }


def _reading_comparisons(readings: dict[str, Readings]) -> list[dict[str, Any]]:
    usual: dict[str, dict[str, dict[str, float | None]]] = {
        "perturbations": {"mpe": {"change": 0.02}, "accuracy": {"change": 0.05}},
        "predicted": {"mpe": {"change": 0.02}, "accuracy": {"change": 0.05}},
        "corruptions": {"mce": {"change": 5.0}, "mpe": {"change": 0.02}},
        "scales": {"fine": {"change": 0.05}},
        "depth": {"depth": {"change": 2.0}},
        "lens": {"arglens": {"change": 0.05}},
    }
    asked: list[dict[str, Any]] = []

    def ask(candidate: str, baseline: str, **more: Any) -> None:
        limits = more.pop("limits", usual[baseline.split("_")[0]])
        names = {"candidate": f"readings/{candidate}", "baseline": f"readings/{baseline}"}
        asked.append({**names, "limits": limits, **more})

    for kind in usual:
        ask(f"{kind}_worse", kind)
    ask("perturbations", "perturbations")
    ask("corruptions", "corruptions")
    ask("perturbations_same", "perturbations")
    ask("perturbations_noisy", "perturbations")
    ask("perturbations", "perturbations_worse")  # Better, so that notes say so.
    ask("perturbations", "perturbations_worse", direction="any")
    ask("lens", "lens_worse")
    ask("scales_worse", "scales", limits={"levels": {"change": 0.1}, "fine": {"bound": 0.3}})
    ask("scales", "scales", limits={"fine": {"bound": 0.3}})
    ask("depth_worse", "depth", limits={"depth": {"change": 0.5, "bound": 3.0}}, level=0.8)
    ask("lens_worse", "lens", limits={"arglens": {"change": 0.5, "bound": 0.65}})

    found = []
    for one in asked:
        limits = {family: Limit(**given) for family, given in one["limits"].items()}
        one = {
            "candidate": one["candidate"],
            "baseline": one["baseline"],
            "limits": {family: asdict(limit) for family, limit in limits.items()},
            "level": one.get("level", 0.95),
            "direction": one.get("direction", "worse"),
        }
        comparison = compare_readings(
            readings[one["candidate"]],
            readings[one["baseline"]],
            limits,
            level=one["level"],
            direction=one["direction"],
        )
        facts = comparison.as_dict()
        shown = {
            "checks": _without(facts["checks"], "better", "baseline", "candidate"),
            "quantities": _columns(facts["quantities"]),
        }
        found.append({**one, "result": {**_head(comparison, facts), **shown}})
    return found


def _history(history: History) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(history.path)) as database:
        keys = {(r, s): k for r, s, k in database.execute("SELECT run, step, key FROM points")}
    trends = []
    for run in history.runs():
        points = history.points(run)
        for last, limits, level in (
            (5, {"max_src_drop": 0.02, "max_value_drop": 0.05}, 0.95),
            (len(points), {"max_src_drop": None, "max_value_drop": 0.3}, 0.99),
        ):
            trend = fit_trend(points[-last:], **limits, level=level)
            trends.append(
                {
                    "run": run,
                    "last": last,
                    **limits,
                    "level": level,
                    "result": {
                        "verdict": trend.verdict,
                        "changed": trend.changed,
                        "fails": {fail_on: trend.fails(fail_on) for fail_on in FAIL_ON},
                        "summary": trend.summary(),
                        "images": trend.images,
                        "notes": trend.notes,
                        "steps": [point.step for point in trend.points],
                        "checks": [asdict(check) for check in trend.checks],
                        "bands": _columns([asdict(band) for band in trend.bands]),
                    },
                }
            )
    return {
        "runs": history.runs(),
        "points": [
            {
                "run": point.run,
                "step": point.step,
                "name": point.name,
                "key": keys[point.run, point.step],
                "accuracy": point.accuracy,
                "loss": point.loss,
                "signed_src": point.profile.signed_src,
                "value": point.profile.value,
                "structured": point.profile.structured,
                "images": len(point.profile),
                "fingerprint": point.profile.model.fingerprint,
            }
            for point in history.points()
        ],
        "trends": trends,
    }


def _plain(value: Any) -> Any:
    """``value`` as JSON holds it; numbers that JSON lacks as text."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _text(found: dict[str, Any]) -> str:
    """One line for each file, comparison or point, so that the file can be read and diffed."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    parts = []
    for name, value in found.items():
        if name == "histories":
            value = {file: _Nested(each) for file, each in value.items()}
        if isinstance(value, dict):
            rows = [
                f"{line(key)}:{_text(each) if isinstance(each, _Nested) else line(each)}"
                for key, each in value.items()
            ]
            parts.append(f"{line(name)}:{{\n" + ",\n".join(rows) + "\n}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            parts.append(f"{line(name)}:[\n" + ",\n".join(map(line, value)) + "\n]")
        else:
            parts.append(f"{line(name)}:{line(value)}")
    return "{\n" + ",\n".join(parts) + "\n}"


class _Nested(dict[str, Any]):
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the folder to write into, or to check")
    parser.add_argument("--check", action="store_true", help="write nothing; compare")
    given = parser.parse_args()
    torch.set_num_threads(1)
    expected = given.output / "expected.json"
    if given.check:
        same = json.loads(expected.read_text(encoding="utf-8")) == conclusions(given.output)
        raise SystemExit(0 if same else "the conclusions are others than those of expected.json")
    given.output.mkdir(parents=True, exist_ok=True)
    given.output = given.output.resolve()
    for name in ("baselines", "spectral", "readings"):
        shutil.rmtree(given.output / name, ignore_errors=True)
    (given.output / "history.sqlite").unlink(missing_ok=True)
    write_baselines(given.output / "baselines")
    write_spectral(given.output / "spectral")
    write_readings(given.output / "readings")
    write_history(given.output / "history.sqlite")
    found = conclusions(given.output)
    text = _text(found) + "\n"
    assert json.loads(text) == found
    (given.output / "expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

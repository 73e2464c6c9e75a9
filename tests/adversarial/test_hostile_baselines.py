"""Baselines that somebody made to hang, to crash, to exhaust whoever reads them, or to deceive."""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hostile import tamed
from profiles import make_profile

from pytest_iaside import BaselineError, Measurement, ReferenceSample, measure
from pytest_iaside.measure.measurement import Measurement as Whole
from pytest_iaside.measure.panel import rightness
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.quantities import ANSWERS, answer_quantities
from pytest_iaside.store import baselines

IMAGES, CLASSES = 12, 5
PANEL = ("white_noise 3", "contrast 3")


def answers(profile: SpectralProfile) -> Measurement:
    """Answers to the images of ``profile`` that fit each other."""
    generator = np.random.default_rng(3)
    labels = profile.labels
    logits = [
        4 * np.eye(CLASSES)[labels] + generator.normal(size=(len(labels), CLASSES))
        for _ in range(1 + len(PANEL))
    ]
    return Whole(
        kind=ANSWERS,
        quantities=answer_quantities(PANEL),
        values=rightness(logits, labels),
        digests=profile.digests,
        names=profile.names,
        labels=labels,
        settings={"panel": list(PANEL), "seed": 0},
        reference=profile.reference,
        model=profile.model,
        forward_passes=3 * len(labels),
    )


def profile() -> SpectralProfile:
    found = make_profile(images=IMAGES)
    found = replace(
        found, labels=np.arange(IMAGES) % CLASSES, model=replace(found.model, classes=CLASSES)
    )
    return replace(found, answers=answers(found))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return profile().save(tmp_path / "net.yaml", test={"node_id": "test_a.py::t", "name": None})


def refused(path: Path, *words: str) -> str:
    with pytest.raises(BaselineError) as raised:
        tamed(lambda: SpectralProfile.load(path))
    message = str(raised.value)
    assert path.stem in message
    assert "version control" in message or "create it anew" in message
    assert len(message) < 1500
    for word in words:
        assert word in message
    # The scan for unused baselines survives it, too.
    tamed(lambda: baselines.unused([path], used=(), tests={}, files=()))
    return message


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path.with_suffix(".npz")) as packed:
        return dict(packed)


def put_bytes(path: Path, content: bytes) -> None:
    """Replace the arrays of ``path`` by ``content``, and the hash in its YAML."""
    path.with_suffix(".npz").write_bytes(content)
    document = yaml.safe_load(path.read_text())
    document["arrays"]["sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(yaml.safe_dump(document, allow_unicode=True))


def put(path: Path, **arrays: Any) -> None:
    """Replace some arrays of ``path``; None takes one away."""
    packed = io.BytesIO()
    whole = arrays_of(path) | arrays
    np.savez_compressed(packed, **{k: v for k, v in whole.items() if v is not None})
    put_bytes(path, packed.getvalue())


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = yaml.safe_load(path.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document, allow_unicode=True))


def test_as_it_was_saved_it_is_read(path: Path) -> None:
    found = tamed(lambda: SpectralProfile.load(path).src)
    assert found == pytest.approx(profile().src)


LAUGHS = "a: &a [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
TEXTS: dict[str, bytes] = {
    "a billion laughs": LAUGHS.encode(),
    "a merge of anchors": b"a: &a {x: 1}\nb: {<<: *a}\n",
    "an anchor that is its own part": b"a: &a [*a]\n",
    "100,000 lists in each other": b"[" * 100_000,
    "100,000 mappings in each other": b"{a: " * 100_000,
    "50,000 dashes": b"- " * 50_000 + b"a",
    "a million values": b"a: [" + b"1," * 400_000 + b"1]",
    "a number of 500,000 digits": b"a: " + b"9" * 500_000,
    "a number in base 60": b"a: 1" + b":59" * 200_000,
    "a date that is none": b"a: 2001-99-99",
    "a number that is none": b"a: 0b",
    "a tag for Python": b"a: !!python/object/apply:os.system ['true']\n",
    "binary that is none": b"a: !!binary '~~~'\n",
    "a key twice": b"a: 1\na: 2\n",
    "a key that is a list": b"? [a]\n: 1\n",
    "a key that is a number": b"1: 2\n",
    "a list": b"- 1\n",
    "a number": b"3\n",
    "nothing": b"",
    "several documents": b"a: 1\n---\nb: 2\n",
    "a cut line": b"a: [1, \n",
    "not UTF-8": b"a: \xff\xfe\n",
    "UTF-16": "a: 1\n".encode("utf-16"),
    "a zero byte": b"a: \x00\n",
    "control characters": b"a: \x1b[31mred\n",
    "a conflict of a merge": b"<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> branch\n",
    "2 MB of spaces": b" " * 2_000_000,
    "a hash that is a list": b"arrays: {sha256: [1]}\n",
    "a hash that is a path": b"arrays: {sha256: ../../../../etc/passwd}\n",
}


@pytest.mark.parametrize("text", list(TEXTS))
def test_text_that_is_no_baseline(path: Path, text: str) -> None:
    path.write_bytes(TEXTS[text])
    refused(path)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2**40)


KINDS: dict[str, Callable[[Path], None]] = {
    "a pipe": _pipe,
    "a device that never ends": lambda path: _link(path, "/dev/zero"),
    "a terminal": lambda path: _link(path, "/dev/tty"),
    "a link to itself": lambda path: _link(path, path.name),
    "a link to nowhere": lambda path: _link(path, "nowhere"),
    "a folder": _folder,
    "a terabyte of nothing": _sparse,
    "an empty file": lambda path: path.write_bytes(b"") and None,
}


@pytest.mark.parametrize("suffix", [".yaml", ".npz"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_something_else_than_a_file(path: Path, kind: str, suffix: str) -> None:
    KINDS[kind](path.with_suffix(suffix))
    refused(path)


def npy(descr: str, shape: str, data: bytes = b"", version: int = 1) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(header)) + header + data


def zipped(members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path.with_suffix(".npz")) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def bomb(path: Path, name: str, megabytes: int) -> bytes:
    """The arrays of ``path``, and so many megabytes of zeros under ``name``."""
    packed = io.BytesIO()
    count = megabytes * 2**20 // 8
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for other, content in members_of(path).items():
            if other != name:
                archive.writestr(other, content)
        with archive.open(name, "w", force_zip64=True) as file:
            file.write(npy("'<f8'", f"({count},)"))
            for _ in range(megabytes):
                file.write(bytes(2**20))
    return packed.getvalue()


def _with(**members: bytes) -> Callable[[Path], bytes]:
    return lambda path: zipped(members_of(path) | {f"{k}.npy": v for k, v in members.items()})


def _lying(path: Path) -> bytes:
    """A member that says it is small, and is not."""
    content = bytearray(bomb(path, "values.npy", 700))
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 1000)
    return bytes(content)


def _twice(path: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name, content in (*members_of(path).items(), *members_of(path).items()):
            archive.writestr(name, content)
    return packed.getvalue()


def _cut_inside(path: Path) -> bytes:
    content = bytearray(path.with_suffix(".npz").read_bytes())
    content[80:120] = bytes(40)
    return bytes(content)


ARCHIVES: dict[str, Callable[[Path], bytes]] = {
    "a bomb where a known array is": lambda path: bomb(path, "values.npy", 700),
    "a bomb that nobody asks for": lambda path: bomb(path, "unused.npy", 700),
    "a size that is a lie": _lying,
    "a million entries": lambda path: b"PK\x01\x02" * 1_000_000 + members_of(path)["values.npy"],
    "an array twice": _twice,
    "packed with LZMA": lambda path: zipped(members_of(path), zipfile.ZIP_LZMA),
    "packed with bzip2": lambda path: zipped(members_of(path), zipfile.ZIP_BZIP2),
    "damaged in the middle": _cut_inside,
    "cut": lambda path: path.with_suffix(".npz").read_bytes()[:-30],
    "no archive": lambda path: b"no archive",
    "a header alone": _with(values=npy("'<f8'", "(12, 8)")),
    "a shape larger than the world": _with(values=npy("'<f8'", f"({10**18}, 8)", bytes(64))),
    "a shape of nothing": _with(values=npy("'<f8'", f"({10**18}, 0)")),
    "text of no length": _with(digests=npy("'<U0'", f"({10**15},)")),
    "a shape below zero": _with(values=npy("'<f8'", "(-1, 8)", bytes(64))),
    "60 dimensions": _with(values=npy("'<f8'", str((1,) * 60), bytes(8))),
    "a shape of text": _with(values=npy("'<f8'", "('a',)", bytes(8))),
    "a type of Python's objects": _with(values=npy("'|O'", "(12, 8)", b"\x80\x04.")),
    "a type that is a structure": _with(values=npy("[('a', '<f8')]", "(96,)", bytes(768))),
    "a type that is code": _with(values=npy("__import__('os').getcwd()", "(1,)", bytes(8))),
    "a type of dates": _with(values=npy("'<M8[ns]'", "(96,)", bytes(768))),
    "complex numbers": _with(values=npy("'<c16'", "(12, 8)", bytes(1536))),
    "a header in 3.0": _with(values=npy("'<f8'", "(12, 8)", bytes(768), version=3)),
    "a header in 9.0": _with(values=npy("'<f8'", "(12, 8)", bytes(768), version=9)),
    "no array": _with(values=b"nothing"),
    "a path as a name": lambda path: zipped(members_of(path) | {"../../values.npy": b"x"}),
    "text beyond Unicode": _with(names=npy("'<U1'", "(12,)", b"\xff\xff\xff\x7f" * 12)),
}


@pytest.mark.parametrize("archive", list(ARCHIVES))
def test_an_archive_that_is_none(path: Path, archive: str) -> None:
    put_bytes(path, ARCHIVES[archive](path))
    refused(path)


def test_another_file_s_arrays(path: Path, tmp_path: Path) -> None:
    other = replace(profile(), digests=tuple(f"{i:032x}" for i in range(50, 50 + IMAGES)))
    other.save(tmp_path / "other.yaml")
    path.with_suffix(".npz").write_bytes((tmp_path / "other.npz").read_bytes())
    refused(path, "is not the file that")


HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no model": lambda d: d.pop("model"),
    "a model that is text": lambda d: d.update(model="net"),
    "a model without a name": lambda d: d["model"].pop("name"),
    "a name that is a list": lambda d: d["model"].update(name=["x"]),
    "a name of 900 kB": lambda d: d["model"].update(name="x" * 900_000),
    "classes that are text": lambda d: d["model"].update(classes="ten"),
    "fewer classes than labels": lambda d: d["model"].update(classes=2),
    "classes below zero": lambda d: d["model"].update(classes=-1),
    "something new about the model": lambda d: d["model"].update(colour="red"),
    "images as large as a city": lambda d: d["reference"].update(height=10**9, width=10**9),
    "images without pixels": lambda d: d["reference"].update(height=0),
    "half a pixel": lambda d: d["reference"].update(height=0.5),
    "fewer images than rows": lambda d: d["reference"].update(images=3),
    "labels of no kind": lambda d: d["reference"].update(labels="guessed"),
    "a digest that is a number": lambda d: d["reference"].update(digest=3),
    "other bands": lambda d: d["settings"].update(bands=7),
    "a million bands": lambda d: d["settings"].update(bands=10**6),
    "bands that are text": lambda d: d["settings"].update(bands="8"),
    "a partition of no kind": lambda d: d["settings"].update(partition="triangles"),
    "settings that are a list": lambda d: d.update(settings=[1]),
    "passes that are text": lambda d: d.update(forward_passes="many"),
    "passes below zero": lambda d: d.update(forward_passes=-5),
    "passes that are true": lambda d: d.update(forward_passes=True),
    "seconds that are none": lambda d: d.update(seconds=float("nan")),
    "an environment of numbers": lambda d: d.update(environment={"torch": 2}),
    "an environment that is a list": lambda d: d.update(environment=[1]),
    "another kind": lambda d: d.update(kind="depth"),
    "a kind that is a list": lambda d: d.update(kind=["spectral"]),
    "a format that is a list": lambda d: d.update(format=["iaside-measurement/1"]),
    "an old format": lambda d: d.update(format="iaside-readings/1", quantities=[3]),
    "another old format": lambda d: d.update(format="iaside-profile/1", rules=3),
    "a panel that is a number": lambda d: d["answers"]["settings"].update(panel=3),
    "a panel of numbers": lambda d: d["answers"]["settings"].update(panel=[3, 4]),
    "a shorter panel": lambda d: d["answers"]["settings"].update(panel=["contrast 3"]),
    "answers that are text": lambda d: d.update(answers="right"),
    "answers of another model": lambda d: d["answers"].update(model={"name": "x", "classes": 2}),
}


@pytest.mark.parametrize("header", list(HEADERS))
def test_a_header_that_says_something_else(path: Path, header: str) -> None:
    edit(path, HEADERS[header])
    refused(path)


def column(path: Path, name: str, value: float, rows: slice = slice(None)) -> dict[str, Any]:
    """The answers of ``path`` with another value in the column ``name``."""
    values = arrays_of(path)["answers"]
    names = [quantity.name for quantity in answer_quantities(PANEL)]
    values[rows, names.index(name)] = value
    return {"answers": values}


def changed(path: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    return {name: change(arrays_of(path)[name])}


ONE = slice(0, 1)
NUMBERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "a temperature of 0": lambda p: column(p, "temperature", 0.0),
    "a temperature of -1": lambda p: column(p, "temperature", -1.0),
    "a temperature that is none": lambda p: column(p, "temperature", np.nan),
    "an infinite temperature": lambda p: column(p, "temperature", np.inf),
    "temperatures that differ": lambda p: column(p, "temperature", 7.0, ONE),
    "an accuracy of 0 everywhere": lambda p: column(p, "accuracy, clean", 0.0),
    "half an accuracy": lambda p: column(p, "accuracy, clean", 0.5, ONE),
    "an accuracy of 2": lambda p: column(p, "accuracy under contrast 3", 2.0, ONE),
    "a log-likelihood above 0": lambda p: column(p, "log-likelihood, clean", 1.0, ONE),
    "a low log-likelihood": lambda p: column(p, "log-likelihood, clean", -9.0),
    "a log-likelihood of -1e300": lambda p: column(p, "L(all)", -1e300, ONE),
    "a probability of 2": lambda p: column(p, "probability of the label, clean", 2.0, ONE),
    "a low probability": lambda p: column(p, "probability of the label, clean", 0.01),
    "another mean": lambda p: column(p, "log-likelihood, clean and perturbed", -5.0),
    "information of 1e9": lambda p: column(p, "information", 1e9),
    "information of -1e9": lambda p: column(p, "information", -1e9),
    "answers that are none": lambda p: changed(p, "answers", lambda a: a * np.nan),
    "fewer answers": lambda p: changed(p, "answers", lambda a: a[:-1]),
    "ψ of 1e300": lambda p: changed(p, "values", lambda a: a * 0 + 1e300),
    "ψ that are none": lambda p: changed(p, "values", lambda a: a * np.nan),
    "ψ that are infinite": lambda p: changed(p, "values", lambda a: a + np.inf),
    "ψ that are halved": lambda p: changed(p, "values", lambda a: a / 2),
    "ψ of one image changed": lambda p: changed(p, "values", lambda a: a + np.eye(len(a), 8)),
    "ψ turned by one image": lambda p: changed(p, "values", lambda a: np.roll(a, 1, axis=0)),
    "ψ in one row": lambda p: changed(p, "values", np.ravel),
    "fewer ψ": lambda p: changed(p, "values", lambda a: a[:-1]),
    "v(all) that is lower": lambda p: changed(p, "by_size", lambda a: a * [*[1] * 8, 1.5]),
    "information that is none": lambda p: changed(p, "information", lambda a: a * np.nan),
    "information far above": lambda p: changed(p, "information", lambda a: a + 500),
    "information far below": lambda p: changed(p, "information", lambda a: a - 500),
    "labels below 0": lambda p: changed(p, "labels", lambda a: a - 9),
    "labels above": lambda p: changed(p, "labels", lambda a: a + 10**6),
    "labels that are fractions": lambda p: changed(p, "labels", lambda a: a + 0.5),
    "labels that are no distributions": lambda p: {"labels": np.ones((IMAGES, CLASSES))},
    "labels in a cube": lambda p: changed(p, "labels", lambda a: a.reshape(3, 2, 2)),
    "a digest that is empty": lambda p: changed(p, "digests", lambda a: np.full_like(a, "")),
    "a digest that is a path": lambda p: changed(p, "digests", lambda a: np.full_like(a, "../x")),
    "digests that are numbers": lambda p: {"digests": np.arange(IMAGES)},
    "fewer digests": lambda p: changed(p, "digests", lambda a: a[:-2]),
    "fewer names": lambda p: changed(p, "names", lambda a: a[:-2]),
    "no digests": lambda p: {"digests": None},
    "no sizes": lambda p: {"by_size": None},
    "no information": lambda p: {"information": None},
    "no labels": lambda p: {"labels": None},
}


@pytest.mark.parametrize("numbers", list(NUMBERS))
def test_numbers_that_nobody_measured(path: Path, numbers: str) -> None:
    put(path, **NUMBERS[numbers](path))
    message = refused(path)
    assert "edited or damaged" in message or "cannot be unpacked" in message


@pytest.mark.parametrize("beginning", range(0, 700, 47))
def test_any_part_of_the_text_cut_out(path: Path, beginning: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:beginning] + content[beginning + 61 :])
    try:
        found = tamed(lambda: SpectralProfile.load(path).src)
    except BaselineError as error:
        assert "net." in str(error)
    else:  # It was the summary, which nobody reads back.
        assert found == pytest.approx(profile().src)


@pytest.mark.parametrize("share", [0.3, 0.98])
@pytest.mark.parametrize("whole", [True, False])
def test_numbers_that_fit_each_other_must_fit_what_the_file_tells(
    tmp_path: Path, share: float, whole: bool
) -> None:
    """ψ and v(all) scaled together, with the right hash: what people read still says the old."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    pictures = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    path = measure(net, ReferenceSample(pictures), bands=3).save(tmp_path / "baseline.yaml")
    store = path.with_suffix(".npz")
    arrays = dict(np.load(store))
    arrays["values"] = arrays["values"] * share
    last = arrays["by_size"][:, :1]
    arrays["by_size"] = last + (arrays["by_size"] - last) * share
    if whole:
        arrays["log_likelihood"] = last + (arrays["log_likelihood"] - last) * share
    np.savez_compressed(store, **arrays)
    digest = hashlib.sha256(store.read_bytes()).hexdigest()
    path.write_text(re.sub(r"sha256: \w+", f"sha256: {digest}", path.read_text()))
    told = "summary: .* where the numbers give" if whole else "where that of its table"
    with pytest.raises(BaselineError, match=rf"baseline\.yaml .*{told}"):
        Measurement.load(path)

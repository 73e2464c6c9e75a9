"""Draws the pictures of the explanation pages, with the charts of the report: docs/pictures.

``python docs/pictures.py``, which ``make docs`` runs, draws them from two measurements that are
kept: the example project's baseline, and one of a reader that was trained with wrong labels. The
latter is measured anew by ``python docs/pictures.py --measure``. A picture is only written where it
changed by more than rounding, so that another machine does not change files.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_iaside import BandPartition, ReferenceSample, SpectralProfile, measure
from pytest_iaside.images.filters import split
from pytest_iaside.report.charts.gate import Series, psi_chart, sid_chart

HERE = Path(__file__).parent
FOLDER = HERE / "pictures"
EXAMPLE = HERE.parent / "example_project"
BASELINE = (
    EXAMPLE / "tests/__iaside__/test_digits/test_digit_reader_keeps_its_robustness-58bbd2f2.yaml"
)
WORSE = FOLDER / "worse-reader.yaml"
CSS = HERE.parent / "pytest_iaside/report/templates/report.css.j2"
BANDS, SIDE, GAP = 5, 200, 8
ROUNDING = 0.3  # of a pixel in an SVG
GREY = 3  # levels of 256 in a PNG


def psi() -> bytes:
    """ψ of the example's digit reader."""
    return _svg("psi", psi_chart, {"candidate": SpectralProfile.load(BASELINE)}, "psi")


def sid() -> bytes:
    """Its SID."""
    return _svg("sid", sid_chart, {"candidate": SpectralProfile.load(BASELINE)}, "sid")


def compared() -> bytes:
    """ψ of that reader beside one that was trained with wrong labels."""
    both = {"baseline": SpectralProfile.load(BASELINE), "candidate": SpectralProfile.load(WORSE)}
    return _svg("compared", psi_chart, both, "psi")


def _svg(
    ident: str, chart: Callable[..., str], profiles: dict[str, SpectralProfile], what: str
) -> bytes:
    series = []
    for role, profile in profiles.items():
        found = profile.interval(what)
        values = getattr(profile, what).tolist()
        series.append(Series(role, values, found.low.tolist(), found.high.tolist()))
    edges = next(iter(profiles.values())).partition.edges.tolist()
    text = str(chart(ident, edges, series))
    # Alone, a picture shows nothing below its frame: room for what hangs below the last line.
    text = re.sub(r'viewBox="0 0 (\d+) (\d+)"', lambda m: _taller(m[1], m[2]), text, count=1)
    head, tag, rest = text.partition(">")
    return f"{head}{tag}<style>{_styles()}</style>{rest}\n".encode()


def _taller(width: str, height: str) -> str:
    return f'viewBox="0 0 {width} {int(height) + 5}"'


def _styles() -> str:
    """Colours and rules of charts, as the report has them in its light scheme."""
    css = CSS.read_text(encoding="utf-8")
    root = css[css.index(":root") : css.index("}") + 1]
    rules = css[css.index(".chart {") : css.index(".hit:hover")]
    return re.sub(r"\s+", " ", root + rules)


def bands() -> bytes:
    """A photograph, and each of its bands alone, stretched to full contrast."""
    sys.path.insert(0, str(EXAMPLE))
    from scrapbook.data import photographs

    found = photographs()
    image = found.images[found.taken_from.index("astronaut")].float() / 255
    parts = split(image[None], BandPartition(image.shape[1], image.shape[2], BANDS))[0]
    shown = [image.numpy(), *(_stretched(part.numpy()) for part in parts)]
    # Two rows of three, which a phone shows large enough.
    step = SIDE + GAP
    whole = np.full((2 * step - GAP, 3 * step - GAP, 3), 255, np.uint8)
    for place, picture in enumerate(shown):
        pixels = (picture.transpose(1, 2, 0) * 255).round().astype(np.uint8)
        top, left = step * (place // 3), step * (place % 3)
        whole[top : top + SIDE, left : left + SIDE] = np.asarray(
            Image.fromarray(pixels).resize((SIDE, SIDE))
        )
    written = io.BytesIO()
    Image.fromarray(whole).quantize(128).save(written, "PNG", optimize=True)
    return written.getvalue()


def _stretched(part: NDArray[np.float32]) -> NDArray[np.float32]:
    """A band with its middle at grey, and nearly all of it in [0, 1]."""
    most = np.quantile(np.abs(part - part.mean()), 0.995)
    return np.clip(0.5 + (part - part.mean()) / (2 * most), 0, 1)


PICTURES: dict[str, Callable[[], bytes]] = {
    "psi.svg": psi,
    "sid.svg": sid,
    "psi-compared.svg": compared,
    "bands.png": bands,
}


def stale() -> list[str]:
    """The pictures that are not as they would be drawn now, or are missing."""
    return [name for name, draw in PICTURES.items() if not alike(FOLDER / name, draw())]


def alike(path: Path, drawn: bytes) -> bool:
    """Whether the file ``path`` shows what ``drawn`` does, but for rounding."""
    if not path.is_file() or not path.stat().st_size:
        return False
    kept = path.read_bytes()
    if path.suffix == ".png":
        old, new = (_pixels(each) for each in (kept, drawn))
        return old.shape == new.shape and float(np.abs(old - new).mean()) <= GREY
    number = re.compile(rb"-?\d+(?:\.\d+)?")
    if number.sub(b"#", kept) != number.sub(b"#", drawn):
        return False
    pairs = zip(number.findall(kept), number.findall(drawn), strict=True)
    return all(abs(float(old) - float(new)) <= ROUNDING for old, new in pairs)


def _pixels(png: bytes) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float64)


def measure_worse() -> None:
    """Train the reader of wrong labels, and keep what is measured of it."""
    sys.path.insert(0, str(EXAMPLE))
    from scrapbook.data import digits
    from scrapbook.train import train_digit_reader

    _, held_out = digits()
    reference = ReferenceSample(held_out.images[:200], held_out.labels[:200])
    measure(train_digit_reader(wrong_labels=0.3), reference, bands=BANDS).save(WORSE)


if __name__ == "__main__":
    if sys.argv[1:] == ["--measure"]:
        measure_worse()
    for name in stale():
        (FOLDER / name).write_bytes(PICTURES[name]())
        print(f"written: docs/pictures/{name}")

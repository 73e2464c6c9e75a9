"""``iaside explain``: where in one image, and at which scales, a model finds its answer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_iaside.cli.options import PASSED, Commands, written_by
from pytest_iaside.errors import SettingsError
from pytest_iaside.report.printing import tell

if TYPE_CHECKING:
    from pytest_iaside.explain.page import Explained
    from pytest_iaside.explain.perturbed import PerturbedExplanation
    from pytest_iaside.images.reference import ReferenceSample
    from pytest_iaside.stats.estimate import Estimate


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "explain",
        help="show where in an image, and at which scales, a model finds its answer",
        allow_abbrev=False,
    )
    option = parser.add_argument
    usual = "(default %(default)s)"
    option("model", help="package.module:factory, or an .onnx file")
    option("images", metavar="IMAGE", nargs="+", help="a file with a picture, or several")
    folder = "iaside-explanation"
    option("--output", metavar="FOLDER", default=folder, help=f"where to write {usual}")
    option("--class", dest="label", type=int, help="explain this class, not the predicted one")
    option("--resize", default="256", help=f"shorter side in pixels first, or none {usual}")
    option("--crop", default="224", help=f"side of the square cut from the middle, or none {usual}")
    option("--grey", action="store_true", help="one channel, for models of grey images")
    option("--grid", type=int, help="cells on each side (default: what fits, 16 at most)")
    option("--levels", type=int, help="wavelet levels (default: what fits, 3 at most)")
    option("--perturb", metavar="NAME:SEVERITY", help="compare with the image under fog:3, say")
    option("--points", type=int, default=8, help=f"Sobol points {usual}")
    option("--wavelet", default="haar", help=f"any orthonormal one {usual}")
    option("--seed", type=int, default=0, help=f"of all that is drawn {usual}")
    option("--device", default="auto", help="auto, cpu, cuda, …")
    option("--backend", default="auto", help="auto, eager, compile, openvino, onnx")
    option("--executor", help="workers that share WCAM and FAM: process:4, dask://host:port, …")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    from pytest_iaside.testing.factories import named_model

    samples = [_image(Path(each), options) for each in options.images]
    model, folder = named_model(options.model, Path()), Path(options.output)
    for sample, to in zip(samples, _folders(folder, options.images), strict=True):
        _tell(_explained(model, sample, options), to, command)
    return PASSED


def _folders(folder: Path, images: Sequence[str]) -> list[Path]:
    """Where the page of each of ``images`` goes: several have a folder each, by their names."""
    if len(images) == 1:
        return [folder]
    names = [Path(each).stem for each in images]
    # Two of one name are told apart by their number.
    return [
        folder / (name if names.count(name) == 1 else f"{name}-{number}")
        for number, name in enumerate(names, 1)
    ]


def _tell(found: Explained, folder: Path, command: str) -> None:
    from pytest_iaside.explain.page import page, pictures
    from pytest_iaside.report.charts.heat import png
    from pytest_iaside.report.pages import write_page

    drawn = pictures(found)
    shown = page(found, drawn, 0.95)
    written = write_page(shown, folder / "index.html", meta=written_by(command))
    for name, pixels in drawn.items():
        (folder / f"{name}.png").write_bytes(png(pixels))
    tell(shown.headline)
    tell(shown.about)
    for figure in shown.figures:
        if figure.table is not None:
            tell(f"\n{figure.title}")
            for cells in figure.table.rows:
                name, *numbers = (cell.text for cell in cells)
                tell("  ".join(("", name.ljust(26), *(each.rjust(8) for each in numbers))))
    if found.perturbed is not None:
        tell(f"\n{found.perturbed.sentence(0)}")
    tell(f"\nwritten: {written}, and {len(drawn)} pictures beside it")


def _image(path: Path, options: argparse.Namespace) -> ReferenceSample:
    from pytest_iaside.images.pictures import read_image
    from pytest_iaside.images.reference import ReferenceSample

    if not path.is_file():
        raise SettingsError(f"{path} is no file; give a picture, such as photo.jpg")
    sides = {name: _size(f"--{name}", getattr(options, name)) for name in ("resize", "crop")}
    pixels = read_image(path, **sides, grey=options.grey)
    return ReferenceSample(pixels[None], names=[path.name])


def _explained(model: Any, sample: ReferenceSample, options: argparse.Namespace) -> Explained:
    from pytest_iaside.execute.execution import Execution
    from pytest_iaside.explain.explanation import explain
    from pytest_iaside.explain.faithfulness import deletion, insertion
    from pytest_iaside.explain.fam import fam
    from pytest_iaside.explain.gradients import integrated_gradients
    from pytest_iaside.explain.page import Explained
    from pytest_iaside.explain.wcam import reconstruct

    execution = Execution(device=options.device, backend=options.backend, executor=options.executor)
    how = {name: getattr(options, name) for name in ("grid", "points", "wavelet", "seed")}
    explanation = explain(
        model, sample, options.label, wavelet_levels=options.levels, **how, execution=execution
    )
    classes, lens = explanation.classes, explanation.lens
    maps = {"WCAM in place": explanation.wavelet.spatial}
    integrated = None
    if lens is not None:
        integrated = integrated_gradients(model, sample, classes, execution=execution)
        maps |= {
            "SpectralLens": lens.sl2,
            "squared gradients": lens.sg2_at_optimum,
            "integrated squared gradients": integrated.ig2,
        }

    def score(area: Callable[..., Estimate], each: Any) -> float:
        return area(model, sample, classes, each, score="probability", execution=execution).value

    return Explained(
        sample=sample,
        explanation=explanation,
        fourier=fam(model, sample, classes, seed=options.seed, execution=execution),
        reconstruction=reconstruct(model, sample, explanation.wavelet, execution=execution),
        integrated=integrated,
        perturbed=_perturbed(model, sample, options, classes, execution),
        scores={name: (score(insertion, m), score(deletion, m)) for name, m in maps.items()},
    )


def _perturbed(
    model: Any, sample: ReferenceSample, options: argparse.Namespace, classes: Any, execution: Any
) -> PerturbedExplanation | None:
    """The image under the perturbation that was asked for, beside it; None where none was."""
    if options.perturb is None:
        return None
    from pytest_iaside.explain.perturbed import explain_perturbed

    name, _, severity = options.perturb.partition(":")
    if not severity.isdigit():
        raise SettingsError(
            f"--perturb={options.perturb}: expected a corruption and its severity, 1 to 5, such as "
            "fog:3"
        )
    return explain_perturbed(
        model,
        sample,
        (name, int(severity)),
        classes,
        grid=options.grid,
        wavelet_levels=options.levels,
        points=options.points,
        wavelet=options.wavelet,
        seed=options.seed,
        execution=execution,
    )


def _size(option: str, text: str) -> int | None:
    if text == "none":
        return None
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"{option}={text}: expected a number of pixels, or none")
    return int(text)

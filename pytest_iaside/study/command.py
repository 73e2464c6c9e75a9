"""``iaside study``: what spectral robustness says about a set of models, or a training run."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_iaside.cli.options import (
    DRIFTED,
    MEASURING,
    PASSED,
    Commands,
    add_no_cache,
    add_reference,
    add_settings,
    read_reference,
    read_settings,
    terminal_progress,
    written_by,
)
from pytest_iaside.errors import SettingsError

if TYPE_CHECKING:
    from pytest_iaside.report.pages import Page
    from pytest_iaside.settings import Settings
    from pytest_iaside.study.measured import LeftOut, MeasuredModel, Measuring
    from pytest_iaside.study.models import StudyModel

FOLDER = "iaside-study"
KEPT = "correlation-kept"
FAILED = DRIFTED  # some of the models: the rest is written


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "study", help="compare many models, or the checkpoints of one", allow_abbrev=False
    )
    studies = parser.add_subparsers(required=True, metavar="STUDY")
    add_correlation(studies)
    add_of_models(studies, "label-noise", "SIDs against the share of wrong labels", label_noise)
    projected = add_of_models(studies, "architectures", "SIDs in a plane", architectures)
    projected.add_argument(
        "--projection",
        choices=("auto", "tsne", "pca"),
        default="auto",
        help="t-SNE (scikit-learn), PCA, or t-SNE where it is installed (auto)",
    )
    projected.add_argument(
        "--perplexity", type=float, help="of t-SNE; a third of the models, at most 30, if not given"
    )
    projected.add_argument("--projection-seed", type=int, default=0, help="of t-SNE (0)")
    add_training(studies)


def add_correlation(studies: Commands[argparse.ArgumentParser]) -> None:
    parser = add_of_models(studies, "correlation", "does SRC follow robustness?", correlation)
    parser.add_argument(
        "--perturbations",
        metavar="LIST",
        help="corruption:severity and attack:eps, such as gaussian_noise:2,fgsm:0.1,pgd:8/255; "
        "eleven usual ones of noise, blur, light, coding and attacks if not given",
    )


def add_of_models(
    studies: Commands[argparse.ArgumentParser],
    name: str,
    about: str,
    run: Callable[[argparse.Namespace, str], int],
) -> argparse.ArgumentParser:
    """The parser of a study of a set of models."""
    parser = studies.add_parser(name, help=about, allow_abbrev=False)
    parser.add_argument(
        "models", help="package.module:function that returns a mapping from names to models"
    )
    add_reference(parser)
    add_output(parser)
    add_no_cache(parser)
    add_settings(parser, MEASURING)
    parser.set_defaults(run=run)
    return parser


def add_training(studies: Commands[argparse.ArgumentParser]) -> None:
    parser = studies.add_parser("training", help="SIDs over a training run", allow_abbrev=False)
    parser.add_argument("history", help="the file that iaside track wrote")
    parser.add_argument("--run", dest="training_run", metavar="NAME", help="which of its runs")
    add_output(parser)
    add_settings(parser, ("level",))
    parser.set_defaults(run=training)


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", metavar="DIR", default=FOLDER, help=f"the folder to write to ({FOLDER})"
    )


def correlation(options: argparse.Namespace, command: str) -> int:
    models, measuring, settings = _read(options, least=3)
    from pytest_iaside.study.correlation import ComparedModel, correlation_study
    from pytest_iaside.study.pages import correlation as shown
    from pytest_iaside.study.perturbations import chosen_perturbations

    chosen = chosen_perturbations(options.perturbations, measuring.reference)
    for name, reason in chosen.left_out.items():
        print(f"{name} left out: {reason}")

    def told(found: ComparedModel) -> None:
        mean = float(found.robustness.errors.mean())
        _tell(found.measured, f"mean mPE {mean:.3f}")

    study = correlation_study(
        models,
        measuring,
        chosen.perturbations,
        seed=int(settings.measure.get("seed", 0)),
        level=settings.level,
        folder=None if options.no_cache else Path(options.output) / KEPT,
        told=told,
    )
    result = Result(shown.page(study), shown.lines(study), study.as_dict(), study.left_out)
    return _finish("correlation", result, options, command)


def label_noise(options: argparse.Namespace, command: str) -> int:
    models, measuring, settings = _read(options, least=3)
    from pytest_iaside.study.label_noise import label_noise_study
    from pytest_iaside.study.pages import label_noise as shown

    study = label_noise_study(models, measuring, level=settings.level, told=_tell)
    result = Result(shown.page(study), shown.lines(study), study.as_dict(), study.left_out)
    return _finish("label-noise", result, options, command)


def architectures(options: argparse.Namespace, command: str) -> int:
    models, measuring, settings = _read(options, least=3)
    from pytest_iaside.study.architectures import architectures_study
    from pytest_iaside.study.pages import architectures as shown

    study = architectures_study(
        models,
        measuring,
        projection=options.projection,
        seed=options.projection_seed,
        perplexity=options.perplexity,
        told=_tell,
    )
    page = shown.page(study, settings.level)
    result = Result(page, shown.lines(study), study.as_dict(), study.left_out)
    return _finish("architectures", result, options, command)


def training(options: argparse.Namespace, command: str) -> int:
    settings = read_settings(options, ("level",))
    from pytest_iaside.study.pages import training as shown
    from pytest_iaside.study.training import training_study
    from pytest_iaside.track.history import History

    path = Path(options.history)
    if not path.is_file():
        raise SettingsError(f"there is no file {path}; iaside track writes one")
    history = History(path)
    runs = history.runs()
    run = options.training_run
    if run is None and len(runs) > 1:
        raise SettingsError(f"{path} holds the runs {', '.join(runs)}; choose one with --run")
    if run is not None and run not in runs:
        raise SettingsError(f"{path} holds no run {run!r}; it has {', '.join(runs) or 'none'}")
    study = training_study(history.points(run), level=settings.level)
    result = Result(shown.page(study), shown.lines(study), study.as_dict())
    return _finish("training", result, options, command)


def _read(options: argparse.Namespace, least: int) -> tuple[list[StudyModel], Measuring, Settings]:
    """The models, and how they are to be measured; raises SettingsError."""
    settings = read_settings(options, MEASURING)
    from pytest_iaside.study.measured import Measuring
    from pytest_iaside.study.models import study_models
    from pytest_iaside.testing.factories import named_object

    made = named_object(options.models, "a set of models", "package.module:function")
    models = study_models(made, options.models, least)
    measuring = Measuring.of(
        read_reference(options),
        settings.measure,
        cache=not options.no_cache,
        showing=terminal_progress,
    )
    return models, measuring, settings


def _tell(found: MeasuredModel, more: str = "") -> None:
    from pytest_iaside.study.pages.common import model_line

    print(model_line(found, more), flush=True)


@dataclass(frozen=True)
class Result:
    """A study as its page, its lines on a terminal and its JSON, and the models it lacks."""

    page: Page
    lines: Sequence[str]
    found: Mapping[str, Any]
    left_out: Sequence[LeftOut] = ()


def _finish(name: str, result: Result, options: argparse.Namespace, command: str) -> int:
    """Write what was found, and print it; the exit status."""
    from pytest_iaside.report.pages import write_page
    from pytest_iaside.report.writing import write_text

    folder = Path(options.output)
    meta = written_by(command)
    document = {"format": f"iaside-study-{name}/1", "meta": meta, **result.found}
    text = json.dumps(_plain(document), indent=1, allow_nan=False)
    data = write_text(text + "\n", folder / f"{name}.json", "choose another with --output")
    html = write_page(result.page, folder / f"{name}.html", meta=meta)
    print()
    print("\n".join(result.lines))
    print(f"\nwritten: {html} and {data.name}")
    for model in result.left_out:
        print(f"iaside: {model.name} was left out: {model.reason}", file=sys.stderr)
    return FAILED if result.left_out else PASSED


def _plain(value: Any) -> Any:
    """``value`` for JSON, which knows neither NaN nor infinity: both become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""``iaside study``: what spectral robustness says about a set of models, or a training run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytest_iaside.cli import options as cli
from pytest_iaside.errors import SettingsError
from pytest_iaside.report.printing import tell

if TYPE_CHECKING:
    from pytest_iaside.measure.answers import Perturbation
    from pytest_iaside.settings import Settings
    from pytest_iaside.study.models import MeasuredModel, Measuring, StudyModel

FOLDER = "iaside-study"
FAILED = cli.DRIFTED  # some of the models: the rest is written


def add(commands: cli.Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "study", help="compare many models, or the checkpoints of one", allow_abbrev=False
    )
    studies = parser.add_subparsers(required=True, metavar="STUDY")

    def add_of_models(name: str, about: str, run: Any) -> argparse.ArgumentParser:
        study = studies.add_parser(name, help=about, allow_abbrev=False)
        study.add_argument(
            "models", help="package.module:function that returns a mapping from names to models"
        )
        cli.add_reference(study)
        _add_output(study)
        cli.add_no_cache(study)
        cli.add_settings(study, cli.MEASURING)
        study.set_defaults(run=run)
        return study

    study = add_of_models("correlation", "does SRC follow robustness?", correlation)
    usual = "eleven usual ones of noise, blur, light, coding and attacks if not given"
    _add_perturbations(study, usual)
    study.add_argument(
        "--predictors",
        metavar="LIST",
        help="more of them: levels,depth,arglens (these cost passes), interactions, parameters and "
        "noise",
    )
    study.add_argument(
        "--mce", action="store_true", help="also against the mCE: 75 more passes an image"
    )
    _add_beta(study)
    study = add_of_models("covariate", "SIDs and robustness against any number", covariate)
    study.add_argument(
        "--covariate",
        required=True,
        metavar="NAME",
        help="a number that each model gives as StudyModel(covariates=…), noise, or parameters, "
        "which are counted",
    )
    _add_perturbations(study, f"{usual}, or none")
    _add_beta(study)
    about = "r and the charts are of the logarithm, as for sizes"
    study.add_argument("--log", action="store_true", help=about)
    about = "SIDs against the share of wrong labels: covariate noise, without perturbations"
    study = add_of_models("label-noise", about, label_noise)
    _add_beta(study)
    study = add_of_models("architectures", "SIDs in a plane", architectures)
    study.add_argument(
        "--projection",
        choices=("auto", "tsne", "pca"),
        default="auto",
        help="t-SNE (scikit-learn), PCA, or t-SNE where it is installed (auto)",
    )
    about = "of t-SNE; a third of the models, at most 30, if not given"
    study.add_argument("--perplexity", type=float, help=about)
    study.add_argument("--projection-seed", type=int, default=0, help="of t-SNE (0)")
    study = studies.add_parser("training", help="SIDs over a training run", allow_abbrev=False)
    study.add_argument("history", help="the file that iaside track wrote")
    study.add_argument("--run", dest="training_run", metavar="NAME", help="which of its runs")
    _add_output(study)
    cli.add_settings(study, ("level",))
    study.set_defaults(run=training)


def _add_perturbations(parser: argparse.ArgumentParser, usual: str) -> None:
    how = "corruption:severity and attack:eps, such as gaussian_noise:2,fgsm:0.1,pgd:8/255"
    parser.add_argument("--perturbations", metavar="LIST", help=f"{how}; {usual}")


def _add_beta(parser: argparse.ArgumentParser) -> None:
    about = "more scores, whose bands weigh β times as much each as the one below (0.5,0.9)"
    parser.add_argument("--beta", metavar="LIST", help=about)


def _betas(text: str | None) -> tuple[float, ...]:
    """The numbers in ``text``, commas between them; raises SettingsError."""
    found = []
    for part in [] if text is None else text.split(","):
        try:
            beta = float(part)
        except ValueError:
            beta = float("nan")
        if not 0 < beta < 1:
            raise SettingsError(
                f"--beta holds {part.strip()!r}; give numbers between 0 and 1, such as 0.5,0.9"
            )
        found.append(beta)
    return tuple(found)


def _add_output(parser: argparse.ArgumentParser) -> None:
    about = f"the folder to write to ({FOLDER})"
    parser.add_argument("--output", metavar="DIR", default=FOLDER, help=about)


def correlation(options: argparse.Namespace, command: str) -> int:
    models, measuring, settings = _read(options)
    from pytest_iaside.study import correlation_page
    from pytest_iaside.study.correlation import correlation_study
    from pytest_iaside.study.predictors import chosen_predictors

    predictors, betas = chosen_predictors(options.predictors), _betas(options.beta)
    perturbations = _perturbations(options, measuring)
    study = correlation_study(
        models,
        measuring,
        perturbations,
        predictors=predictors,
        betas=betas,
        mce=options.mce,
        seed=int(settings.measure.get("seed", 0)),
        level=settings.level,
        folder=_kept(options),
        told=_tell_robustness,
    )
    return _finish("correlation", study, correlation_page, options, command)


def covariate(options: argparse.Namespace, command: str) -> int:
    models, measuring, settings = _read(options)
    from pytest_iaside.study import covariate_page
    from pytest_iaside.study.compared import comparing
    from pytest_iaside.study.covariate import covariate_study

    betas, without = _betas(options.beta), options.perturbations == "none"
    how: dict[str, Any] = {"told": _tell}
    if not without:
        seed = int(settings.measure.get("seed", 0))
        perturbations = _perturbations(options, measuring)
        how["measured"] = comparing(measuring, perturbations, seed=seed, folder=_kept(options))
        how["told"] = _tell_robustness
    study = covariate_study(
        models,
        measuring,
        options.covariate,
        betas=betas,
        logarithm=options.log,
        level=settings.level,
        **how,
    )
    return _finish("covariate", study, covariate_page, options, command)


def label_noise(options: argparse.Namespace, command: str) -> int:
    models, measuring, settings = _read(options)
    from pytest_iaside.study import covariate_page
    from pytest_iaside.study.covariate import covariate_study

    betas, level = _betas(options.beta), settings.level
    study = covariate_study(models, measuring, "noise", betas=betas, level=level, told=_tell)
    return _finish("label-noise", study, covariate_page, options, command, version=2)


def architectures(options: argparse.Namespace, command: str) -> int:
    models, measuring, settings = _read(options)
    from pytest_iaside.study import architectures as shown

    study = shown.architectures_study(
        models,
        measuring,
        projection=options.projection,
        seed=options.projection_seed,
        perplexity=options.perplexity,
        level=settings.level,
        told=_tell,
    )
    return _finish("architectures", study, shown, options, command)


def training(options: argparse.Namespace, command: str) -> int:
    settings = cli.read_settings(options, ("level",))
    from pytest_iaside.study import training as shown
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
    study = shown.training_study(history.points(run), level=settings.level)
    return _finish("training", study, shown, options, command)


def _read(options: argparse.Namespace) -> tuple[list[StudyModel], Measuring, Settings]:
    settings = cli.read_settings(options, cli.MEASURING)
    from pytest_iaside.study.models import Measuring, study_models
    from pytest_iaside.testing.factories import named_object

    made = named_object(options.models, "a set of models", "package.module:function")
    models = study_models(made, options.models)
    measuring = Measuring(
        reference=cli.read_reference(options),
        settings=settings.measure,
        cache=not options.no_cache,
        showing=cli.terminal_progress,
    )
    return models, measuring, settings


def _perturbations(options: argparse.Namespace, measuring: Measuring) -> dict[str, Perturbation]:
    """Those that were asked for, or the usual ones that fit the images."""
    from pytest_iaside.study.robustness import chosen_perturbations

    found, left_out = chosen_perturbations(options.perturbations, measuring.reference)
    for name, reason in left_out.items():
        tell(f"{name} left out: {reason}")
    return found


def _kept(options: argparse.Namespace) -> Path | None:
    """Where what perturbations did is kept, for all studies of one folder."""
    return None if options.no_cache else Path(options.output) / "correlation-kept"


def _tell_robustness(found: Any) -> None:
    _tell(found, f"mean mPE {found.robustness.errors.mean():.3f}")


def _tell(found: MeasuredModel, more: str = "") -> None:
    from pytest_iaside.study.pages import model_line

    tell(model_line(found, more))


def _finish(
    name: str,
    study: Any,
    shown: ModuleType,
    options: argparse.Namespace,
    command: str,
    version: int = 1,
) -> int:
    """Write and print what was found, as ``shown`` words it; the exit status."""
    from pytest_iaside.report.pages import write_page
    from pytest_iaside.report.writing import write_text

    folder, meta = Path(options.output), cli.written_by(command)
    document = {"format": f"iaside-study-{name}/{version}", "meta": meta, **study.as_dict()}
    text = json.dumps(document, default=lambda array: array.tolist())
    # JSON knows neither NaN nor infinity: both become null.
    plain = json.loads(text, parse_constant=lambda _: None)
    text = json.dumps(plain, indent=1, allow_nan=False) + "\n"
    data = write_text(text, folder / f"{name}.json", "choose another with --output")
    html = write_page(shown.page(study), folder / f"{name}.html", meta=meta)
    tell("", *shown.lines(study))
    tell(f"\nwritten: {html} and {data.name}")
    left_out = getattr(study, "left_out", ())
    for model, reason in left_out:
        tell(f"iaside: {model} was left out: {reason}", to=sys.stderr)
    return FAILED if left_out else cli.PASSED

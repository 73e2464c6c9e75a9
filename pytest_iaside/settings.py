"""Settings: what they are called, which values they take, and which source counts.

Nothing heavy is imported here: names and simple types are checked when pytest starts. Whether
a value fits the images is for the measurement to say.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from pytest_iaside.checks import is_number, is_whole
from pytest_iaside.errors import SettingsError, quoted
from pytest_iaside.execute.execution import Execution, gathered, is_executor
from pytest_iaside.images.loaded import OnError
from pytest_iaside.thresholds import LEVEL, Direction, FailOn, Thresholds

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import pytest

    from pytest_iaside.images.bands import Norm
    from pytest_iaside.images.filters import Absence, Space
    from pytest_iaside.measure.game.coalitions import Design
    from pytest_iaside.measure.game.rules import DType


class GateKeywords(TypedDict, total=False):
    """Settings that all gates share; what is left out is decided by the next source."""

    samples: int | Literal["auto"] | None
    seed: int
    device: str
    backend: str
    batch_size: int | Literal["auto"]
    dtype: DType
    executor: str | Executor | None
    execution: Execution
    max_log_likelihood_drop: float | None
    max_probability_drop: float | None
    direction: Direction
    level: float
    fail_on: FailOn
    timeout: str | None


class AccuracyKeywords(GateKeywords, total=False):
    """Those of gates that do not limit accuracies themselves."""

    max_accuracy_drop: float | None


class SettingKeywords(AccuracyKeywords, total=False):
    """Every setting as a keyword; what is left out is decided by the next source."""

    bands: int
    partition: Norm
    absence: Absence
    space: Space
    design: Design
    cache: bool
    panel: Sequence[tuple[str, int]] | Literal["auto"] | None
    max_effective_drop: float | None
    max_score_drop: float | None
    min_src: float | None
    max_src_drop: float | None
    max_sid_shift: float | None
    max_value_drop: float | None
    max_band_drop: float | None
    max_upper_band_change: float | None
    budget: int | str


@dataclass(frozen=True)
class Kind:
    """One kind of value: in words, how it is told, and how it is read from text."""

    expected: str
    accepts: Callable[[Any], bool]
    read: Callable[[str], Any]
    ini: Literal["string", "int", "float"] = "string"

    def check(self, value: Any, told: str) -> None:
        """Raise SettingsError, which begins with ``told``, unless ``value`` is of this kind."""
        if not self.accepts(value):
            raise SettingsError(f"{told} cannot be used; expected {self.expected}")


def _number(text: str) -> Any:
    """``text`` as a number or None where it is one; otherwise as it stands, to be refused."""
    if text.strip().lower() == "none":
        return None
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text.strip()


def _panel(text: str) -> Any:
    """``white_noise 3, contrast 2`` as pairs; otherwise as it stands."""
    if text in ("auto", "none"):
        return None if text == "none" else text
    pairs = [each.split() for each in text.split(",")]
    read = [(pair[0], _number(pair[1])) for pair in pairs if len(pair) == 2]
    return read if len(read) == len(pairs) else text


def _is_panel(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return False
    return all(
        isinstance(each, Sequence) and len(each) == 2 and is_whole(each[1]) for each in value
    )


def _choice(literal: Any) -> Kind:
    choices = get_args(literal)
    return Kind(f"one of {', '.join(choices)}", lambda value: value in choices, str.strip)


WHOLE = Kind("a whole number", is_whole, _number, "int")
SAMPLES = Kind(
    "a whole number, auto or none", lambda v: v in ("auto", None) or is_whole(v), _number
)
COUNT_OR_AUTO = Kind(
    "a whole number, at least 0, or auto",
    lambda v: v == "auto" or (is_whole(v) and v >= 0),
    _number,
)
PANEL = Kind(
    "auto, none, or corruptions with their severities (white_noise 3, contrast 2)",
    lambda value: value in ("auto", None) or _is_panel(value),
    lambda text: _panel(text.strip()),
)
WHOLE_OR_AUTO = Kind("a whole number or auto", lambda v: v == "auto" or is_whole(v), _number)
NUMBER_OR_NONE = Kind("a number or none", lambda v: v is None or is_number(v), _number)
SHARE = Kind(
    "a number between 0 and 1: write 0.95 for 95 %",
    lambda v: is_number(v) and 0 < v < 1,
    _number,
    "float",
)
YES_OR_NO = Kind(
    "true or false",
    lambda value: isinstance(value, bool),
    lambda text: {"true": True, "false": False}.get(text.strip().lower(), text),
)
MEGABYTES = Kind(
    "a number from 0.1 to 10", lambda v: is_number(v) and 0.1 <= v <= 10, _number, "float"
)
BUDGETS = ("decided", "everything")
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def seconds_of(told: int | str | None) -> float | None:
    """How many seconds ``told`` is: of ``60s``, ``1.5 min`` or ``2h``; None for all others."""
    text = str(told).strip().lower()
    for unit, seconds in UNITS.items():
        if text.endswith(unit) and is_number(count := _number(text.removesuffix(unit))):
            return float(count) * seconds if 0 < count * seconds < math.inf else None
    return None


def _is_budget(value: Any) -> bool:
    if isinstance(value, str):
        return value in BUDGETS or seconds_of(value) is not None
    return is_whole(value) and value > 0


BUDGET = Kind(
    "decided, everything, a number of forward passes (1500), or a time (60s, 5min)",
    _is_budget,
    lambda text: number if is_whole(number := _number(text)) else text.strip(),
)
TIMEOUT = Kind(
    "a time (30s, 5min) or none",
    lambda v: v is None or (isinstance(v, str) and seconds_of(v) is not None),
    lambda text: None if text.strip().lower() == "none" else text.strip(),
)
EXECUTOR = Kind(
    "process, process:4, dask://host:port, ray, ray://host:port, slurm:20 or none",
    is_executor,
    lambda text: None if text.strip() == "none" else text.strip(),
)
TEXT = Kind("text", lambda v: isinstance(v, str) and v != "", str.strip)

WHOLE_OR_NONE = Kind(
    "a whole number, at least 1, or none", lambda v: v is None or (is_whole(v) and v > 0), _number
)
CHANNELS = Kind("1, 3 or 4", lambda v: is_whole(v) and v in (1, 3, 4), _number)
PAIR = Kind(
    "two numbers, the lower one first (0, 65535)",
    lambda v: isinstance(v, tuple) and len(v) == 2 and all(map(is_number, v)) and v[0] < v[1],
    lambda text: tuple(_number(each) for each in text.replace(",", " ").split()),
)

# How a reference sample that is named by text is read: keys of the ini file, options of commands.
READING: dict[str, tuple[Kind, str]] = {
    "labels": (TEXT, "labels: folder (default of a folder), none, a CSV file, or a column's name"),
    "groups": (TEXT, "images that are not independent: folder, or the name of a column"),
    "limit": (WHOLE, "take only so many images"),
    "resize": (WHOLE_OR_NONE, "resize the shorter side to so many pixels, or none"),
    "crop": (WHOLE_OR_NONE, "cut so many pixels out of the centre, or none"),
    "channels": (CHANNELS, "channels of pictures: 1 (grey), 3 or 4"),
    "range": (PAIR, "values of 16-bit pictures that become 0 and 1, such as 0, 65535"),
    "on_error": (_choice(OnError), "what to do about a file that cannot be read: raise or skip"),
}
REFERENCE_KEYS = tuple(READING)

# Settings of measure(), in its order. The choices for those of kind TEXT are known to modules
# that import torch; they are checked when something is measured.
MEASURE: dict[str, tuple[Kind, str]] = {
    "bands": (WHOLE, "number of frequency bands"),
    "partition": (TEXT, "shape of the bands: linf or l2"),
    "absence": (TEXT, "what stands for an absent band: zero, gaussian or replacement"),
    "space": (TEXT, "what is filtered: input (after normalisation) or pixel"),
    "design": (TEXT, "which coalitions are played: auto, exact, latin, permutation or antithetic"),
    "samples": (SAMPLES, "measure only so many of the reference images; auto: until decided"),
    "seed": (WHOLE, "seed of everything that is drawn"),
    "device": (TEXT, "where the model runs: auto, cpu, cuda, cuda:1, …"),
    "backend": (TEXT, "what runs the model: auto, eager, compile, openvino, onnx"),
    "batch_size": (WHOLE_OR_AUTO, "images for each forward pass, or auto"),
    "dtype": (TEXT, "precision of the forward passes: float32 or bfloat16"),
    "executor": (EXECUTOR, "who shares the work: process:4, dask://host:port, ray, slurm:20"),
    "cache": (YES_OR_NO, "take what was found for an image before from the disk: true or false"),
    "panel": (PANEL, "corruptions under which images are answered: auto, none, white_noise 3, …"),
}
THRESHOLDS: dict[str, tuple[Kind, str]] = {
    "max_accuracy_drop": (NUMBER_OR_NONE, "share of images that may be answered right no longer"),
    "max_log_likelihood_drop": (NUMBER_OR_NONE, "nats that its log-likelihood may fall"),
    "max_probability_drop": (NUMBER_OR_NONE, "how far the probability of the label may fall"),
    "max_score_drop": (NUMBER_OR_NONE, "how far a score of one's own may fall, in its unit"),
    "max_effective_drop": (NUMBER_OR_NONE, "share of images lost beyond clean accuracy"),
    "min_src": (NUMBER_OR_NONE, "least signed SRC of the model"),
    "max_src_drop": (NUMBER_OR_NONE, "how far the signed SRC may fall"),
    "max_sid_shift": (NUMBER_OR_NONE, "share of importance that may move to higher frequencies"),
    "max_value_drop": (NUMBER_OR_NONE, "share of v(all) that may be lost"),
    "max_band_drop": (NUMBER_OR_NONE, "share of v(all) that any band's ψ may lose"),
    "max_upper_band_change": (NUMBER_OR_NONE, "the same of the upper half, either way"),
    "direction": (_choice(Direction), "which changes count: worse or any"),
}
SETTINGS: dict[str, tuple[Kind, str]] = {
    **MEASURE,
    **THRESHOLDS,
    "level": (SHARE, "confidence of every interval"),
    "fail_on": (_choice(FailOn), "when the gate is red: drift, inconclusive or any-change"),
    "budget": (BUDGET, "how much a spectral gate plays: decided, everything, 1500 (passes), 60s"),
    "timeout": (TIMEOUT, "stop a gate that takes longer, also where its model hangs: 30s, 5min"),
}
# Those that a command line changes for one run; the rest belong to the project.
ON_COMMAND_LINE = (
    *("samples", "device", "backend", "batch_size", "executor", "fail_on", "level", "budget"),
    "timeout",
)
# Keys of the ini file that are no settings of a gate: they configure the default fixtures, and
# the report.
INI_ONLY: dict[str, tuple[Kind, str]] = {
    "reference": (
        TEXT,
        "reference sample: a folder of images, a CSV file of paths, hf://owner/name/split, or "
        "package.module:factory",
    ),
    **{f"reference_{key}": told for key, told in READING.items()},
    "model": (TEXT, "model: package.module:factory, or an .onnx file"),
    "baseline_model": (TEXT, "model of the baseline, as iaside_model; looked at in red gates"),
    "diagnose": (COUNT_OR_AUTO, "how many images of a red gate to explain; auto: a few"),
    "report_mb": (MEGABYTES, "megabytes that the HTML report may have at most (default 3)"),
}


@dataclass(frozen=True)
class Layer:
    """Settings from one source, already checked."""

    source: str
    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if name not in SETTINGS:
                raise SettingsError(f"{self.source}: {unknown('setting', name, SETTINGS)}")
            SETTINGS[name][0].check(value, f"{self.source}: {name}={quoted(value)}")
        try:
            Thresholds(**{name: v for name, v in self.values.items() if name in THRESHOLDS})
        except SettingsError as error:
            raise SettingsError(f"{self.source}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What counts for one assertion; ``measure`` are keywords of ``measure()``."""

    measure: Mapping[str, Any]
    thresholds: Thresholds
    level: float = LEVEL
    fail_on: FailOn = "drift"
    budget: int | str = "decided"
    timeout: str | None = None

    @property
    def execution(self) -> Execution:
        found: Execution = self.measure["execution"]
        return found

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> Settings:
        """The settings of ``layers``, the strongest first."""
        merged: dict[str, Any] = {}
        for layer in reversed(layers):
            merged.update(layer.values)
        return cls(
            measure=gathered({name: merged[name] for name in MEASURE if name in merged}),
            thresholds=Thresholds(**{name: merged[name] for name in THRESHOLDS if name in merged}),
            level=merged.get("level", LEVEL),
            fail_on=merged.get("fail_on", "drift"),
            budget=merged.get("budget", "decided"),
            timeout=merged.get("timeout"),
        )


def read_text(name: str, text: str, source: str) -> Any:
    """The value of setting ``name`` written as ``text``; raises SettingsError where it is none."""
    kind = (SETTINGS | INI_ONLY)[name][0]
    value = kind.read(text)
    kind.check(value, f"{source}: {text!r}")
    return value


def unknown(what: str, name: str, valid: Iterable[str]) -> str:
    """``unknown setting 'max_drop'; did you mean …? Valid are …``."""
    import difflib  # Only a session that ends here pays for it.

    valid = list(valid)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {what} {name!r}{hint} Valid are {', '.join(valid)}"


def dashes(name: str) -> str:
    return name.replace("_", "-")


def command_line_layer(config: pytest.Config) -> Layer:
    """Settings given as ``--iaside-…``; raises SettingsError."""
    values = {}
    for name in ON_COMMAND_LINE:
        if (text := config.getoption(f"iaside_{name}")) is not None:
            values[name] = read_text(name, text, f"--iaside-{dashes(name)}")
    if config.getoption("iaside_no_cache"):
        values["cache"] = False
    return Layer("command line", values)


def ini_layer(config: pytest.Config) -> Layer:
    """Settings of the ini file; raises SettingsError, also for iaside keys that do not exist."""
    known = [f"iaside_{name}" for name in (*SETTINGS, *INI_ONLY)]
    for key in _ini_keys(config):
        if key.startswith("iaside") and key not in known:
            raise SettingsError(f"{_ini_name(config)}: {unknown('key', key, known)}")
    values = {name: ini_value(config, name, UNSET) for name in SETTINGS}
    return Layer(_ini_name(config), {k: v for k, v in values.items() if v is not UNSET})


UNSET = object()


def ini_value(config: pytest.Config, name: str, otherwise: Any = None) -> Any:
    """What the ini file says of ``iaside_<name>``, ``otherwise`` where it is silent."""
    import pytest  # Commands read settings without it.

    key = f"iaside_{name}"
    try:
        found = config.getini(key)
    except (TypeError, ValueError, pytest.UsageError) as error:
        # pytest's own check of int and float keys; from version 9 on it raises the last.
        expected = (SETTINGS | INI_ONLY)[name][0].expected
        raise SettingsError(f"{_ini_name(config)}: {key}: {error}; expected {expected}") from error
    if found is None:
        return otherwise
    source = f"{_ini_name(config)}: {key}"
    if type(found) is str:
        return read_text(name, found, source)
    # Settings of a gate are checked together with those of its other sources.
    if name in INI_ONLY:
        INI_ONLY[name][0].check(found, f"{source}: {found!r}")
    return found


def _ini_name(config: pytest.Config) -> str:
    return config.inipath.name if config.inipath else "ini options"


def _ini_keys(config: pytest.Config) -> list[str]:
    # pytest offers no other way to see keys that nobody registered, and warns that this one is
    # deprecated; a misspelt threshold that counts for nothing is worse.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(getattr(config, "inicfg", ()))

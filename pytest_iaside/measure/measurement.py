"""Measurement: quantities of every image of a reference sample, and where they came from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Self

from pytest_iaside.errors import BaselineError, printable, quoted, shortened
from pytest_iaside.measure.as_html import as_html
from pytest_iaside.measure.loaded import check_numbers, check_summary, check_types
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo
from pytest_iaside.measure.quantities import ANSWERS, Quantity, Unit, answer_quantities
from pytest_iaside.measure.trainings import files_of, mean_of, split, unstructured_training
from pytest_iaside.stats.arrays import Floats, averaged
from pytest_iaside.stats.groups import Groups, group_count, joined
from pytest_iaside.stats.structured import FEWEST, too_few_groups, uninformed
from pytest_iaside.store import archive

FORMAT = "iaside-measurement/1"
# What 0.1.0 wrote; docs/decisions/0005-the-baseline-format.md promises that it is read.
OLD_FORMATS = ("iaside-profile/1", "iaside-readings/1")

Files = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""Plain values, for people and for diffs, and arrays."""


# What answers say for themselves in the file of the measurement that they belong to, and their
# arrays there; those of its images only where they are of other ones.
ANSWERED = ("settings", "forward_passes")
OF_ANSWERS = {"values": "answers", "labels": "answers_labels"}
OF_OTHER_IMAGES = {"digests": "answers_digests", "names": "answers_names"}
ARRAYS = frozenset(
    (
        *("values", "labels", "digests", "names", "by_size", "information", "log_likelihood"),
        *(*OF_ANSWERS.values(), *OF_OTHER_IMAGES.values(), "image_psi"),
        *("groups", "answers_groups", "energy", "phi", "change"),
    )
)
"""All that a file may hold, today or of version 0.1.0."""
MANY = 8
"""Images from which on a model that finds the labels can be told from chance."""
_CLASSES: dict[str, type[Any]] = {}
"""The class of each kind of measurement that has one of its own."""
HOMES = {
    "spectral": "pytest_iaside.measure.profile",
    "perturbation spectrum": "pytest_iaside.measure.perturbation_game",
    "band response": "pytest_iaside.measure.response",
}
"""Where those classes are: a file is read as its own kind, whatever was imported before."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Measurement:
    """Q quantities of each of K images, immutable.

    ``kind`` says what was measured, and ``settings``, plain values, how: measurements that differ
    in them cannot be compared. ``values`` (K, Q) float64; ``digests``, ``names``, ``labels`` and,
    where they were given, ``groups`` of the K images in the same order.
    """

    kind: str
    quantities: tuple[Quantity, ...]
    values: Floats
    digests: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[Any]
    settings: Mapping[str, Any]
    reference: ReferenceInfo
    model: ModelInfo
    forward_passes: int
    environment: Mapping[str, str] = field(default_factory=dict)
    passes_from_cache: int = 0
    """How many of ``forward_passes`` an earlier measurement had run."""
    passes_replayed: int = 0
    """How many of those were run all the same, to see whether they still hold."""
    not_cached_because: str = ""
    """Why a later measurement will have to run them again, where they were to be cached."""
    seconds: float = 0.0
    answers: "Measurement | None" = None
    """How right images are answered (panel.py), these or more of them; every gate compares it."""
    groups: tuple[str, ...] | None = None
    """What each image is one of, as the reference sample says; None where it does not."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how it came about, in words; not saved."""
    trainings: "tuple[Measurement, ...]" = ()
    """The trainings of one recipe that this is the mean of (SPEC.md 9); empty for a single one."""

    PER_IMAGE: ClassVar[tuple[str, ...]] = ("values", "labels")
    """Arrays with a row for each image."""
    NEEDED: ClassVar[tuple[str, ...]] = ()
    """Those that a file must hold besides values and labels."""

    def __init_subclass__(cls, kind: str = "", **others: Any) -> None:
        super().__init_subclass__(**others)
        if kind:
            _CLASSES[kind] = cls

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        means = ", ".join(
            f"{quantity.name} {mean:.3g}"
            for quantity, mean in zip(self.quantities, self.means, strict=True)
        )
        return f"Measurement({self.kind} of {self.model.name}: {means}; {self.size})"

    def _repr_html_(self) -> str:
        rows = [
            (quantity.name, f"{mean:.4g}", quantity.unit, f"{quantity.better} is better")
            for quantity, mean in zip(self.quantities, self.means, strict=True)
        ]
        caption = f"{self.kind} of {self.model.name}: {self.size}"
        return as_html(caption, ("quantity", "mean", "unit", ""), rows)

    @property
    def size(self) -> str:
        """How many images, and groups of them, in words."""
        return " in ".join(f"{count} {noun}" for noun, count in self.counts().items())

    def __getitem__(self, name: str) -> Floats:
        """The values (K,) of the quantity ``name``; raises KeyError where there is none."""
        names = [quantity.name for quantity in self.quantities]
        if name not in names:
            raise KeyError(f"no quantity {name!r}; there are {', '.join(names)}")
        return self.values[:, names.index(name)]

    @property
    def labels_predicted(self) -> bool:
        """Whether ``labels`` are a model's predictions, whatever labels the sample has.

        Diagnoses explain the predicted class: they do not look at how many classes there are.
        """
        return self.reference.labels == "predicted" or self.model.classes == 0

    @property
    def means(self) -> Floats:
        """The mean of every quantity over the images, (Q,)."""
        return np.asarray(self.distinct(self.values).mean(axis=0))

    def distinct(self, rows: Floats) -> Floats:
        """``rows`` (K, …), in which exact copies of an image are one: the mean of theirs."""
        return averaged(rows, self.digests)

    @property
    def group_numbers(self) -> Groups:
        """The group of each row of ``distinct``; None where every image is its own.

        Images of which exact copies are in one group belong together.
        """
        return None if self.groups is None else joined(self.digests, self.groups)

    @property
    def group_count(self) -> int:
        """How many groups the distinct images are in; without groups how many these are."""
        return group_count(self.group_numbers, len(set(self.digests)))

    @property
    def structured(self) -> bool:
        """Whether anything can be read off the values; where not, no gate passes."""
        return not self.unstructured_because

    @property
    def unstructured_because(self) -> str:
        """Why nothing can be read off the values, in words; empty where something can."""
        if self.trainings:
            return unstructured_training(self)
        count = len(set(self.digests))
        if count < FEWEST:
            return (
                f"{count} image{'s' * (count > 1)} cannot tell a change from noise; "
                f"measure at least {FEWEST}, better 50"
            )
        if few := too_few_groups(self.group_numbers, count):
            return few
        if wrong := self._not_finite():
            return wrong
        why = "" if self.answers is None else why_uninformed(self.answers)
        return f"{why}; {told}" if why and (told := self._right()) else why

    def _right(self) -> str:
        """How many images are answered right, in words; empty where nobody knows."""
        if self.answers is None or self.labels_predicted or self.answers.model.task == "score":
            return ""
        share = float(self.answers.distinct(self.answers["accuracy, clean"]).mean())
        of = "images" if self.answers.model.task == "softmax" else "labels"
        return f"it answers {share:.1%} of the {of} right"

    def _not_finite(self) -> str:
        for one in (self, *([self.answers] if self.answers else [])):
            if not np.isfinite(one.values).all():
                image, column = np.argwhere(~np.isfinite(one.values))[0]
                what, value = one.quantities[column].name, one.values[image, column]
                return f"{what} of {one.names[image]} is {value}, which is no result"
        return ""

    def first(self, count: int) -> Self:
        """The measurement of the first ``count`` images."""
        return self.take(range(count))

    def take(self, images: Sequence[int] | NDArray[np.int64]) -> Self:
        """The measurement of the images at the indices ``images``, in that order."""
        if self.trainings:
            return cast(Self, mean_of([each.take(images) for each in self.trainings]))
        rows = np.asarray(images, dtype=np.int64)
        arrays = {name: getattr(self, name) for name in self.PER_IMAGE}
        answers = self.answers
        if answers is not None and answers.digests == self.digests:
            answers = answers.take(rows)
        return replace(
            self,
            answers=answers,
            **{name: array[rows] for name, array in arrays.items() if array is not None},
            digests=tuple(self.digests[row] for row in rows),
            names=tuple(self.names[row] for row in rows),
            groups=None if self.groups is None else tuple(self.groups[row] for row in rows),
            forward_passes=round(self.forward_passes * len(rows) / len(self)),
            passes_from_cache=round(self.passes_from_cache * len(rows) / len(self)),
        )

    def save(self, path: str | Path, **header: Any) -> Path:
        """Write the measurement to the YAML file ``path`` and its arrays to the NPZ beside it.

        Atomic: killed at any moment, the old files stand. ``header`` adds plain values to the
        YAML. Raises BaselineError when the folder cannot be written.
        """
        path = Path(path).with_suffix(".yaml")
        document, arrays = self.files()
        # What it took to run is not what was found: the same measurement writes the same file.
        for name in ("passes_from_cache", "passes_replayed", "seconds"):
            document.pop(name)
        archive.write(path, {**document, "summary": self.told(), **header}, arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote, today or in version 0.1.0.

        Raises BaselineError when a file is missing, truncated or corrupt, or holds something else.
        """
        path = Path(path)
        path = path.with_suffix(".yaml") if path.name else path
        document, arrays = archive.read(path, ARRAYS)
        found = document.get("format")
        if found not in (FORMAT, *OLD_FORMATS):
            raise BaselineError(
                f"{path} has format {quoted(found)}; expected {FORMAT!r} or, of version 0.1, "
                f"{' or '.join(map(repr, OLD_FORMATS))}; install the version that wrote it, or "
                "create it anew"
            )
        if found != FORMAT:
            document = _read_as(path, cls, _modernised, document, found)
            arrays = {"values" if k == "image_psi" else k: a for k, a in arrays.items()}
        chosen = _class_of(str(document.get("kind", "")))
        if not issubclass(chosen, cls):
            raise BaselineError(
                f"{path} holds a measurement of {quoted(document.get('kind'))}, expected a "
                f"{cls.__name__}; give another file, or create it anew"
            )
        loaded: Self = _read_as(path, cls, chosen.of_files, (document, arrays))
        if found == FORMAT:
            _read_as(path, cls, check_summary, document.get("summary"), loaded.told())
        return loaded

    def told(self) -> dict[str, Any]:
        """What the file tells people: the summary, and that of the answers."""
        answers = {} if self.answers is None else {"answers": self.answers.summary()}
        return {**self.summary(), **answers}

    def files(self) -> Files:
        """Everything but large intermediate results, as plain values and arrays."""
        if self.trainings:
            return files_of(self)
        document = {
            "format": FORMAT,
            "kind": self.kind,
            "quantities": [asdict(quantity) for quantity in self.quantities],
            "settings": dict(self.settings),
            "reference": asdict(self.reference),
            "model": asdict(self.model),
            "environment": dict(self.environment),
            "forward_passes": self.forward_passes,
            "passes_from_cache": self.passes_from_cache,
            "passes_replayed": self.passes_replayed,
            "seconds": self.seconds,
        }
        arrays = {name: getattr(self, name) for name in self.PER_IMAGE}
        arrays = {name: array for name, array in arrays.items() if array is not None}
        if "log_likelihood" in arrays:
            arrays["log_likelihood"] = _narrow(arrays["log_likelihood"])
        if self.answers is not None:
            nested, nested_arrays = self.answers.files()
            names = [*ANSWERED]
            if self.answers.model != self.model:  # Some measurements do not see how many classes.
                names.append("model")
            document["answers"] = {name: nested[name] for name in names}
            others = {} if self.answers.digests == self.digests else OF_OTHER_IMAGES
            arrays |= {to: nested_arrays[name] for name, to in (OF_ANSWERS | others).items()}
            if others and "groups" in nested_arrays:
                arrays["answers_groups"] = nested_arrays["groups"]
        images = {"digests": np.array(self.digests), "names": np.array(self.names)}
        if self.groups is not None:
            images["groups"] = np.array(self.groups)
        return document, {**arrays, **images}

    @classmethod
    def of_files(cls, files: Files) -> Self:
        """What ``files`` gave; raises KeyError, TypeError, ValueError where it is not whole."""
        document, arrays = files
        if "trainings" in document:
            return mean_of([cls.of_files(each) for each in split(document, arrays)])
        check_types(document, arrays)
        own = cls._own(document) | {name: _wide(arrays.get(name)) for name in cls.PER_IMAGE[2:]}
        found = cls(
            **own,
            values=arrays["values"],
            labels=arrays["labels"],
            digests=tuple(arrays["digests"].tolist()),
            names=tuple(arrays["names"].tolist()),
            groups=tuple(arrays["groups"].tolist()) if "groups" in arrays else None,
            reference=ReferenceInfo(**document["reference"]),
            model=ModelInfo(**document["model"]),
            forward_passes=document["forward_passes"],
            environment=document["environment"],
            passes_from_cache=document.get("passes_from_cache", 0),
            passes_replayed=document.get("passes_replayed", 0),
            seconds=document.get("seconds", 0.0),
        )
        if "answers" in document:
            nested = {**document, **document["answers"], "kind": ANSWERS}
            del nested["answers"]
            panel = nested["settings"]["panel"]
            if not all(isinstance(each, str) for each in panel):
                raise ValueError(f"the panel is {panel!r}")
            nested["quantities"] = [
                asdict(each) for each in answer_quantities(panel, _task(document, nested))
            ]
            own_arrays = {
                name: arrays[each]
                for name, each in (OF_ANSWERS | OF_OTHER_IMAGES).items()
                if each in arrays
            }
            rest = dict(arrays)
            if "answers_digests" in arrays:  # Other images: the groups of these are not theirs.
                rest.pop("groups", None)
            if "answers_groups" in arrays:
                own_arrays["groups"] = arrays["answers_groups"]
            answers = Measurement.of_files((nested, {**rest, **own_arrays}))
            found = replace(found, answers=answers)
        # An edited YAML may say something else than the arrays, whose checksum is their own.
        for name in ("names", "groups", *cls.PER_IMAGE):
            rows = getattr(found, name)
            if rows is not None and len(rows) != len(found.digests):
                raise ValueError(f"{name} of {len(rows)} images, not {len(found.digests)}")
        for name in cls.NEEDED:
            if getattr(found, name) is None:
                raise KeyError(name)
        for name, width in found.widths().items():
            array = getattr(found, name)
            if array is not None and array.shape[1:] != (width,):
                raise ValueError(f"{name} have shape {array.shape}, not {width} columns")
        check_numbers(found)
        return found

    def widths(self) -> dict[str, int]:
        """How many columns each array (K, …) has."""
        return {"values": len(self.quantities)}

    @classmethod
    def _own(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that say what was measured and how."""
        return {
            "kind": document["kind"],
            "quantities": tuple(Quantity(**each) for each in document["quantities"]),
            "settings": document["settings"],
        }

    def counts(self) -> dict[str, int]:
        """How many images there are, and where they come in groups how many of these."""
        groups = {} if self.groups is None else {"groups": self.group_count}
        return {"images": len(self), **groups}

    def summary(self) -> dict[str, Any]:
        """Every mean in rounded numbers, for people and for diffs; not read back."""
        means = zip(self.quantities, self.means, strict=True)
        return {
            **self.counts(),
            "means": {quantity.name: round(float(mean), 4) for quantity, mean in means},
        }


def _task(*documents: Mapping[str, Any]) -> str:
    """The task of the model of a file, of the last of ``documents`` that says it."""
    found = [each["model"].get("task", "softmax") for each in documents if "model" in each]
    return str(found[-1])


def _class_of(kind: str) -> type[Any]:
    if kind in HOMES:
        import_module(HOMES[kind])
    return _CLASSES.get(kind, Measurement)


def columns(*values: ArrayLike) -> Floats:
    """Values (K, Q) of a measurement from those (K,) of each quantity."""
    return np.stack([np.asarray(each, dtype=np.float64) for each in values], axis=1)


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    """A table as files hold it: in half as many digits where those are all that it has."""
    with np.errstate(over="ignore"):
        short = array.astype(np.float32)
    return short if np.array_equal(short, array) else array


def _wide(array: NDArray[Any] | None) -> NDArray[Any] | None:
    """``array`` as it is computed with: large ones are in files with half their digits."""
    return array.astype(np.float64) if array is not None and array.dtype == np.float32 else array


def _read_as(path: Path, kind: type[Any], read: Callable[..., Any], *content: Any) -> Any:
    """What ``read`` makes of ``content``; BaselineError where that is not what was written."""
    try:
        return read(*content)
    except Exception as error:  # Of other types than ours, in as many ways as there are.
        raise BaselineError(
            f"{path} does not hold a whole {kind.__name__} ({shortened(printable(error), 300)}): "
            "it was edited or damaged; restore it from version control or create it anew"
        ) from error


def why_uninformed(answers: Measurement) -> str:
    """Why ``answers`` (panel.py) tell nothing of their labels, in words; empty where they do."""
    if answers.model.task == "score":
        return ""  # A score without bands may be anything; v(all) says whether images matter.
    return uninformed(
        answers.distinct(answers["information"]),
        answers.distinct(answers["L(all)"]) + chance_of(answers.model),
        distinct_labels=distinct_labels(answers),
        predicted=answers.reference.labels == "predicted",
        certain=answers.group_count >= MANY,
        groups=answers.group_numbers,
    )


def chance_of(model: ModelInfo) -> float:
    """What is lost of a log-likelihood by chance alone, in nats; of a score nothing is known."""
    if model.task == "score":
        return 0.0
    return (
        model.classes * float(np.log(2))
        if model.task == "multilabel"
        else float(np.log(model.classes))
    )


def distinct_labels(found: Measurement) -> int:
    """How many different labels, or sets of them, the images have; of what is scored enough."""
    if found.model.task == "score":
        return len(found)
    if found.model.task == "multilabel":
        return len(np.unique(found.labels, axis=0))
    hard = found.labels if found.labels.ndim == 1 else found.labels.argmax(axis=1)
    return len(np.unique(hard))


def _modernised(document: Mapping[str, Any], found: str) -> dict[str, Any]:
    """What version 0.1.0 wrote, in the words of today."""
    if found == "iaside-profile/1":
        return {**document, "kind": "spectral", "settings": document.get("rules")}
    quantities = [dict(each) for each in document.get("quantities", ())]
    units: dict[str, Unit] = {"depth": "count", "mce": "percent"}
    for each in quantities:
        counted = each.pop("counted", False)
        each["unit"] = "hit" if counted else units.get(each.get("family", ""), "share")
    words = {"designs": "points", "levels": "wavelet_levels"}
    settings = document.get("settings", {})
    settings = {words.get(name, name): value for name, value in settings.items()}
    return {**document, "quantities": quantities, "settings": settings}

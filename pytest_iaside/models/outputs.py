"""Where in what a network returns its answers are, and what they are (Classifier's ``output``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.models.tasks import Task

Output = str | int | Callable[[Any], Any] | None
LOGITS, PROBABILITIES = "logits", "probabilities"
FLOATING = ("float16", "float32", "float64")
# Of probabilities: below this, float32 no longer tells 1 − p from 1.
LEAST = 1e-7
SHOWN = 8
"""How many parts of an output a message names."""
TRY = "say which it is: Classifier(model, output={0})"


def check_output(output: Any) -> Output:
    """``output`` if it says where answers are; raises SettingsError for anything else."""
    if output is None or callable(output):
        return output  # type: ignore[no-any-return]
    if isinstance(output, str) and output:
        return output
    if isinstance(output, int) and not isinstance(output, bool):
        return output
    raise SettingsError(
        f"output={output!r} cannot be used; expected 'logits' or 'probabilities', a key or the "
        "place of the logits in what the model returns, or a function of it"
    )


def answers_in(found: Any, output: Output = None) -> Any:
    """The answers in ``found``, what a network returned, as ``output`` says (SPEC.md 1.3).

    None finds them where there is one choice alone: a tensor or array; what is named ``logits``;
    the only floating (batch, classes) part. Probabilities are left as they are. Raises ModelError
    where there is no such part, or more than one.
    """
    if callable(output):
        return output(found)
    if isinstance(output, int):
        return _at(found, output)
    if output is None or output in (LOGITS, PROBABILITIES):
        return _found(found, output or LOGITS)
    return _named(found, output)


def as_logits(probabilities: Tensor, *, independent: bool) -> Tensor:
    """Logits of ``probabilities``: their logarithms; of ``independent`` ones log p/(1 − p)."""
    if independent:
        return torch.logit(probabilities, eps=LEAST)
    return probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()


def _at(found: Any, place: int) -> Any:
    values = list(dict(_parts(found)).values()) if not _is_row(found) else found
    try:
        return values[place]
    except (IndexError, KeyError, TypeError):
        raise ModelError(
            f"output={place} was asked for, but the model returned {described(found)}; give the "
            "place of the logits in it, counted from 0"
        ) from None


def _named(found: Any, name: str) -> Any:
    parts = dict(_parts(found))
    if name in parts:
        return parts[name]
    if not isinstance(found, Mapping) and getattr(found, name, None) is not None:
        return getattr(found, name)
    raise ModelError(
        f"output={name!r} was asked for, but the model returned {described(found)}; give the name "
        "of the logits in it"
    )


def _found(found: Any, name: str) -> Any:
    if isinstance(found, (Tensor, np.ndarray)) or found is None:
        return found
    parts = dict(_parts(found))
    if name in parts:
        return parts[name]
    fitting = {key: part for key, part in parts.items() if _could_be_logits(part)}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if not parts:
        return found  # check_logits describes it.
    keys = list(fitting or parts)
    why = f"{len(fitting)} of them may be the logits" if fitting else "none of them is floating 2-D"
    raise ModelError(
        f"the model returned {described(found)}: {why}; "
        f"{TRY.format(repr(keys[0]) if fitting else '…')}, or output=a function of what it returns"
    )


def _could_be_logits(part: Any) -> bool:
    if isinstance(part, np.ndarray):
        return part.dtype.name in FLOATING and part.ndim == 2 and part.shape[1] > 1
    return (
        isinstance(part, Tensor)
        and part.is_floating_point()
        and part.ndim == 2
        and part.shape[1] > 1
    )


def _is_row(found: Any) -> bool:
    return isinstance(found, (tuple, list)) and not hasattr(found, "_fields")


def _parts(found: Any) -> Iterator[tuple[Any, Any]]:
    """The parts of ``found`` by name or place; nothing of what has none."""
    if isinstance(found, Mapping):  # Those of transformers are, and dataclasses as well.
        yield from found.items()
    elif is_dataclass(found) and not isinstance(found, type):
        yield from ((each.name, getattr(found, each.name)) for each in fields(found))
    elif hasattr(found, "_fields"):  # A named tuple.
        yield from zip(found._fields, found, strict=True)
    elif isinstance(found, Sequence) and not isinstance(found, (str, bytes)):
        yield from enumerate(found)


def described(value: Any) -> str:
    """``value`` in words: its type, and of its parts names and shapes."""
    kind = type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, (Tensor, np.ndarray)):
        return f"a {kind} of shape {tuple(value.shape)}"
    parts = list(_parts(value))
    if not parts:
        if isinstance(value, Mapping):
            return f"a {kind} with nothing in it"
        return f"a {kind} of 0" if isinstance(value, (tuple, list)) else f"a {kind}"
    told = [f"{key!r}{_shape(part)}" for key, part in parts[:SHOWN]]
    told += ["…"] * (len(parts) > SHOWN)
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        told = [_shape(part).strip() or type(part).__name__ for _, part in parts[:SHOWN]]
        return f"a {kind} of {len(value)}: {', '.join(told)}"
    return f"a {kind} with {', '.join(told)}"


def _shape(part: Any) -> str:
    shape = getattr(part, "shape", None)
    return "" if shape is None else f" {tuple(shape)}"


def check_logits(found: Any, batch: int, fewest: int = 2) -> Tensor:
    """``found`` as a tensor, if it is floating (batch, classes) with at least ``fewest`` classes.

    Arrays are accepted. Raises ModelError otherwise; whether they are finite is not looked at.
    """
    logits, expected = found, f"expected logits, a floating ({batch}, classes) tensor"
    if isinstance(logits, np.ndarray):
        logits = torch.tensor(logits) if logits.dtype.name in FLOATING else logits
    if not isinstance(logits, (Tensor, np.ndarray)):
        raise ModelError(
            f"the model returned {described(logits)}, {expected}; say where the logits are in it: "
            "Classifier(model, output=…), a key, a place or a function of what it returns"
        )
    shape = tuple(logits.shape)
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise ModelError(
            f"the model returned {logits.dtype} of shape {shape}, {expected}; return the logits "
            "themselves, not the predicted classes"
        )
    if shape in ((batch,), (batch, 1)) and fewest > 1:
        raise ModelError(
            f"the model returned shape {shape}, {expected} and at least 2 classes; where it is one "
            "logit for each image, say Classifier(model, task='binary')"
        )
    if len(shape) != 2:
        hint = (
            "give Classifier(model, score=…) a function that says how right such an answer is"
            if len(shape) > 2
            else "keep the batch dimension"
        )
        raise ModelError(f"the model returned shape {shape}, {expected}; {hint}")
    if shape[0] != batch:
        raise ModelError(
            f"the model returned {shape[0]} rows for a batch of {batch}, {expected}; "
            "return one row for each image, in their order"
        )
    if shape[1] < fewest:
        raise ModelError(f"the model returned shape {shape}, {expected}: there is no column")
    return logits


def check_answers(found: Any, batch: int, task: Task, device: torch.device) -> Any:
    """``found`` without gradients, on ``device``, and a copy; logits are checked as such.

    A network may hand out the same tensor each time. Raises ModelError as ``check_logits``; of
    what is scored only where it is a tensor of another length.
    """
    if not task.scored:
        found = check_logits(found, batch, task.classes)
    elif isinstance(found, Tensor) and (not found.ndim or len(found) != batch):
        raise ModelError(
            f"the model returned shape {tuple(found.shape)} for a batch of {batch}; expected one "
            "row for each image, in their order"
        )
    return _apart(found, device)


def _apart(found: Any, device: torch.device) -> Any:
    if isinstance(found, Tensor):
        found = found.detach()
        if found.is_floating_point() and found.dtype not in (torch.float32, torch.float64):
            found = found.float()
        return found.to(device, copy=True)
    if isinstance(found, Mapping):
        return {key: _apart(part, device) for key, part in found.items()}
    if isinstance(found, (tuple, list)):
        parts = [_apart(part, device) for part in found]
        return parts if isinstance(found, list) else tuple(parts)
    return found


def joined(found: Sequence[Any]) -> Any:
    """What several batches gave, as one: tensors one after the other, lists likewise."""
    first = found[0]
    if isinstance(first, Tensor):
        return torch.cat(list(found))
    if isinstance(first, Mapping):
        return {key: joined([each[key] for each in found]) for key in first}
    if isinstance(first, tuple):
        return tuple(joined(parts) for parts in zip(*found, strict=True))
    if isinstance(first, list):
        return [part for each in found for part in each]
    return first


def batch_of(found: Any) -> int:
    """For how many images ``found`` is."""
    if isinstance(found, Mapping):
        return batch_of(next(iter(found.values())))
    return batch_of(found[0]) if isinstance(found, tuple) else len(found)


def alike(one: Any, other: Any, relative: float, absolute: float) -> float:
    """By how much two outputs of the same images differ; 0 where within the tolerances."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.shape != other.shape:
            return float("inf")
        one, other = one.to(torch.float64), other.to(torch.float64)
        same = torch.isclose(one, other, rtol=relative, atol=absolute, equal_nan=True)
        return 0.0 if same.all() else float((one - other).abs().nan_to_num(float("inf")).max())
    parts, others = list(_parts(one)), list(_parts(other))
    if len(parts) != len(others):
        return float("inf")
    pairs = zip(parts, others, strict=True)
    return max((alike(a, b, relative, absolute) for (_, a), (_, b) in pairs), default=0.0)

"""Weights of a checkpoint put into a network, wherever in the file and under whatever prefix."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from pytest_iaside.errors import ModelError, one_line

State = Mapping[str, Any]
# What trainers call the weights, those in training before their moving averages.
NESTED = (
    *("state_dict", "model_state_dict", "model", "module", "net", "network", "weights"),
    *("model_ema", "state_dict_ema", "ema"),
)
# What wrappers put before every name: data parallelism, Lightning, torch.compile.
PREFIXES = ("module.", "model.", "_orig_mod.", "network.", "net.")
DEPTH = 3
NAMED = 3  # differences of each kind that a message names


def load_weights(network: nn.Module, content: State) -> None:
    """Put the weights that a checkpoint holds into ``network``, all of them.

    They may lie under one of NESTED, and their names may have more or fewer PREFIXES than the
    network's; what has not the prefix (a loss, a teacher) is then left out.

    Raises ModelError, which names the first differences, where they do not fit.
    """
    expected = network.state_dict()
    variants = [
        variant
        for state in _states(content)
        if any(isinstance(value, Tensor) for value in state.values())
        for variant in _variants(state, expected)
    ]
    if not variants:
        raise ModelError(
            f"it holds no weights, only {_listed([repr(name) for name in content])}; expected a "
            "state dict, or one under 'state_dict' or 'model'"
        )

    def fit(state: State) -> tuple[bool, int]:
        fits = state.keys() == expected.keys() and not _misshapen(state, expected)
        return fits, len(state.keys() & expected.keys())

    # Where none fits by its names, the closest is tried: a network may rename what it loads.
    chosen = max(variants, key=fit)
    try:
        network.load_state_dict(dict(chosen), strict=True)
    except Exception as error:  # Whatever a network's own loading raises.
        reason = _differences(chosen, expected) or one_line(error)
        raise ModelError(f"its weights do not fit the model: {reason}") from error


def _states(content: State, depth: int = DEPTH) -> Iterator[State]:
    """``content`` and the mappings in it that may hold the weights, the likeliest first."""
    if not all(isinstance(name, str) for name in content):
        return  # An optimiser's state goes by numbers.
    yield content
    if depth:
        for name in dict.fromkeys((*NESTED, *content)):
            if isinstance(content.get(name), Mapping):
                yield from _states(content[name], depth - 1)


def _variants(state: State, expected: State) -> Iterator[State]:
    """``state`` with up to DEPTH prefixes taken off, and then with one put before it."""
    level = [state]
    for _ in range(DEPTH + 1):
        for each in level:
            yield each
            for prefix in PREFIXES:
                if all(name.startswith(prefix) for name in expected):
                    yield {prefix + name: value for name, value in each.items()}
        shorter = [
            {name.removeprefix(prefix): v for name, v in each.items() if name.startswith(prefix)}
            for each in level
            for prefix in PREFIXES
        ]
        level = [each for each in shorter if each]


def _misshapen(state: State, expected: State) -> list[str]:
    """Names of weights of another shape."""
    shapes = {
        name: (_shape(state[name]), _shape(expected[name])) for name in expected if name in state
    }
    return [
        name for name, (found, wanted) in shapes.items() if found and wanted and found != wanted
    ]


def _shape(value: Any) -> str:
    """A tensor's shape in words; empty for what is none, and for what is not made yet."""
    if not isinstance(value, Tensor) or nn.parameter.is_lazy(value):
        return ""
    return str(tuple(value.shape)).replace(",)", ")")


def _differences(state: State, expected: State) -> str:
    missing = [f"{name} {_shape(expected[name])}" for name in expected if name not in state]
    extra = [f"{name} {_shape(state[name])}" for name in state if name not in expected]
    misshapen = [
        f"{name} {_shape(state[name])} in place of {_shape(expected[name])}"
        for name in _misshapen(state, expected)
    ]
    kinds = (
        ("missing", missing, expected),
        ("unexpected", extra, state),
        ("of another shape", misshapen, expected),
    )
    return "; ".join(
        f"{len(names)} of {len(every)} {kind}: {_listed(names)}"
        for kind, names, every in kinds
        if names
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")

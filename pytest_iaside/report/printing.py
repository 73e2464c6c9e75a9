"""Text on its way to a terminal: it commands no terminal, and any stream can take it."""

import sys
from typing import Any, TextIO

from pytest_iaside.errors import visible

# What stands for symbols in streams without them, such as those of Windows in cp1252.
PLAIN = {
    **{"ψ": "psi", "Ψ": "Psi", "Δ": "Delta", "α": "alpha", "ε": "eps", "ρ": "rho", "μ": "mu"},
    **{"±": "+/-", "−": "-", "–": "-", "—": "-", "…": "...", "×": "x", "·": "-", "∅": "none"},
    **{"→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "²": "^2", "∞": "inf"},
    **{"✓": "+", "✗": "x", "○": "o", "↻": "*", "▲": "^", "▼": "v", "½": "1/2", "°": "deg"},
    **{"“": '"', "”": '"', "‘": "'", "’": "'"},
}


def tell(*lines: object, to: TextIO | None = None) -> None:
    """Print ``lines`` at once, so that whoever looks sees how far it is; ``to`` is stdout."""
    stream = sys.stdout if to is None else to
    for line in lines:
        print(fitting(visible(line), stream), file=stream)
    stream.flush()


def fitting(text: str, stream: Any = None) -> str:
    """``text`` in characters that ``stream``, by default stdout, has."""
    encoding = getattr(sys.stdout if stream is None else stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_fitting(each, encoding) for each in text)
    except LookupError:  # An encoding that Python does not know.
        pass
    return text


def _fitting(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        plain = PLAIN.get(character)
        return plain or character.encode(encoding, "backslashreplace").decode(encoding)
    return character

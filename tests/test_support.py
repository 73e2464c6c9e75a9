"""docs/support.md is what is so; and every kind of data goes with every kind of model."""

from __future__ import annotations

import pytest
import support

NAMES = [name for name, _ in support.models()]


@pytest.fixture(scope="module")
def page() -> str:
    return support.PAGE.read_text(encoding="utf-8")


def _cells(page: str, name: str) -> list[str]:
    (line,) = [each for each in page.splitlines() if each.startswith(f"| {name} |")]
    cells = [cell.strip() for cell in line.replace("\\|", "\0").strip("|").split("|")][1:]
    return [cells[0] if cell == support.SAME else cell for cell in cells]


@pytest.mark.parametrize("name", NAMES)
def test_models(name: str, page: str) -> None:
    make = next(iter(support.DATA.values()))[0]
    kind = support.MODELS[name]
    found = [support.outcome(kind, make, backend) for backend in support.BACKENDS]
    assert found == [cell.replace("\0", "\\|") for cell in _cells(page, name)]


@pytest.mark.parametrize("name", [name for name, _ in support.data()])
def test_data(name: str, page: str) -> None:
    kind = next(iter(support.MODELS.values()))
    found = support.outcome(kind, support.DATA[name][0], "eager")
    assert [found] == [cell.replace("\0", "\\|") for cell in _cells(page, name)]


@pytest.mark.parametrize("name", [name for name, _ in support.data()])
def test_every_kind_of_data_with_every_kind_of_model(name: str, page: str) -> None:
    """Either works, or says of the model or of the data what the page says of it."""
    plain, make = next(iter(support.DATA.values()))[0], support.DATA[name][0]
    alone = support.outcome(next(iter(support.MODELS.values())), make, "eager")
    for model in ("a dict with `logits`", "`score=`", "float16 weights", "probabilities"):
        kind = support.MODELS[model]
        expected = support.outcome(kind, plain, "eager") if alone == support.WORKS else alone
        assert support.outcome(kind, make, "eager") == expected


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("backend", ["eager", "openvino"])
def test_any_number_of_channels(channels: int, backend: str) -> None:
    from pytest_iaside import Execution, ReferenceSample, measure

    sample = ReferenceSample(support.pixels(channels), support.LABELS)
    how = Execution(backend=backend, device="cpu")
    found = measure(support.Net(channels=channels), sample, bands=3, execution=how)
    assert found.reference.channels == channels
    table = found.by_size[:, -1] - found.by_size[:, 0]
    assert abs(found.values.sum(axis=1) - table).max() < 1e-9

"""What of a point is exported, under which names; adapters that cannot be made say why."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
from profiles import TRAINED, make_profile

from pytest_iaside.errors import SettingsError
from pytest_iaside.track.exporters import export, metrics, to_mlflow, to_tensorboard
from pytest_iaside.track.history import Point


def point(profile=None, **changes):
    return Point(step=7, name="epoch=7", profile=profile or make_profile(), **changes)


def test_the_numbers_of_a_point():
    found = metrics(point(accuracy=0.75, loss=0.5))
    # SPEC.md 1.5, from ψ itself.
    sid = (TRAINED - TRAINED.min()) / (TRAINED - TRAINED.min()).sum()
    beta = 0.75 ** np.arange(8)
    unit, eta = beta / np.linalg.norm(beta), beta.sum() / (8 * np.linalg.norm(beta))
    signed = (unit @ sid - eta) / (1 - eta)
    assert found == pytest.approx(
        {
            "iaside/src": abs(signed),
            "iaside/signed_src": signed,
            **{f"iaside/sid/{band}": share for band, share in enumerate(sid)},
            "iaside/value": TRAINED.sum(),
            "iaside/accuracy": 0.75,
            "iaside/loss": 0.5,
        },
        abs=1e-12,
    )
    assert all(type(value) is float for value in found.values())


def test_what_is_unknown_is_left_out():
    assert not {"iaside/accuracy", "iaside/loss"} & set(metrics(point(loss=float("nan"))))


@pytest.mark.parametrize(
    ("bands", "first", "last"), [(10, "0", "9"), (11, "00", "10"), (16, "00", "15")]
)
def test_bands_sort_as_they_count(bands, first, last):
    found = metrics(point(make_profile(np.arange(bands, 0, -1.0))))
    names = [name for name in found if name.startswith("iaside/sid/")]
    assert names == sorted(names)
    assert (names[0], names[-1]) == (f"iaside/sid/{first}", f"iaside/sid/{last}")


def test_a_degenerate_profile_has_its_value_only_and_that_is_said():
    sent = []
    alike = point(make_profile(np.ones(8), noise=0.0), accuracy=0.5)
    with pytest.warns(UserWarning, match=r"epoch=7: all bands have the same ψ, so SRC and SID do"):
        export(alike, lambda *triple: sent.append(triple))
    assert sent == [("iaside/value", pytest.approx(8.0), 7), ("iaside/accuracy", 0.5, 7)]


def test_an_exporter_gets_name_value_and_step():
    sent = []
    export(point(), lambda *triple: sent.append(triple))
    assert sent == [(name, value, 7) for name, value in metrics(point()).items()]
    assert len(sent) == 11


def test_what_an_exporter_raises_is_the_callers():
    def refuse(name, value, step):
        raise ConnectionError(name)

    with pytest.raises(ConnectionError, match="iaside/src"):
        export(point(), refuse)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: to_tensorboard(3), "to_tensorboard was given a int; give the folder to log to"),
        (lambda: to_mlflow(tracking_uri="http://x"), "tracking_uri='http://x' was given without"),
    ],
)
def test_adapters_that_cannot_be_made(make, message):
    with pytest.raises(SettingsError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "module", "package"),
    [
        (lambda: to_tensorboard("logs"), "torch.utils.tensorboard", "tensorboard"),
        (to_mlflow, "mlflow", "mlflow"),
    ],
)
def test_a_missing_library_is_said_at_once(make, module, package, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingsError, match=f"{package} is needed .*pip install {package}"):
        make()


def test_adapters_travel_to_other_processes(tmp_path):
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    for exporter in (to_tensorboard(tmp_path), to_mlflow("abc", tracking_uri="http://x")):
        assert pickle.loads(pickle.dumps(exporter)) == exporter

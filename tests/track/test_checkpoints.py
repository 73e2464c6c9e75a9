"""Checkpoints: which come when, what is read of them, what is refused, and what fits."""

from __future__ import annotations

import os
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.track.checkpoints import find_checkpoints, read_checkpoint
from pytest_iaside.track.weights import load_weights


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(OrderedDict(body=nn.Linear(3, 4), head=nn.Linear(4, 2)))


def save(path: Path, **beside: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": network().state_dict(), **beside}, path)
    return path


def found(*patterns: str | Path) -> list[tuple[str, int]]:
    return [(each.path.name, each.step) for each in find_checkpoints([str(p) for p in patterns])]


class TestFinding:
    def test_epoch_2_comes_before_epoch_10(self, tmp_path: Path) -> None:
        for epoch in (1, 10, 2):
            save(tmp_path / f"epoch{epoch}.pt")
        expected = [("epoch1.pt", 1), ("epoch2.pt", 2), ("epoch10.pt", 10)]
        assert found(tmp_path / "*.pt") == expected
        # As a shell hands them over, each once.
        assert found(*sorted(tmp_path.iterdir()), tmp_path / "epoch2.pt") == expected

    def test_folders_at_any_depth(self, tmp_path: Path) -> None:
        save(tmp_path / "a" / "checkpoint-9" / "weights.bin")
        save(tmp_path / "a" / "checkpoint-10" / "weights.bin")
        (tmp_path / "a" / "folder.bin").mkdir()
        assert found(tmp_path / "**" / "*.bin") == [("weights.bin", 9), ("weights.bin", 10)]

    def test_a_file_whose_name_looks_like_a_pattern(self, tmp_path: Path) -> None:
        assert found(save(tmp_path / "epoch[1].pt")) == [("epoch[1].pt", 1)]

    @pytest.mark.parametrize("pattern", ["none*.pt", "none.pt"])
    def test_a_pattern_without_files(self, tmp_path: Path, pattern: str) -> None:
        with pytest.raises(SettingsError, match=r"names no checkpoint: there is no such file"):
            find_checkpoints([str(tmp_path / pattern)])


class TestSteps:
    def test_the_epoch_inside_goes_before_the_name(self, tmp_path: Path) -> None:
        save(tmp_path / "a1.pt", epoch=7, global_step=70)
        save(tmp_path / "a2.pt", epoch=8, global_step=80)
        assert found(tmp_path / "*.pt") == [("a1.pt", 7), ("a2.pt", 8)]

    def test_what_tells_the_files_apart_counts(self, tmp_path: Path) -> None:
        for step in (100, 200):
            save(tmp_path / f"a{step}.pt", epoch=0, global_step=step + 1)
        assert found(tmp_path / "*.pt") == [("a100.pt", 101), ("a200.pt", 201)]

    def test_an_epoch_that_two_share_still_counts_where_nothing_else_does(
        self, tmp_path: Path
    ) -> None:
        save(tmp_path / "best.pt", epoch=2)
        for epoch in (1, 2):
            save(tmp_path / f"epoch{epoch}.pt", epoch=epoch)
        assert found(tmp_path / "*.pt") == [("best.pt", 2), ("epoch1.pt", 1), ("epoch2.pt", 2)]

    def test_the_last_whole_number_of_the_name(self, tmp_path: Path) -> None:
        save(tmp_path / "v2-epoch=3-loss=0.25.ckpt")
        save(tmp_path / "v2-epoch=4-loss=0.5.ckpt")
        assert [step for _, step in found(tmp_path / "*.ckpt")] == [3, 4]

    def test_else_the_order(self, tmp_path: Path) -> None:
        for name in ("b.pt", "a.pt", "c.pt"):
            save(tmp_path / name)
        assert found(tmp_path / "*.pt") == [("a.pt", 0), ("b.pt", 1), ("c.pt", 2)]

    def test_a_file_that_cannot_be_read_changes_no_others_step(self, tmp_path: Path) -> None:
        for epoch in (5, 6):
            save(tmp_path / f"a{epoch}.pt", epoch=epoch + 10)
        (tmp_path / "a7.pt").write_bytes(b"nothing")
        assert [step for _, step in found(tmp_path / "*.pt")][:2] == [15, 16]

    @given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6, unique=True))
    def test_numbers_in_names_are_the_steps_in_order(self, steps: list[int]) -> None:
        from pytest_iaside.track.checkpoints import _natural, _steps

        paths = sorted(
            (Path(f"run3/epoch_{step}.pt") for step in steps), key=lambda p: _natural(p.as_posix())
        )
        assert _steps(paths, {path: {} for path in paths}) == sorted(steps)


class TestNumbers:
    @pytest.mark.parametrize(
        ("beside", "accuracy", "loss"),
        [
            ({"val_acc": 0.75, "loss": 1.5}, 0.75, 1.5),
            ({"accuracy": 97.0, "val_loss": 0.5, "loss": 9.0}, 0.97, 0.5),
            ({"acc": torch.tensor(0.5), "loss": torch.tensor([2.0])}, 0.5, 2.0),
            ({"metrics": {"val_acc": 0.25, "loss": 3}}, 0.25, 3.0),
            ({"acc": "high", "loss": float("nan")}, None, None),
            ({"acc": True, "loss": [1.0]}, None, None),
            ({"acc": -1.0, "best_acc": 0.9}, None, None),
        ],
    )
    def test_what_the_trainer_logged(
        self, tmp_path: Path, beside: dict[str, Any], accuracy: float | None, loss: float | None
    ) -> None:
        (checkpoint,) = find_checkpoints([str(save(tmp_path / "a.pt", **beside))])
        assert (checkpoint.accuracy, checkpoint.loss) == (pytest.approx(accuracy), loss)


class TestReading:
    @pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".PT"])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_files_of_torch(self, tmp_path: Path, suffix: str, zipped: bool) -> None:
        path = tmp_path / f"a{suffix}"
        content = {"model": network().state_dict(), "epoch": 3}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        other = network(1)
        load_weights(other, read_checkpoint(path))
        assert torch.equal(other.body.weight, network().body.weight)
        assert find_checkpoints([str(path)])[0].step == 3

    def test_safetensors(self, tmp_path: Path) -> None:
        safetensors = pytest.importorskip("safetensors.torch")
        path = tmp_path / "a.safetensors"
        facts = {"epoch": "12", "val_loss": "0.5", "format": "pt"}
        safetensors.save_file(network().state_dict(), path, metadata=facts)
        (checkpoint,) = find_checkpoints([str(path)])
        assert (checkpoint.step, checkpoint.loss) == (12, 0.5)
        other = network(1)
        load_weights(other, read_checkpoint(path))
        assert torch.equal(other.head.bias, network().head.bias)
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(ModelError, match="damaged or none"):
            read_checkpoint(path)

    def test_safetensors_that_are_not_installed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "safetensors", None)
        (tmp_path / "a.safetensors").touch()
        with pytest.raises(ModelError, match="pip install safetensors"):
            read_checkpoint(tmp_path / "a.safetensors")

    @pytest.mark.parametrize("how", ["zip", "old", "pickle"])
    def test_a_pickle_that_would_run_code_is_refused(self, tmp_path: Path, how: str) -> None:
        class Trap:
            def __reduce__(self) -> tuple[Any, ...]:
                return os.mkdir, (str(tmp_path / "sprung"),)

        path = tmp_path / "a.pt"
        if how == "pickle":
            path.write_bytes(pickle.dumps({"state_dict": {}, "x": Trap()}))
        else:
            content = {"state_dict": network().state_dict(), "x": Trap()}
            torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
        with pytest.raises(ModelError, match=r"a\.pt was refused: it .*torch\.save\(model"):
            read_checkpoint(path)
        (checkpoint,) = find_checkpoints([str(path)])
        assert "was refused" in checkpoint.unreadable
        assert not (tmp_path / "sprung").exists()

    def test_a_refusal_names_what_would_be_called(self, tmp_path: Path) -> None:
        torch.save(network(), tmp_path / "a.pt")
        with pytest.raises(ModelError, match=r"would call torch\.nn\.modules\.container\.Sequen"):
            read_checkpoint(tmp_path / "a.pt")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.pt", b"", "cannot be read as a checkpoint, it is damaged or none"),
            ("a.pt", b"some text, which is no checkpoint " * 9, "damaged or none"),
            ("a.txt", b"", r"is no checkpoint by its name; expected \.pt, \.pth"),
        ],
    )
    def test_what_is_no_checkpoint(
        self, tmp_path: Path, name: str, content: bytes, message: str
    ) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=message):
            read_checkpoint(tmp_path / name)

    def test_a_truncated_file(self, tmp_path: Path) -> None:
        path = save(tmp_path / "a.pt")
        path.write_bytes(path.read_bytes()[:700])
        with pytest.raises(ModelError, match="damaged or none"):
            read_checkpoint(path)

    def test_a_file_that_is_gone(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="cannot be read: No such file"):
            read_checkpoint(tmp_path / "a.pt")

    def test_a_bare_tensor(self, tmp_path: Path) -> None:
        torch.save(torch.zeros(2), tmp_path / "a.pt")
        with pytest.raises(ModelError, match="holds a Tensor, expected the weights by their names"):
            read_checkpoint(tmp_path / "a.pt")


def renamed(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {prefix + name: value for name, value in state.items()}


class TestFitting:
    def fits(self, content: dict[str, Any], into: nn.Module | None = None) -> None:
        into = into or network(1)
        load_weights(into, content)
        wanted, got = network().state_dict().values(), into.state_dict().values()
        assert all(torch.equal(a, b) for a, b in zip(wanted, got, strict=True))

    @pytest.mark.parametrize(
        "nested", ["", "state_dict", "model", "model_state_dict", "module", "ema", "my_weights"]
    )
    @pytest.mark.parametrize(
        "prefix", ["", "module.", "model.", "_orig_mod.", "network.", "module._orig_mod.model."]
    )
    def test_wherever_the_weights_lie(self, nested: str, prefix: str) -> None:
        state = renamed(network().state_dict(), prefix)
        self.fits({nested: state, "epoch": 3} if nested else state)

    def test_two_levels_down(self) -> None:
        self.fits({"model": {"state_dict": network().state_dict()}, "optimizer": {"state": {}}})

    def test_the_weights_in_training_go_before_their_average(self) -> None:
        self.fits({"ema": network(2).state_dict(), "model": network().state_dict()})

    def test_what_is_not_the_models_own_is_left_out(self) -> None:
        others = {"loss.weight": torch.zeros(2), "teacher.body.weight": torch.zeros(4, 3)}
        self.fits({"state_dict": {**others, **renamed(network().state_dict(), "model.")}})
        # torch.optim.swa_utils.AveragedModel
        average = {"n_averaged": torch.tensor(3), **renamed(network().state_dict(), "module.")}
        self.fits(average)

    def test_a_network_with_a_prefix_of_its_own(self) -> None:
        class Wrapped(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = network(1)

        self.fits(network().state_dict(), Wrapped())
        self.fits(renamed(network().state_dict(), "module."), Wrapped())

    def test_a_network_that_renames_what_it_loads(self) -> None:
        def rename(module: nn.Module, state: dict[str, Any], *rest: Any) -> None:
            for name in [name for name in state if name.startswith("trunk.")]:
                state[name.replace("trunk.", "body.")] = state.pop(name)

        renaming = network(1)
        renaming.register_load_state_dict_pre_hook(rename)
        state = {k.replace("body.", "trunk."): v for k, v in network().state_dict().items()}
        self.fits(state, renaming)

    def test_keys_that_do_not_fit_are_named(self) -> None:
        state = network().state_dict()
        state["neck.weight"] = state.pop("body.weight")
        state["head.weight"] = torch.zeros(5, 4)
        with pytest.raises(ModelError) as raised:
            load_weights(network(), {"state_dict": state})
        assert str(raised.value) == (
            "its weights do not fit the model: 1 of 4 missing: body.weight (4, 3); "
            "1 of 4 unexpected: neck.weight (4, 3); "
            "1 of 4 of another shape: head.weight (5, 4) in place of (2, 4)"
        )

    def test_only_the_first_differences_are_named(self) -> None:
        layers = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
        with pytest.raises(ModelError, match=r"8 of 8 missing: 0\.weight .* and 5 more; 4 of 4 un"):
            load_weights(layers, network().state_dict())

    @pytest.mark.parametrize("content", [{"epoch": 3, "lr": 0.1}, {"optimizer": {0: {"a": 1}}}, {}])
    def test_no_weights_at_all(self, content: dict[str, Any]) -> None:
        with pytest.raises(ModelError, match="it holds no weights, only"):
            load_weights(network(), content)

    def test_buffers_belong_to_the_weights(self) -> None:
        before, after = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        before.running_mean += torch.from_numpy(np.arange(3.0))
        load_weights(after, {"state_dict": before.state_dict()})
        assert after.running_mean is not None
        assert after.running_mean.tolist() == [0.0, 1.0, 2.0]

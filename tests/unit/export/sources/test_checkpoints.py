"""Files of weights: read without running them, fitted or refused with the numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from export.errors import BackboneError
from export.sources.checkpoints import load_state, read_state

STATE = {"conv.weight": torch.ones(2, 3, 1, 1), "head.weight": torch.ones(5, 2), "head.bias": torch.zeros(5)}


class Payload:
    """What a pickle may do when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("was-run",)


def saved(folder: Path, content: object) -> Path:
    file = folder / "weights.pth"
    torch.save(content, file)
    return file


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3, "best": torch.tensor(0.9)},
        {"model": {f"module.{name}": tensor for name, tensor in STATE.items()}},
        {"epoch": 1, "net": {"state_dict": {f"_orig_mod.{name}": tensor for name, tensor in STATE.items()}}},
    ],
)
def test_read_state_unwraps_what_training_scripts_save(tmp_path: Path, content: object) -> None:
    assert read_state(saved(tmp_path, content)).keys() == STATE.keys()


def test_read_state_reads_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "weights.safetensors")
    assert read_state(tmp_path / "weights.safetensors").keys() == STATE.keys()


def test_read_state_refuses_code_and_does_not_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackboneError, match=r"pickled code.*mkdir"):
        read_state(saved(tmp_path, {"state_dict": STATE, "extra": Payload()}))
    assert not (tmp_path / "was-run").exists()


def test_read_state_refuses_a_whole_pickled_module(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="pickled code"):
        read_state(saved(tmp_path, nn.Linear(2, 2)))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_read_state_refuses_a_file_cut_short(tmp_path: Path, share: float, suffix: str) -> None:
    file = tmp_path / f"weights{suffix}"
    save_file(STATE, file) if suffix == ".safetensors" else torch.save(STATE, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BackboneError, match="truncated"):
        read_state(file)


def test_read_state_refuses_a_flipped_bit_in_a_weight(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    weights = torch.arange(4096, dtype=torch.float32)
    torch.save({"w": weights}, file)
    content = bytearray(file.read_bytes())
    content[content.index(weights.numpy().tobytes()) + 8000] ^= 0x40
    file.write_bytes(content)
    with pytest.raises(BackboneError, match=r"the CRC-32 of .*data/0 does not match"):
        read_state(file)


@pytest.mark.parametrize("content", [b"not weights at all", bytes(range(256)) * 40])
def test_read_state_refuses_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(BackboneError, match="truncated, damaged"):
        read_state(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"epoch": 3}, "contains a dict with the keys 'epoch'"),
        (torch.ones(3), "contains one tensor"),
        (
            {"w": torch.tensor([1.0, float("nan")]), "v": torch.ones(1)},
            "1 of 2 tensors contain NaN or infinity, first w",
        ),
    ],
)
def test_read_state_refuses_what_is_no_state_dict(tmp_path: Path, content: object, reason: str) -> None:
    with pytest.raises(BackboneError, match=reason):
        read_state(saved(tmp_path, content))


def test_read_state_refuses_when_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="does not exist"):
        read_state(tmp_path / "nothing.pth")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weight": torch.ones(5, 3)}, r"1 have another shape, first weight: \(5, 3\), expected \(5, 2\)"),
        ({"extra": torch.ones(1)}, "1 are unexpected, first extra"),
    ],
)
def test_load_state_refuses_with_numbers_when_it_does_not_fit(change: dict[str, torch.Tensor], reason: str) -> None:
    network = nn.Linear(2, 5)
    with pytest.raises(BackboneError, match=reason):
        load_state(network, {**network.state_dict(), **change}, "weights.pth")
    with pytest.raises(BackboneError, match="1 of 2 tensors are missing, first bias"):
        load_state(network, {"weight": torch.ones(5, 2)}, "weights.pth")

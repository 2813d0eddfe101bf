"""Reads a file of weights without running anything in it, and puts them into a network of the right shape."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.errors import BackboneError

if TYPE_CHECKING:
    import torch
    from torch import nn

# Where training scripts keep the weights inside what they save, and what their wrappers put before each name.
_WRAPPINGS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
_PREFIXES = ("module.", "_orig_mod.", "model.")


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """Name -> tensor, from what `torch.save` or safetensors wrote.

    Raises:
        BackboneError: the file is missing, cut short, damaged, holds code or anything but weights, or numbers that are
            not finite.
    """
    if not file.is_file():
        raise BackboneError(f"There is no file {file}. Name a checkpoint that exists.")
    content = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    state = _unwrap(content, file)
    import torch

    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    if broken:
        raise BackboneError(
            f"{file.name}: {len(broken)} of {len(state)} tensors hold NaN or infinity, first {broken[0]}. "
            "Take a checkpoint from before the training diverged."
        )
    return state


def _read_torch(file: Path) -> Any:
    import torch

    _check_sums(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _is_torch_file(file):
            raise BackboneError(
                f"{file.name} ({_size(file)}) is not a checkpoint: it is cut short, damaged, or something else. "
                "Copy it again, or save it again with torch.save(model.state_dict(), FILE)."
            ) from error
        raise BackboneError(
            f"{file.name} holds pickled code or objects, which are not run: {_first_sentence(error)} "
            "Where it was trained, save the weights alone: torch.save(model.state_dict(), FILE)."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise BackboneError(
            f"{file.name} ({_size(file)}) is cut short or damaged: {_first_sentence(error)} Copy it again."
        ) from error


def _check_sums(file: Path) -> None:
    """`torch.load` reads over a flipped bit: it does not compare the archive's checksums.

    Raises:
        BackboneError: one is wrong.
    """
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError):  # `torch.load` says what else is wrong
        return
    if damaged is not None:
        raise BackboneError(
            f"{file.name} ({_size(file)}) is damaged: {damaged} in it does not have the CRC-32 it was saved with. Copy "
            "it again. (torch.serialization.set_crc32_options(False) saves none: then save it again without that.)"
        )


def _read_safetensors(file: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise BackboneError(f"{file.name} ({_size(file)}) is cut short or damaged: {error}. Copy it again.") from error


def _is_torch_file(file: Path) -> bool:
    """A whole zip archive, as torch has written since 1.6, or a pickle, as before."""
    with file.open("rb") as opened:
        first = opened.read(2)
    return zipfile.is_zipfile(file) or first == b"\x80\x02"


def _size(file: Path) -> str:
    return f"{file.stat().st_size:,} bytes"


def _first_sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    # A bare number, the key of a KeyError, says nothing to anybody.
    sentence = (named or [line for line in lines if " " in line] or ["torch cannot read it"])[0]
    return sentence[:200].rstrip(".") + "."


def _unwrap(content: Any, file: Path) -> dict[str, torch.Tensor]:
    import torch

    while isinstance(content, Mapping):
        inner = [content[key] for key in _WRAPPINGS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    state = _tensors(content) if isinstance(content, Mapping) else {}
    if not state:
        shown = f"a {type(content).__name__}"
        if isinstance(content, Mapping):
            shown += f" with the keys {', '.join(map(repr, list(content)[:5]))}"
        elif isinstance(content, torch.Tensor):
            shown = "one tensor"
        raise BackboneError(
            f"{file.name} holds {shown}; expected a state dict (name -> tensor), alone or under one of "
            f"{', '.join(_WRAPPINGS)}."
        )
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _tensors(content: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    import torch

    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, torch.Tensor)}


def count_classes(network: nn.Module, state: Mapping[str, torch.Tensor], head_name: str, what: str) -> int:
    """Classes the checkpoint was trained for: rows of its head.

    Raises:
        BackboneError: it has no such head.
    """
    weight = state.get(f"{head_name}.weight")
    if weight is None:
        expected = network.state_dict()
        raise BackboneError(
            f"{what} has no {head_name}.weight, the head of this architecture; {_describe_misfit(expected, state)} "
            "Name the architecture it was trained as with --model."
        )
    return len(weight)


def load_state(network: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Puts the weights in, all of them and nothing else.

    Raises:
        BackboneError: tensors are missing, left over, or of another shape, with how many and the first of each.
    """
    misfit = _describe_misfit(network.state_dict(), state)
    if misfit:
        raise BackboneError(f"{what} does not fit the architecture: {misfit} Name the right one with --model.")
    network.load_state_dict(dict(state), strict=False)


def _describe_misfit(expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> str:
    # Batch norm's counter of steps: older checkpoints lack it, and nothing at inference reads it.
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    extra = [name for name in state if name not in expected]
    reshaped = [name for name in expected if name in state and expected[name].shape != state[name].shape]
    parts = []
    if missing:
        parts.append(f"{len(missing)} of {len(expected)} tensors are missing, first {missing[0]}")
    if extra:
        parts.append(f"{len(extra)} are left over, first {extra[0]}")
    if reshaped:
        name = reshaped[0]
        got, wanted = tuple(state[name].shape), tuple(expected[name].shape)
        parts.append(f"{len(reshaped)} have another shape, first {name}: {got}, expected {wanted}")
    return "; ".join(parts) + "." if parts else ""


def recognise(state: Mapping[str, torch.Tensor], names: Iterable[str], file_name: str) -> str:
    """The architecture in torchvision's registry that has these tensors, but for the number of classes.

    Raises:
        BackboneError: none has, or several have.
    """
    import torch

    from export.architectures import IMAGENET_CLASSES, find_architecture

    def fits(expected: Mapping[str, torch.Tensor]) -> bool:
        if {n for n in expected if not n.endswith("num_batches_tracked")} - state.keys() or state.keys() - set(
            expected
        ):
            return False
        for name, tensor in expected.items():
            if name not in state or tensor.shape == state[name].shape:
                continue
            if tensor.shape[:1] != (IMAGENET_CLASSES,) or tensor.shape[1:] != state[name].shape[1:]:
                return False
        return True

    found = []
    for name in names:
        try:
            with torch.device("meta"):
                expected = find_architecture(name).build(IMAGENET_CLASSES).state_dict()
        except NotImplementedError:  # RegNet computes its widths with tensors: it must be named
            continue
        if fits(expected):
            found.append(name)
    if len(found) != 1:
        shown = f"fits several: {', '.join(found)}" if found else "fits none of them"
        raise BackboneError(
            f"{file_name} ({len(state)} tensors) does not say which architecture it is, and {shown}. "
            "Name it with --model NAME, or your own with --module module:factory."
        )
    return found[0]

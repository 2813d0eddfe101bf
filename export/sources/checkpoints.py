"""Reads weight files without executing code from them, and loads the weights into a network."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.errors import BackboneError

if TYPE_CHECKING:
    import torch
    from torch import nn

# Keys under which training scripts save the weights, and prefixes that wrappers add to tensor names.
_WRAPPINGS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
_PREFIXES = ("module.", "_orig_mod.", "model.")


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """Name -> tensor, from a file written by `torch.save` or safetensors.

    Raises:
        BackboneError: the file is missing, truncated or damaged, contains code or objects other than weights, or
            contains values that are not finite.
    """
    if not file.is_file():
        raise BackboneError(f"{file} does not exist. Name an existing checkpoint.")
    content = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    state = _unwrap(content, file)
    import torch

    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    if broken:
        raise BackboneError(
            f"{file.name}: {len(broken)} of {len(state)} tensors contain NaN or infinity, first {broken[0]}. "
            "Use a checkpoint from before the training diverged."
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
                f"{file.name} ({_size(file)}) is not a checkpoint: it is truncated, damaged, or a file of another "
                "kind. Copy it again, or save it again with torch.save(model.state_dict(), FILE)."
            ) from error
        raise BackboneError(
            f"{file.name} contains pickled code or objects, which are not executed: {_first_sentence(error)} "
            "On the training machine, save only the weights: torch.save(model.state_dict(), FILE)."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise BackboneError(
            f"{file.name} ({_size(file)}) is truncated or damaged: {_first_sentence(error)} Copy it again."
        ) from error


def _check_sums(file: Path) -> None:
    """Checks the checksums of the archive, which `torch.load` ignores.

    Raises:
        BackboneError: a checksum does not match.
    """
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError):  # `torch.load` reports other damage
        return
    if damaged is not None:
        raise BackboneError(
            f"{file.name} ({_size(file)}) is damaged: the CRC-32 of {damaged} does not match. Copy it again. "
            "(If torch.serialization.set_crc32_options(False) was set when saving, save it again without that option.)"
        )


def _read_safetensors(file: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise BackboneError(f"{file.name} ({_size(file)}) is truncated or damaged: {error}. Copy it again.") from error


def _is_torch_file(file: Path) -> bool:
    """Whether the file is a complete zip archive (torch 1.6 and later) or a pickle (earlier versions)."""
    with file.open("rb") as opened:
        first = opened.read(2)
    return zipfile.is_zipfile(file) or first == b"\x80\x02"


def _size(file: Path) -> str:
    return f"{file.stat().st_size:,} bytes"


def _first_sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    # Skip messages without a space: the bare key of a KeyError does not help.
    sentence = (named or [line for line in lines if " " in line] or ["torch cannot read it"])[0]
    return sentence[:200].rstrip(".") + "."


def _unwrap(content: Any, file: Path) -> dict[str, torch.Tensor]:
    import torch

    while isinstance(content, Mapping):
        inner = [content[key] for key in _WRAPPINGS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    named = content.items() if isinstance(content, Mapping) else ()
    state = {name: value for name, value in named if isinstance(name, str) and isinstance(value, torch.Tensor)}
    if not state:
        shown = f"a {type(content).__name__}"
        if isinstance(content, Mapping):
            shown += f" with the keys {', '.join(map(repr, list(content)[:5]))}"
        elif isinstance(content, torch.Tensor):
            shown = "one tensor"
        raise BackboneError(
            f"{file.name} contains {shown}; expected a state dict (name -> tensor), alone or under one of "
            f"{', '.join(_WRAPPINGS)}."
        )
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def count_classes(network: nn.Module, state: Mapping[str, torch.Tensor], head_name: str, what: str) -> int:
    """Number of classes of the checkpoint: the rows of its head.

    Raises:
        BackboneError: the checkpoint has no head of this name.
    """
    weight = state.get(f"{head_name}.weight")
    if weight is None:
        expected = network.state_dict()
        raise BackboneError(
            f"{what} has no {head_name}.weight, the head of this architecture; {_describe_misfit(expected, state)} "
            "Name the architecture of the checkpoint with --model."
        )
    return len(weight)


def load_state(network: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Loads the weights; the names and shapes of all tensors must match.

    Raises:
        BackboneError: tensors are missing, unexpected, or of another shape; the message has counts and first names.
    """
    misfit = _describe_misfit(network.state_dict(), state)
    if misfit:
        raise BackboneError(f"{what} does not match the architecture: {misfit} Name the matching one with --model.")
    network.load_state_dict(dict(state), strict=False)


def _describe_misfit(expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> str:
    # Older checkpoints lack batch norm's step counter, which inference does not use.
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    extra = [name for name in state if name not in expected]
    reshaped = [name for name in expected if name in state and expected[name].shape != state[name].shape]
    parts = []
    if missing:
        parts.append(f"{len(missing)} of {len(expected)} tensors are missing, first {missing[0]}")
    if extra:
        parts.append(f"{len(extra)} are unexpected, first {extra[0]}")
    if reshaped:
        name = reshaped[0]
        got, wanted = tuple(state[name].shape), tuple(expected[name].shape)
        parts.append(f"{len(reshaped)} have another shape, first {name}: {got}, expected {wanted}")
    return "; ".join(parts) + "." if parts else ""

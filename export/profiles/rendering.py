"""Renders hardware profiles: `configs/<profile>.pbtxt` beside the `config.pbtxt` of each model, with the same tensors.

A profile has a file for every model, so it defines the served configuration completely.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from google.protobuf import text_format

from export.profiles import cpu, gpu
from export.profiles.cpu import CpuSizing
from export.repository.configs import Configs
from export.repository.layout import model_file


def render_profiles(configs: Configs, sizing: CpuSizing, names: Sequence[str]) -> dict[str, str]:
    """Path inside the repository -> text, for each model of each profile."""
    texts = {}
    for name in names:
        header = f"# Written by `triptych build` from config.pbtxt for {sizing.cores} cores.\n"
        for model, config in PROFILES[name](copy.deepcopy(configs), sizing).items():
            texts[model_file(model, f"configs/{name}.pbtxt")] = header + text_format.MessageToString(config)
    return texts


# Each changes the configs that it gets.
PROFILES: dict[str, Callable[[Configs, CpuSizing], Configs]] = {
    "cpu": cpu.fused,
    "cpu-native": cpu.native,
    "gpu": gpu.tensorrt,
    "gpu-torch": gpu.torch,
}

# These profiles add only text files; `gpu-torch` also adds a copy of the weights for torch.
DEFAULT_PROFILES = ("cpu", "cpu-native", "gpu")

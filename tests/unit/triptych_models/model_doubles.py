"""A request, a server and a config as Triton's adapter hands them to a model, made of plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych_models.errors import InvalidRequest
from triptych_models.metrics.sources import SHOPPER
from triptych_models.placed_files import PlacedFiles
from triptych_models.triton.model import ModelConfig


@dataclass
class ArrayRequest:
    """See `triptych_models.triton.model.Request`; abandoned from the start, or never."""

    arrays: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    abandoned: bool = False
    source: str = SHOPPER

    def array(self, name: str) -> Any:
        return self.arrays.get(name)

    def on_device(self, name: str) -> Any:
        return self.arrays[name]

    def is_abandoned(self) -> bool:
        return self.abandoned


@dataclass
class OneAnswerServer:
    """Answers every call of another model with one array, or refuses it."""

    answer: Any = None
    refusal: InvalidRequest | None = None
    lines: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def log(self, line: str) -> None:
        self.lines.append(line)

    def infer(self, model: str, inputs: Mapping[str, Any], output: str, source: str) -> Any:
        self.sources.append(source)
        if self.refusal is not None:
            raise self.refusal
        return self.answer


def config_of(
    models: Path,
    parameters: Mapping[str, str] | None = None,
    inputs: Mapping[str, tuple[int, ...]] | None = None,
    outputs: Mapping[str, tuple[int, ...]] | None = None,
) -> ModelConfig:
    return ModelConfig(
        files=PlacedFiles(models),
        parameters=parameters or {},
        inputs=inputs or {},
        outputs=outputs or {},
        max_batch_size=8,
        warm_ups=0,
        instance=0,
        device="cpu",
    )


def place_network(models: Path, network: bytes = b"network", transform: bytes = b"{}") -> None:
    """Files that decide a fingerprint."""
    for name, content in (("embedder/1/model.onnx", network), ("preprocess/1/transform.json", transform)):
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        (models / name).write_bytes(content)

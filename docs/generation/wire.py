"""What travels: models, tensors and parameters, parsed from every `config.pbtxt` with Triton's own protobuf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from docs.generation.pages import ROOT, GenerationError, Page, as_text, table
from triptych_models.metrics.sources import OTHER, SHOPPER, SOURCES

MODELS = ROOT / "model_repository/models"
_HEAD = ("tensor", "type and shape", "meaning")
_DTYPES = {"STRING": "BYTES"}  # the name that KServe v2 gives the type on the wire


def render() -> list[Page]:
    """Tensors of all models, public ones first; parameters of the configs.

    Raises:
        GenerationError: the repository has no model.
    """
    files = sorted(MODELS.glob("*/config.pbtxt"))
    if not files:
        raise GenerationError(f"no {MODELS}/*/config.pbtxt; mend MODELS in docs/generation/wire.py.")
    return [
        Page("reference/tensors.md", "\n".join(_tensor_parts(files))),
        Page("reference/model-parameters.md", "\n".join(_parameter_parts(files))),
    ]


def read_config(file: Path) -> Any:
    """A `ModelConfig`."""
    return text_format.Parse(file.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def _tensor_parts(files: list[Path]) -> Iterator[str]:
    yield "# Tensors\n"
    yield (
        "Every model speaks KServe v2. `N` is the batch dimension, which a request may leave at 1; `-1` in a config is "
        "written `*`. The pages of this site derive from `model_repository/models/<model>/config.pbtxt`.\n"
    )
    yield (
        "A request may have these [parameters of KServe v2](metrics.md), which ensembles pass on to their steps: "
        "`timeout` (microseconds in the queue), `priority` (1, or 2 for what may wait) and `source`, the text that the "
        f"metrics count the request by: {', '.join(f'`{name}`' for name in SOURCES[:-1])}. A request without it counts "
        f"as `{SHOPPER}`, one with another text as `{OTHER}`.\n"
    )
    for file in files:
        config, text = read_config(file), file.read_text(encoding="utf-8")
        largest = config.max_batch_size
        batching = f"A request holds at most {largest} items." if largest else "The model does not batch."
        yield f"## {config.name}\n\n{_opening_comment(text)}\n\n{batching}\n"
        for title, tensors in (("Inputs", config.input), ("Outputs", config.output)):
            rows = [_tensor_row(tensor, text, bool(largest)) for tensor in tensors]
            yield f"**{title}**\n\n{table(_HEAD, rows)}"


def _tensor_row(tensor: Any, text: str, batches: bool) -> tuple[str, str, str]:
    dtype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    # Unescaped, two asterisks of a shape would be emphasis.
    dims = ["N"] * batches + [r"\*" if size < 0 else str(size) for size in tensor.dims]
    optional = "optional" if getattr(tensor, "optional", False) else ""
    note = re.search(rf'name: "{tensor.name}"[^\n#]*#\s*([^\n]*)', text)
    meaning = "; ".join(filter(None, (optional, note[1] if note else "")))
    return f"`{tensor.name}`", f"{_DTYPES.get(dtype, dtype)}&#91;{','.join(dims)}]", as_text(meaning)


def _parameter_parts(files: list[Path]) -> Iterator[str]:
    yield "# Model parameters\n"
    yield "The `parameters` of each `config.pbtxt`. A profile, `configs/<profile>.pbtxt`, may set other values.\n"
    for file in files:
        config, text = read_config(file), file.read_text(encoding="utf-8")
        if config.parameters:
            rows = [
                (f"`{key}`", f"`{value.string_value}`", as_text(_comment_of(key, text)))
                for key, value in sorted(config.parameters.items())
            ]
            yield f"## {config.name}\n\n{table(('parameter', 'value', 'meaning'), rows)}"


def _comment_of(key: str, text: str) -> str:
    """The comment behind a parameter, else the lines of comment above it."""
    lines = text.splitlines()
    (number,) = [n for n, line in enumerate(lines) if f'parameters {{ key: "{key}"' in line]
    behind = lines[number].partition("#")[2].strip()
    above: list[str] = []
    while not behind and number and lines[number - 1].startswith("#"):
        number -= 1
        above.insert(0, lines[number].removeprefix("#").strip())
    return behind or " ".join(above)


def _opening_comment(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return as_text(" ".join(lines))

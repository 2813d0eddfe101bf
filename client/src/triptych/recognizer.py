"""What the model `recognizer` is asked and how its answer reads. No I/O: both ends are tritonclient's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.grpc as triton

from triptych.errors import ContractMismatch, InvalidInput
from triptych.results import Label, Recognition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MODEL = "recognizer"
# Name -> datatype, as the server's metadata spells it. Sizes are the server's to choose: a backbone brings its own.
INPUTS = {"image": "BYTES"}
OUTPUTS = {"category_scores": "FP32", "retail_score": "FP32", "embedding": "FP32"}

# Triton 2.51.0 keeps 32 bits of the class count: 2**32 + 1 asks for one class, 2**32 for none.
MAX_TOP_K = 2**32 - 1

_ADVICE = "Serve the model repository of this client's release, or install the triptych-client of the server's."


def check_top_k(top_k: int) -> None:
    """Raises `InvalidInput` unless `top_k` is a whole number of classes the server can be asked for."""
    if not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= MAX_TOP_K:
        raise InvalidInput(
            f"top_k is {top_k!r}; expected a whole number from 1 to {MAX_TOP_K}. "
            "Ask for as many labels as you want to see, 5 for example."
        )


def check_metadata(metadata: Any, *, request_id: str) -> None:
    """Compares a `ModelMetadataResponse` with what this client sends and reads. More inputs and outputs are fine.

    Raises:
        ContractMismatch: a tensor is missing or of another datatype; all differences are named.
    """
    differences = [
        *_differences("input", INPUTS, metadata.inputs),
        *_differences("output", OUTPUTS, metadata.outputs),
    ]
    if differences:
        raise _mismatch(f"model {MODEL} differs from what this client expects: {'; '.join(differences)}", request_id)


def request_arguments(photo: bytes, *, top_k: int, request_id: str) -> dict[str, Any]:
    """The arguments of tritonclient's `infer` for one encoded photo: one request for all three outputs."""
    image = triton.InferInput("image", [1, 1], INPUTS["image"])
    # An object array: numpy's own bytes type would drop the photo's trailing zero bytes.
    image.set_data_from_numpy(np.array([[photo]], dtype=object))
    return {
        "model_name": MODEL,
        "inputs": [image],
        "outputs": [
            triton.InferRequestedOutput("category_scores", class_count=top_k),
            triton.InferRequestedOutput("retail_score"),
            triton.InferRequestedOutput("embedding"),
        ],
        "request_id": request_id,
    }


def read_answer(answer: Any, *, request_id: str) -> Recognition:
    """An `InferResult` for one photo as a `Recognition`.

    Raises:
        ContractMismatch: an output is missing, or the classes come without labels.
    """
    return Recognition(
        labels=tuple(_label(entry, request_id) for entry in _row(answer, "category_scores", request_id)),
        retail_score=float(_row(answer, "retail_score", request_id)[0]),
        embedding=_row(answer, "embedding", request_id),
        model=MODEL,
        model_version=answer.get_response().model_version or None,
        request_id=request_id,
    )


def _row(answer: Any, name: str, request_id: str) -> Any:
    batch = answer.as_numpy(name)
    if batch is None or batch.ndim != 2 or batch.shape[0] != 1 or not batch.size:
        found = "nothing" if batch is None else f"the shape {list(batch.shape)}"
        raise _mismatch(f"output {name} came back as {found}, expected one row", request_id)
    return batch[0]


def _label(entry: bytes, request_id: str) -> Label:
    """Reads Triton's b"score:index:line of labels.txt"; the line itself may hold colons."""
    try:
        score, index, line = entry.decode().split(":", 2)
        return Label.from_line(line, score=float(score), index=int(index))
    except ValueError as error:
        raise _mismatch(f"a class came back as {entry!r}, expected score:index:label", request_id) from error


def _differences(role: str, expected: Mapping[str, str], found: Iterable[Any]) -> Iterable[str]:
    datatypes = {tensor.name: tensor.datatype for tensor in found}
    for name, datatype in expected.items():
        if name not in datatypes:
            yield f"{role} {name} is missing, there is only {', '.join(datatypes) or 'none'}"
        elif datatypes[name] != datatype:
            yield f"{role} {name} is {datatypes[name]}, expected {datatype}"


def _mismatch(found: str, request_id: str) -> ContractMismatch:
    return ContractMismatch(f"{found[:1].upper()}{found[1:]}. {_ADVICE}", model=MODEL, request_id=request_id)

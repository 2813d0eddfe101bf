"""Sends the golden requests of a release to a server and compares the answers with the manifest."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

SCORES = "category_scores"
# The server is on this machine, where a proxy of the environment has no part.
NO_PROXY = [("grpc.enable_http_proxy", 0)]


def find_differences(grpc_target: str, release: Path, golden: dict[str, Any], timeout_s: float) -> list[str]:
    """Returns a sentence for each answer that differs from the expected one.

    Args:
        grpc_target: gRPC address of the server.
        release: the folder that holds the photos.
        golden: requests and expected answers of the manifest.
        timeout_s: of one request.
    """
    client = triton.InferenceServerClient(grpc_target, channel_args=NO_PROXY)
    try:
        return [
            f"{request['photo']}: {difference}"
            for request in golden["requests"]
            for difference in _compare(client, release, golden, request, timeout_s)
        ]
    finally:
        client.close()


def _compare(
    client: Any, release: Path, golden: dict[str, Any], request: dict[str, Any], timeout_s: float
) -> Iterator[str]:
    photo = (release / request["photo"]).read_bytes()
    model, expected = golden["model"], request["labels"]
    try:
        raw = _infer(client, model, photo, [SCORES, "retail_score", "embedding"], timeout_s)
        labelled = _infer(client, model, photo, [SCORES], timeout_s, class_count=len(expected))
    except InferenceServerException as error:
        yield f"not answered: {error.message()}"
        return
    limit = golden["score_max_abs_error"]
    scores = raw[SCORES][0]
    for label in expected:
        got = float(scores[label["index"]]) if label["index"] < len(scores) else float("nan")
        if not abs(got - label["score"]) <= limit:  # True for NaN
            yield f"score of {label['label']!r} is {got:.3f}, expected {label['score']:.3f} within {limit:g}"
    retail = float(raw["retail_score"][0, 0])
    if not abs(retail - request["retail_score"]) <= limit:
        yield f"retail_score is {retail:.3f}, expected {request['retail_score']:.3f} within {limit:g}"
    yield from _compare_labels(labelled[SCORES][0], expected)
    embedding = np.frombuffer(base64.b64decode(request["embedding"]), "<f4")
    yield from _compare_embeddings(raw["embedding"][0], embedding, golden["embedding_min_cosine"])


def _infer(
    client: Any, model: str, photo: bytes, outputs: list[str], timeout_s: float, class_count: int = 0
) -> dict[str, Any]:
    image = triton.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[photo]], dtype=object))
    wanted = [triton.InferRequestedOutput(name, class_count=class_count) for name in outputs]
    parameters = {"source": "internal"}  # in the metrics: no shopper's recognition
    answer = client.infer(model, [image], outputs=wanted, client_timeout=timeout_s, parameters=parameters)
    return {name: answer.as_numpy(name) for name in outputs}


def _compare_labels(entries: Any, expected: list[dict[str, Any]]) -> Iterator[str]:
    """Compares labels by index, because near ties may change places; entries are Triton's b"score:index:label"."""
    names = {label["index"]: label["label"] for label in expected}
    for entry in entries:
        _, index, label = entry.decode().split(":", 2)
        if int(index) in names and names[int(index)] != label:
            yield f"class {index} is labelled {label!r}, expected {names[int(index)]!r}"


def _compare_embeddings(got: Any, expected: Any, min_cosine: float) -> Iterator[str]:
    if got.shape != expected.shape:
        yield f"the embedding has {got.size} numbers, expected {expected.size}"
        return
    cosine = float(got @ expected)  # both have L2 norm 1
    if not cosine >= min_cosine:
        yield f"the embedding's cosine to the expected one is {cosine:.4f}, expected at least {min_cosine:g}"

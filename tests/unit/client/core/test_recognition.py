"""How an answer of the server reads, whole or broken."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from triptych import ContractMismatch, Label, Timing
from triptych._core.protocol import InferAnswer, Tensor
from triptych._core.recognition import Contract, Recognize

TIMING = Timing(total_s=1.0, remote_s=0.5, tries=1)
CLASSES = (b"0.93:454:Grocery: Fresh Produce / Granny Smith", b"0.04:281:tabby cat")


def labels_tensor(*rows: tuple[bytes, ...]) -> Tensor:
    entries = [entry for row in rows for entry in row]
    content = b"".join(struct.pack("<I", len(entry)) + entry for entry in entries)
    return Tensor("BYTES", (len(rows), len(rows[0])), content)


def floats_tensor(*rows: list[float]) -> Tensor:
    return Tensor("FP32", (len(rows), len(rows[0])), np.array(rows, np.float32).tobytes())


def whole(**tensors: Tensor) -> InferAnswer:
    usual = {
        "category_scores": labels_tensor(CLASSES, CLASSES[::-1]),
        "retail_score": floats_tensor([0.75], [0.25]),
        "embedding": floats_tensor([1.0, 0.0], [0.0, 1.0]),
    }
    return InferAnswer("", usual | tensors)


def read(answer: InferAnswer) -> list[object]:
    task = Recognize(top_k=2)
    request = task.request([b"one", b"two"], Contract(), "abc")
    return list(task.read(answer, request, Contract(), TIMING))


def test_rows_reach_their_photos_when_a_batch_is_read() -> None:
    task = Recognize(top_k=2)
    first, second = task.read(whole(), task.request([b"one", b"two"], Contract(), "abc"), Contract(), TIMING)
    assert first.labels == (
        Label(name="Granny Smith", category="Grocery: Fresh Produce", score=0.93, index=454),
        Label(name="tabby cat", category=None, score=0.04, index=281),
    )
    assert second.top == first.labels[1]
    assert (first.retail_score, second.retail_score) == (0.75, 0.25)
    assert (first.embedding.tolist(), second.embedding.tolist()) == ([1, 0], [0, 1])
    assert first.model_version is None
    assert first.request_id == second.request_id == "abc"


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"embedding": None}, "Output embedding is missing from the answer"),
        ({"embedding": floats_tensor([1.0, 0.0])}, r"embedding came back as FP32\[1, 2\], expected FP32 with one row"),
        ({"embedding": Tensor("FP32", (2, 2), b"1234")}, "came with 4 bytes, expected 16"),
        ({"embedding": Tensor("FP16", (2, 2), b"12345678")}, r"came back as FP16\[2, 2\]"),
        ({"category_scores": Tensor("BYTES", (2, 0), b"")}, r"category_scores came back as BYTES\[2, 0\]"),
        ({"category_scores": floats_tensor([0.9, 0.1], [0.9, 0.1])}, "came back as FP32"),
        ({"category_scores": Tensor("BYTES", (2, 1), b"\x01\0\0\0a")}, "came with 1 classes, expected 2"),
        ({"category_scores": labels_tensor((b"0.9:454",), CLASSES[:1])}, "expected score:index:label"),
        ({"category_scores": labels_tensor((b"high:454:apple",), CLASSES[:1])}, "expected score:index:label"),
        ({"category_scores": labels_tensor((b"0.9:454:\xff",), CLASSES[:1])}, "expected score:index:label"),
    ],
)
def test_client_says_what_came_back_when_the_answer_is_not_as_agreed(
    tensors: dict[str, Tensor | None], said: str
) -> None:
    complete = dict(whole().tensors) | {name: tensor for name, tensor in tensors.items() if tensor is not None}
    answer = InferAnswer("1", {name: tensor for name, tensor in complete.items() if tensors.get(name, tensor)})
    with pytest.raises(ContractMismatch, match=said) as caught:
        read(answer)
    assert caught.value.request_id == "abc"


@pytest.mark.parametrize(
    ("line", "category", "name"),
    [
        ("Shoes / running shoe", "Shoes", "running shoe"),
        ("tabby cat", None, "tabby cat"),
        ("Home / cup / saucer", "Home", "cup / saucer"),
        ("and/or", None, "and/or"),
    ],
)
def test_label_splits_at_the_first_separator_when_read(line: str, category: str | None, name: str) -> None:
    label = Label.from_line(line, score=0.5, index=1)
    assert (label.category, label.name) == (category, name)
    assert str(label) == line

"""What the client sends, how it reads the answer, and when it refuses. The server is played in memory."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from triptych import Client, ContractMismatch, DeadlineExceeded, InvalidInput, Label, NotReady, Recognition
from triptych.recognizer import INPUTS, OUTPUTS

PHOTO = b"\xff\xd8 photo \x80\x00"


def test_recognition_holds_every_output_when_the_server_answers(client: Client, transport: Any) -> None:
    recognition = client.recognize(PHOTO, top_k=3)
    assert recognition.labels == (
        Label(name="Granny Smith", category="Grocery: Fresh Produce", score=0.93, index=454),
        Label(name="tabby cat", category=None, score=0.04, index=281),
        Label(name="running shoe", category="Shoes", score=0.03, index=770),
    )
    assert recognition.top is recognition.labels[0]
    assert recognition.retail_score == pytest.approx(0.97, abs=1e-7)  # one float32 rounding
    assert (recognition.model, recognition.model_version) == ("recognizer", "1")
    assert recognition.request_id == transport.requests[0]["request_id"]


def test_embedding_is_a_read_only_row_when_the_server_answers(client: Client) -> None:
    embedding = client.recognize(PHOTO).embedding
    assert embedding.shape == (1280,)
    assert embedding.dtype == np.float32
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)  # 1280 float32 roundings
    with pytest.raises(ValueError, match="read-only"):
        embedding[0] = 0


def test_recognition_compares_and_hashes_when_it_holds_an_array(client: Client) -> None:
    first, second = client.recognize(PHOTO), client.recognize(PHOTO)
    assert first != second
    assert len({first, second, first}) == 2
    assert "embedding" not in repr(first)


def test_version_is_none_when_the_server_does_not_say(client: Client, transport: Any, answer_of: Any) -> None:
    transport.answer = answer_of(version="")
    assert client.recognize(PHOTO).model_version is None


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


@pytest.mark.parametrize("photo", [PHOTO, bytearray(PHOTO), memoryview(PHOTO), io.BytesIO(PHOTO)], ids=type)
def test_request_carries_the_photo_unchanged_when_sent(client: Client, transport: Any, photo: Any) -> None:
    client.recognize(photo)
    assert transport.sent_photo() == PHOTO


def test_request_asks_all_outputs_at_once_when_sent(client: Client, transport: Any) -> None:
    client.recognize(PHOTO, top_k=7)
    (request,) = transport.requests
    assert request["model_name"] == "recognizer"
    image = request["inputs"][0]._get_tensor()
    assert (image.name, image.datatype, list(image.shape)) == ("image", "BYTES", [1, 1])
    class_counts = {
        output.name(): output._get_tensor().parameters["classification"].int64_param for output in request["outputs"]
    }
    assert class_counts == {"category_scores": 7, "retail_score": 0, "embedding": 0}


def test_request_id_is_fresh_when_a_photo_is_sent_again(client: Client, transport: Any) -> None:
    client.recognize(PHOTO)
    client.recognize(PHOTO)
    first, second = (request["request_id"] for request in transport.requests)
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{32}", first)


@pytest.mark.parametrize("top_k", [0, -1, 1.0, "5", None, True, 2**32])
def test_client_sends_nothing_when_top_k_is_wrong(client: Client, transport: Any, top_k: Any) -> None:
    with pytest.raises(InvalidInput, match=re.escape(f"top_k is {top_k!r}; expected a whole number from 1")):
        client.recognize(PHOTO, top_k=top_k)
    assert not transport.requests
    assert not transport.metadata_timeouts_s


def test_client_sends_nothing_when_the_photo_is_wrong(client: Client, transport: Any) -> None:
    with pytest.raises(InvalidInput):
        client.recognize(b"")
    assert not transport.requests
    assert not transport.metadata_timeouts_s


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), 1e10, "10", None, True])
def test_client_is_refused_when_the_timeout_is_wrong(transport: Any, timeout_s: Any) -> None:
    with pytest.raises(InvalidInput, match="timeout_s is"):
        Client(timeout_s=timeout_s, _transport=transport)


@pytest.mark.parametrize("target", ["", "localhost", "http://localhost:8000", "https://shop:443", None])
def test_client_is_refused_when_the_target_is_no_grpc_address(target: Any) -> None:
    with pytest.raises(InvalidInput, match="The target is"):
        Client(target)


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ({"image": "FP32"}, OUTPUTS, "input image is FP32, expected BYTES"),
        ({"photo": "BYTES"}, OUTPUTS, "input image is missing, there is only photo"),
        (INPUTS, {**OUTPUTS, "embedding": "FP16"}, "output embedding is FP16, expected FP32"),
        (INPUTS, {}, "output category_scores is missing, there is only none"),
    ],
)
def test_client_names_the_difference_when_the_server_serves_another_model(
    client: Client, transport: Any, metadata_of: Any, inputs: Any, outputs: Any, said: str
) -> None:
    transport.metadata = metadata_of(inputs, outputs)
    with pytest.raises(ContractMismatch, match=said) as caught:
        client.recognize(PHOTO)
    assert not transport.requests
    assert caught.value.request_id


def test_client_accepts_the_server_when_it_offers_more(client: Client, transport: Any, metadata_of: Any) -> None:
    transport.metadata = metadata_of({**INPUTS, "region": "FP32"}, {**OUTPUTS, "brand_scores": "FP32"})
    assert client.recognize(PHOTO).top.name == "Granny Smith"


def test_contract_is_checked_once_when_it_holds(client: Client, transport: Any) -> None:
    client.recognize(PHOTO)
    client.recognize(PHOTO)
    assert len(transport.metadata_timeouts_s) == 1


def test_contract_is_checked_again_when_the_check_could_not_be_made(client: Client, transport: Any) -> None:
    transport.metadata_error = InferenceServerException("no available versions", status="StatusCode.NOT_FOUND")
    with pytest.raises(NotReady):
        client.recognize(PHOTO)
    transport.metadata_error = None
    assert isinstance(client.recognize(PHOTO), Recognition)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"without": "embedding"}, "Output embedding came back as nothing"),
        ({"classes": ()}, r"category_scores came back as the shape \[1, 0\]"),
        ({"classes": (b"0.9:454",)}, "expected score:index:label"),
        ({"classes": (b"high:454:apple",)}, "expected score:index:label"),
        ({"classes": (b"0.9:454:\xff",)}, "expected score:index:label"),
    ],
)
def test_client_says_what_came_back_when_the_answer_is_not_as_agreed(
    client: Client, transport: Any, answer_of: Any, answer: Any, said: str
) -> None:
    transport.answer = answer_of(**answer)
    with pytest.raises(ContractMismatch, match=said) as caught:
        client.recognize(PHOTO)
    assert caught.value.request_id == transport.requests[0]["request_id"]


def test_deadline_covers_the_contract_check_when_the_call_is_the_first(transport: Any) -> None:
    transport.metadata_delay_s = 0.05
    client = Client("shop:8001", timeout_s=30, _transport=transport)
    client.recognize(PHOTO)
    assert 29 < transport.metadata_timeouts_s[0] <= 30
    assert 29 < transport.requests[0]["client_timeout"] <= 30 - 0.05


def test_deadline_ends_the_call_when_the_contract_check_used_it_up(transport: Any) -> None:
    transport.metadata_delay_s = 0.03
    with pytest.raises(DeadlineExceeded, match=r"within 0\.01 s"):
        Client("shop:8001", timeout_s=0.01, _transport=transport).recognize(PHOTO)
    assert not transport.requests


def test_error_carries_the_request_id_when_the_server_refuses(client: Client, transport: Any) -> None:
    original = InferenceServerException("Server is stopping", status="StatusCode.UNAVAILABLE")
    transport.errors = [original]
    with pytest.raises(NotReady, match="shop:8001") as caught:
        client.recognize(PHOTO)
    assert caught.value.request_id == transport.requests[0]["request_id"]
    assert caught.value.__cause__ is original


def test_client_closes_once_when_closed_twice(client: Client, transport: Any) -> None:
    with client:
        client.close()
    client.close()
    assert transport.closed == 1


def test_client_says_so_when_used_after_close(client: Client, transport: Any) -> None:
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.recognize(PHOTO)
    assert not transport.requests


def test_connection_closes_twice_without_a_word_when_no_server_is_there() -> None:
    client = Client("127.0.0.1:1")
    client.close()
    client.close()


def test_import_and_construction_touch_no_network_when_sockets_are_blocked() -> None:
    program = """
import socket
def refuse(*arguments, **options):
    raise AssertionError("the network was touched")
socket.socket.connect = socket.socket.bind = socket.getaddrinfo = socket.create_connection = refuse
import sys
network = ("socket.connect", "socket.bind", "socket.getaddrinfo")
sys.addaudithook(lambda event, _: refuse() if event in network else None)
import triptych, triptych.command
triptych.Client().close()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)

"""Photos through the real server, over gRPC and over HTTP with one body."""

from __future__ import annotations

import concurrent.futures
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc
import tritonclient.http
from PIL import Image
from tritonclient.utils import InferenceServerException

from ops.server.local_server import LocalServer
from tests.faults.photo_parts import encode, png
from tests.faults.served import stubs_of
from triptych import Client, Recognition, UnreadableImage

ALL_OUTPUTS = ("category_scores", "retail_score", "embedding")
# The two protocols spell a refusal of the caller's input differently.
INVALID = {"grpc": "StatusCode.INVALID_ARGUMENT", "http": "400"}


class Caller:
    """tritonclient over one protocol: both modules have the same names."""

    def __init__(self, protocol: str, server: LocalServer) -> None:
        self.protocol = protocol
        self.triton: ModuleType = {"grpc": tritonclient.grpc, "http": tritonclient.http}[protocol]
        address = server.grpc_target if protocol == "grpc" else server.http_url.removeprefix("http://")
        self.channel = self.triton.InferenceServerClient(address)

    def infer(
        self, photos: list[bytes], outputs: tuple[str, ...] = ALL_OUTPUTS, model: str = "recognizer"
    ) -> dict[str, npt.NDArray[Any]]:
        image = self.triton.InferInput("image", [len(photos), 1], "BYTES")
        image.set_data_from_numpy(np.array([[photo] for photo in photos], dtype=object))
        wanted = [self.triton.InferRequestedOutput(name) for name in outputs]
        answer = self.channel.infer(model, [image], outputs=wanted)
        return {name: answer.as_numpy(name) for name in outputs}


@pytest.fixture(params=["grpc", "http"])
def caller(request: pytest.FixtureRequest, either_server: LocalServer) -> Iterator[Caller]:
    caller = Caller(request.param, either_server)
    yield caller
    caller.channel.close()


@pytest.fixture(scope="module")
def photo(photos: list[Path]) -> bytes:
    return photos[0].read_bytes()


def true_class(photo: Path) -> int:
    return int(photo.stem.rpartition("_")[2])


def test_recognizer_is_right_on_18_of_20_photos(caller: Caller, photos: list[Path]) -> None:
    assert len(photos) == 20
    tops = [caller.infer([photo.read_bytes()])["category_scores"][0].argmax() for photo in photos]
    assert sum(top == true_class(photo) for top, photo in zip(tops, photos, strict=True)) >= 18


def test_recognizer_answers_are_normalised(caller: Caller, photo: bytes) -> None:
    answer = caller.infer([photo])
    assert {name: (array.shape, array.dtype.name) for name, array in answer.items()} == {
        "category_scores": ((1, 1000), "float32"),
        "retail_score": ((1, 1), "float32"),
        "embedding": ((1, 1280), "float32"),
    }
    # float32 sums of a thousand terms: 1e-5 is 50 times what was seen.
    assert np.linalg.norm(answer["embedding"]) == pytest.approx(1, abs=1e-5)
    assert answer["category_scores"].sum() == pytest.approx(1, abs=1e-5)
    assert 0 <= answer["retail_score"] <= 1


def test_recognizer_answers_a_batch_as_it_answers_each_photo(caller: Caller, photos: list[Path]) -> None:
    contents = [photo.read_bytes() for photo in photos[:8]]
    together = caller.infer(contents)
    for row, content in enumerate(contents):
        alone = caller.infer([content])
        for name in ALL_OUTPUTS:
            # Another batch size may order float32 sums otherwise; the export allows features 3e-4.
            np.testing.assert_allclose(together[name][row], alone[name][0], atol=1e-5)


def test_photos_are_answered_in_memory_that_is_there(either_server: LocalServer, photo: bytes) -> None:
    """Buffers mapped anew for each photo are 300 page faults a photo and a tenth of the throughput."""
    pids = [pid for model in ("preprocess", "embedder", "recognizer") for pid in stubs_of(either_server, model)]
    with Client(either_server.grpc_target) as client:
        for number in range(120):
            if number == 40:
                before = sum(map(minor_faults, pids))
            client.recognize(photo + os.urandom(8))  # nobody has sent it before: no cache answers
    assert (sum(map(minor_faults, pids)) - before) / 80 < 50


def minor_faults(pid: int) -> int:
    # proc(5): the 10th field; the second, the program's name, may hold spaces and parentheses.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def test_both_protocols_answer_the_same(server: LocalServer, photos: list[Path]) -> None:
    grpc_caller, http_caller = Caller("grpc", server), Caller("http", server)
    for photo in photos[:5]:
        over_grpc, over_http = (each.infer([photo.read_bytes()]) for each in (grpc_caller, http_caller))
        for name in ALL_OUTPUTS:
            np.testing.assert_array_equal(over_grpc[name], over_http[name])
    grpc_caller.channel.close()
    http_caller.channel.close()


def test_class_names_reach_the_caller_through_the_ensemble(caller: Caller, photos: list[Path]) -> None:
    (shoe,) = [photo for photo in photos if true_class(photo) == 630]
    image = caller.triton.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[shoe.read_bytes()]], dtype=object))
    wanted = [caller.triton.InferRequestedOutput("category_scores", class_count=1)]
    (top,) = caller.channel.infer("recognizer", [image], outputs=wanted).as_numpy("category_scores").reshape(-1)
    assert top.decode().split(":", 2)[1:] == ["630", "Shoes / Loafer"]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b"", "unreadable image: got 0 bytes"),
        (b"PRODUCT;PRICE\nshoe;12\n", "unreadable image: got plain text"),
        (encode(Image.effect_noise((500, 500), 90), "JPEG")[:9000], "unreadable image: the JPEG file is damaged"),
        (png(60_000, 60_000, zlib.compress(bytes(7_501))), "image too large: 60000 x 60000 = 3600.0 megapixels"),
        (b"\xff\xd8" + bytes(20_000_000), "image too large: 20.0 MB; the limit is 20 MB"),
    ],
    ids=["empty", "text", "truncated", "bomb", "over the limit"],
)
def test_recognizer_refuses_a_bad_photo_with_a_sentence(caller: Caller, bad: bytes, sentence: str) -> None:
    with pytest.raises(InferenceServerException) as refusal:
        caller.infer([bad])
    assert refusal.value.status() == INVALID[caller.protocol]
    assert sentence in refusal.value.message()


def test_recognizer_names_the_bad_photo_when_a_request_holds_several(caller: Caller, photo: bytes) -> None:
    with pytest.raises(InferenceServerException, match=r"photo 3 of 4 in this request"):
        caller.infer([photo, photo, b"not a photo", photo])


@pytest.mark.parametrize(
    ("name", "shape", "datatype", "sentence"),
    [
        ("picture", [1, 1], "BYTES", "picture"),
        ("image", [1, 1], "INT32", "INT32"),
        ("image", [1, 2], "BYTES", "shape"),
        ("image", [9, 1], "BYTES", "batch-size must be <= 8"),
    ],
    ids=["name", "dtype", "shape", "batch"],
)
def test_recognizer_refuses_a_wrong_tensor(
    caller: Caller, name: str, shape: list[int], datatype: str, sentence: str
) -> None:
    tensor = caller.triton.InferInput(name, shape, datatype)
    fill = np.zeros(shape, np.int32) if datatype == "INT32" else np.full(shape, b"x", dtype=object)
    tensor.set_data_from_numpy(fill)
    with pytest.raises(InferenceServerException, match=sentence) as refusal:
        caller.channel.infer("recognizer", [tensor])
    assert refusal.value.status() == INVALID[caller.protocol]


def test_one_corrupt_photo_among_64_fails_alone(either_server: LocalServer, photos: list[Path]) -> None:
    contents = [photos[n % 20].read_bytes() + os.urandom(8) for n in range(64)]  # trailing bytes: no two alike
    contents[37] = contents[37][:1000]
    with Client(either_server.grpc_target) as client, concurrent.futures.ThreadPoolExecutor(64) as pool:
        alone = [client.recognize(photo).labels[0].index for photo in photos]
        futures = [pool.submit(client.recognize, content) for content in contents]
        for n, future in enumerate(futures):
            if n == 37:
                assert isinstance(future.exception(), UnreadableImage)
            else:
                assert future.result().labels[0].index == alone[n % 20], n


def test_repeated_photo_is_answered_whole_whatever_was_asked_first(caller: Caller, photo: bytes) -> None:
    fresh = photo + caller.protocol.encode()
    first = caller.infer([fresh], outputs=("category_scores",))
    second = caller.infer([fresh], outputs=("embedding",))
    whole = caller.infer([fresh])
    np.testing.assert_array_equal(first["category_scores"], whole["category_scores"])
    np.testing.assert_array_equal(second["embedding"], whole["embedding"])


def test_repeated_bad_photo_is_refused_with_the_same_sentence(caller: Caller) -> None:
    messages = set()
    for _ in range(3):
        with pytest.raises(InferenceServerException) as refusal:
            caller.infer([b"bad, again and again"])
        messages.add(refusal.value.message())
    assert len(messages) == 1
    assert "unreadable image: got plain text" in messages.pop()


def test_client_recognises_as_plain_tritonclient_does(server: LocalServer, photos: list[Path]) -> None:
    caller = Caller("grpc", server)
    with Client(server.grpc_target) as client:
        recognition = client.recognize(photos[11], top_k=3)
    assert isinstance(recognition, Recognition)
    answer = caller.infer([photos[11].read_bytes()])
    np.testing.assert_array_equal(recognition.embedding, answer["embedding"][0])
    assert [label.index for label in recognition.labels] == list(np.argsort(-answer["category_scores"][0])[:3])
    assert recognition.retail_score == pytest.approx(float(answer["retail_score"][0, 0]), abs=1e-6)
    assert str(recognition.top) == "Shoes / Loafer"
    caller.channel.close()

"""What the client sends, what it gives back, and when it refuses. The server is played in memory."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import re
import warnings
from typing import Any

import numpy as np
import pytest
import trustme

from triptych import (
    TLS,
    AsyncClient,
    Client,
    ContractMismatch,
    DeadlineExceeded,
    InvalidInput,
    Label,
    NotReady,
    PermissionDenied,
    Recognition,
    Retry,
    UnreadableImage,
)
from triptych._core.protocol import RequestedOutput
from triptych.testing import FakeServer, fake_async_client, fake_client

PHOTO = b"\xff\xd8 photo \x80\x00"


def metadata_calls(fake: FakeServer) -> int:
    return sum(getattr(recorded.call, "rpc", "") == "ModelMetadata" for recorded in fake.calls)


def test_recognition_holds_every_output_when_the_server_answers(client: Client, fake: FakeServer) -> None:
    fake.answer(
        PHOTO, labels=[("Shoes / Loafer", 0.75), ("tabby cat", 0.125)], retail_score=0.5, embedding=np.eye(1280)[7]
    )
    recognition = client.recognize(PHOTO, top_k=2)
    assert recognition.labels == (
        Label(name="Loafer", category="Shoes", score=0.75, index=0),
        Label(name="tabby cat", category=None, score=0.125, index=8),
    )
    assert recognition.top is recognition.labels[0]
    assert recognition.retail_score == 0.5
    assert not recognition.abstained
    assert (recognition.model, recognition.model_version) == ("recognizer", "1")
    assert recognition.request_id == fake.requests[0].request_id
    assert list(np.flatnonzero(recognition.embedding)) == [7]


def test_embedding_is_a_read_only_row_when_the_server_answers(client: Client) -> None:
    vector = client.embed(PHOTO).vector
    assert vector.shape == (1280,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)  # 1280 float32 roundings
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 0
    np.testing.assert_array_equal(np.asarray(client.embed(PHOTO)), vector)


def test_recognition_compares_and_hashes_when_it_holds_an_array(client: Client) -> None:
    first, second = client.recognize(PHOTO), client.recognize(PHOTO)
    assert first != second
    assert len({first, second, first}) == 2
    assert "embedding" not in repr(first)


def test_attributes_are_answered_when_the_server_has_more_scores() -> None:
    fake = FakeServer(attributes={"brand": ["Acme", "Zephyr"]})
    fake.answer(PHOTO, attributes={"brand": [("Zephyr", 0.875)]})
    with fake_client(fake) as client:
        recognition = client.recognize(PHOTO, top_k=1)
        assert client.classify(PHOTO, min_score=0.9).attributes == {"brand": ()}
    assert [str(label) for label in recognition.attributes["brand"]] == ["Zephyr"]
    with pytest.raises(TypeError):
        recognition.attributes["brand"] = ()  # type: ignore[index]


def test_classification_abstains_when_no_label_reaches_the_score(client: Client, fake: FakeServer) -> None:
    fake.answer(PHOTO, labels=[("tabby cat", 0.5)])
    assert client.classify(PHOTO, min_score=0.5).top is not None
    abstained = client.classify(PHOTO, min_score=0.51)
    assert (abstained.abstained, abstained.labels, abstained.top) == (True, (), None)


def test_each_call_asks_for_what_it_returns_when_sent(client: Client, fake: FakeServer) -> None:
    client.recognize(PHOTO, top_k=7)
    client.classify(PHOTO, top_k=2)
    client.embed(PHOTO)
    recognize, classify, embed = (set(request.outputs) for request in fake.requests)
    embedding, retail = RequestedOutput("embedding"), RequestedOutput("retail_score")
    assert recognize == {embedding, retail, RequestedOutput("category_scores", class_count=7)}
    assert classify == {retail, RequestedOutput("category_scores", class_count=2)}
    assert embed == {embedding}


@pytest.mark.parametrize("photo", [PHOTO, bytearray(PHOTO), memoryview(PHOTO), io.BytesIO(PHOTO)], ids=type)
def test_request_carries_the_photo_unchanged_when_sent(client: Client, fake: FakeServer, photo: Any) -> None:
    client.recognize(photo)
    assert fake.photos == [PHOTO]


def test_request_id_is_fresh_when_a_photo_is_sent_again(client: Client, fake: FakeServer) -> None:
    client.recognize(PHOTO)
    client.recognize(PHOTO)
    first, second = (request.request_id for request in fake.requests)
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{32}", first)


def test_timing_splits_the_call_when_a_try_failed(client: Client, fake: FakeServer) -> None:
    client.recognize(PHOTO)
    fake.delay_s = 0.02
    fake.fail_next(NotReady)
    timing = client.recognize(PHOTO).timing
    assert timing.tries == 2
    assert timing.total_s >= 0.04
    assert 0.02 <= timing.remote_s <= timing.total_s - 0.02
    assert timing.client_s == pytest.approx(timing.total_s - timing.remote_s)


@pytest.mark.parametrize("top_k", [0, -1, 1.0, "5", None, True, 2**32])
def test_client_sends_nothing_when_top_k_is_wrong(client: Client, fake: FakeServer, top_k: Any) -> None:
    with pytest.raises(InvalidInput, match=re.escape(f"top_k is {top_k!r}; expected a whole number from 1")):
        client.recognize(PHOTO, top_k=top_k)
    assert not fake.calls


@pytest.mark.parametrize("min_score", [-0.1, 1.1, "0.5", True, float("nan")])
def test_client_sends_nothing_when_min_score_is_wrong(client: Client, fake: FakeServer, min_score: Any) -> None:
    with pytest.raises(InvalidInput, match=r"min_score is .*; expected a probability"):
        client.classify(PHOTO, min_score=min_score)
    assert not fake.calls


@pytest.mark.parametrize("photo", [b"", bytearray(), "no/such/file.jpg", 7, None])
def test_client_sends_nothing_when_the_photo_is_wrong(client: Client, fake: FakeServer, photo: Any) -> None:
    with pytest.raises(InvalidInput):
        client.recognize(photo)
    assert not fake.calls


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        *(({"timeout_s": wrong}, "timeout_s is") for wrong in (0, -1, float("nan"), float("inf"), 1e10, "10", True)),
        *(({"max_in_flight": wrong}, "max_in_flight is") for wrong in (0, 1.5, "8", True)),
        *(({"channels": wrong}, "channels is") for wrong in (0, 1.5, True)),
        ({"retry": 3}, "retry is 3; expected a Retry"),
        ({"balance": "random"}, "balance is 'random'; expected 'round_robin' or 'pick_first'"),
        ({"transport": "smtp"}, "transport is 'smtp'; expected 'grpc' or 'http'"),
        ({"auth": "token"}, "auth is a str; expected headers"),
        ({"api_key": "no-value"}, "as triptych-control-key=<text of the file>"),
        ({"shared_memory": True, "transport": "http"}, "Shared memory goes with gRPC"),
    ],
)
def test_client_is_refused_when_an_argument_is_wrong(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Client("shop:8001", **arguments)
    with pytest.raises(InvalidInput, match=said):
        AsyncClient("shop:8001", **arguments)


@pytest.mark.parametrize(
    "target", ["", "localhost", "ftp://localhost:8000", "grpc://shop", None, "a:1,b:2", "10.0.0.1:1,[::1]:2"]
)
def test_client_is_refused_when_the_target_is_no_grpc_address(target: Any) -> None:
    with pytest.raises(InvalidInput, match=r"[Tt]arget"):
        Client(target)


def test_secrets_stay_out_of_texts_when_a_client_is_shown() -> None:
    with Client("shop:8001", api_key="shop-key=hunter2", auth={"authorization": "Bearer hunter2"}) as client:
        assert "hunter2" not in f"{client!r} {client._configuration!r} {vars(client)!r}"


def test_headers_are_asked_for_at_each_call_when_auth_is_a_function(fake: FakeServer) -> None:
    tokens = iter(["one", "two", "three"])
    with fake_client(fake, auth=lambda: {"authorization": next(tokens)}) as client:
        client.recognize(PHOTO)
        client.recognize(PHOTO)
    assert [recorded.headers["authorization"] for recorded in fake.calls] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("part", "tensors", "said"),
    [
        ("inputs", [("image", "FP32")], "input image is FP32, expected BYTES"),
        ("inputs", [("photo", "BYTES")], "input image is missing, there is only photo"),
        ("outputs", [("embedding", "FP16")], "output embedding is FP16, expected FP32"),
        ("outputs", [], "output category_scores is missing, there is only none"),
    ],
)
def test_client_names_the_difference_when_the_server_serves_another_model(
    client: Client, fake: FakeServer, part: str, tensors: list[tuple[str, str]], said: str
) -> None:
    metadata = {
        "inputs": [{"name": "image", "datatype": "BYTES"}],
        "outputs": [{"name": name, "datatype": "FP32"} for name in ("category_scores", "retail_score", "embedding")],
    }
    fake.replies["ModelMetadata"] = {**metadata, part: [{"name": name, "datatype": kind} for name, kind in tensors]}
    with pytest.raises(ContractMismatch, match=said) as caught:
        client.recognize(PHOTO)
    assert not fake.requests
    assert caught.value.request_id


def test_contract_is_checked_once_when_it_holds(client: Client, fake: FakeServer) -> None:
    client.recognize(PHOTO)
    client.with_options(timeout_s=3).recognize(PHOTO)
    assert metadata_calls(fake) == 1


def test_contract_is_checked_again_when_the_check_could_not_be_made(client: Client, fake: FakeServer) -> None:
    fake.fail_next(NotReady, times=4, rpc="ModelMetadata")
    with pytest.raises(NotReady):
        client.recognize(PHOTO)
    assert isinstance(client.recognize(PHOTO), Recognition)


def test_call_goes_on_when_the_server_keeps_its_metadata_to_itself(client: Client, fake: FakeServer) -> None:
    fake.fail_next(PermissionDenied, rpc="ModelMetadata")
    assert client.recognize(PHOTO).labels


def test_deadline_covers_the_contract_check_when_the_call_is_the_first(fake: FakeServer) -> None:
    fake.delay_s = 0.05
    with fake_client(fake, timeout_s=30) as client:
        client.recognize(PHOTO)
    check, inference = fake.calls
    assert 29 < check.timeout_s <= 30
    assert 29 < inference.timeout_s <= 30 - 0.05


def test_deadline_ends_the_call_when_the_contract_check_used_it_up(fake: FakeServer) -> None:
    fake.delay_s = 0.03
    with fake_client(fake, timeout_s=0.01) as client, pytest.raises(DeadlineExceeded, match=r"within 0\.01 s"):
        client.recognize(PHOTO)
    assert not fake.requests


def test_error_carries_the_request_id_when_the_server_refuses(client: Client, fake: FakeServer) -> None:
    fake.refuse(PHOTO)
    with pytest.raises(UnreadableImage) as caught:
        client.recognize(PHOTO)
    assert caught.value.request_id == fake.requests[0].request_id
    assert caught.value.model == "recognizer"
    assert caught.value.__cause__ is not None


def test_client_closes_once_when_closed_twice(fake: FakeServer) -> None:
    with fake_client(fake) as client:
        client.close()
    client.close()
    assert fake.closed == 1


def test_connection_stays_open_when_a_client_of_other_options_closes(client: Client, fake: FakeServer) -> None:
    with client.with_options(timeout_s=1) as other:
        other.recognize(PHOTO)
    with pytest.raises(RuntimeError, match="closed"):
        other.recognize(PHOTO)
    assert client.recognize(PHOTO).labels
    third = client.with_options()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        third.recognize(PHOTO)
    assert fake.closed == 1


def test_client_says_so_when_used_after_close(client: Client, fake: FakeServer) -> None:
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.recognize(PHOTO)
    with pytest.raises(RuntimeError, match="closed"):
        client.recognize_many([PHOTO])
    assert not fake.calls


def test_connection_closes_twice_without_a_word_when_no_server_is_there() -> None:
    client = Client("127.0.0.1:1")
    client.close()
    client.close()


def test_client_says_so_when_carried_across_a_fork(client: Client) -> None:
    client.recognize(PHOTO)
    fork = multiprocessing.get_context("fork")
    said = fork.SimpleQueue()

    def child() -> None:
        try:
            client.recognize(PHOTO)
        except RuntimeError as error:
            said.put(str(error))
        else:
            said.put("no error")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forking with threads about
        process = fork.Process(target=child)
        process.start()
    process.join(30)
    assert "before a fork" in said.get()


def test_async_client_says_so_when_used_from_another_loop(fake: FakeServer) -> None:
    client = fake_async_client(fake)
    asyncio.run(_recognized(client))
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(_recognized(client))


async def _recognized(client: AsyncClient) -> Recognition:
    return await client.recognize(PHOTO)


def test_async_client_closes_once_when_closed_twice(fake: FakeServer) -> None:
    async def main() -> None:
        async with fake_async_client(fake) as client:
            assert (await client.recognize(PHOTO)).labels
            await client.close()
        await client.close()
        with pytest.raises(RuntimeError, match="closed"):
            await client.recognize(PHOTO)

    asyncio.run(main())
    assert fake.closed == 1


def test_environment_makes_the_client_when_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(authority)
    for name, value in {
        "TARGET": "dns:///shop:8001",
        "TIMEOUT_S": "2.5",
        "API_KEY": "shop-key=secret",
        "TOKEN": "abc",
        "TLS_CA": str(authority),
    }.items():
        monkeypatch.setenv(f"TRIPTYCH_{name}", value)
    with Client.from_env(max_in_flight=3, timeout_s=4.0) as client:
        configuration = client._configuration
    assert configuration.connection.target == "dns:///shop:8001"
    assert configuration.connection.api_key == ("shop-key", "secret")
    assert configuration.connection.tls == TLS(root_certificates=str(authority))
    assert (configuration.options.timeout_s, configuration.options.max_in_flight) == (4.0, 3)
    assert configuration.headers() == {"authorization": "Bearer abc"}
    monkeypatch.setenv("TRIPTYCH_TIMEOUT_S", "soon")
    with pytest.raises(InvalidInput, match="TRIPTYCH_TIMEOUT_S is 'soon'"):
        AsyncClient.from_env()


@pytest.mark.parametrize("arguments", [{"certificate": __file__}, {"private_key": __file__}])
def test_tls_is_refused_when_half_of_the_identity_is_missing(arguments: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="only a certificate or only a private key"):
        TLS(**arguments)


def test_tls_is_refused_when_a_file_cannot_be_read() -> None:
    with pytest.raises(InvalidInput, match=r"root_certificates of TLS cannot be read: 'no\.pem'"):
        TLS(root_certificates="no.pem")


def test_retry_is_refused_when_it_cannot_be_followed() -> None:
    for wrong in ({"tries": 0}, {"first_pause_s": -1}, {"budget": -0.1}):
        with pytest.raises(InvalidInput, match="is out of range"):
            Retry(**wrong)

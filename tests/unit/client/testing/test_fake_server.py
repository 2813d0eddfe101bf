"""The fake server answers as Triton does: the same texts, tensors and limits, through a real client."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from triptych import (
    ContractMismatch,
    DeadlineExceeded,
    FetchFailed,
    InvalidInput,
    Item,
    NotReady,
    Overloaded,
    Retry,
    ServerFault,
    Unavailable,
    UnreadableImage,
    errors,
)
from triptych._core.failures.codes import coded
from triptych._core.protocol import model_metadata
from triptych.errors import TriptychError
from triptych.testing import LABELS, Failure, FakeServer, TransportError, fake_async_client, fake_client

NEVER = Retry(tries=1)
AT_ONCE = Retry(first_pause_s=0)
# One float32 rounding for each of 1280 squares.
NORM_TOLERANCE = 1e-5


@pytest.fixture
def fake() -> FakeServer:
    return FakeServer()


def test_photo_is_answered_alike_when_sent_to_another_server() -> None:
    first, second = (fake_client(FakeServer()).recognize(b"a shoe") for _ in range(2))
    assert first.labels == second.labels
    assert first.retail_score == second.retail_score
    assert np.array_equal(first.embedding, second.embedding)


def test_photo_is_answered_as_always_when_versions_change() -> None:
    """Callers may have written these numbers into their tests."""
    recognition = fake_client().recognize(b"a shoe", top_k=1)
    assert str(recognition.top) == "Kitchen / espresso maker"
    assert recognition.labels[0].score == 0.457926  # six digits of text, as Triton sends them
    assert recognition.embedding[:3] == pytest.approx([-0.007003096, -0.01779718, -0.037629936], abs=1e-7)


def test_photos_differ_when_their_bytes_do() -> None:
    client = fake_client()
    vectors = [client.embed(b"%d" % n).vector for n in range(20)]
    for one, other in itertools.combinations(vectors, 2):
        assert abs(one @ other) < 0.2  # independent directions: 1 / sqrt(1280) = 0.028 is their spread
    assert len({client.classify(b"%d" % n).labels for n in range(20)}) == 20


def test_recognition_is_well_formed_when_invented() -> None:
    recognition = fake_client().recognize(b"a shoe", top_k=1000)
    assert {str(label) for label in recognition.labels} == set(LABELS)
    assert [label.index for label in recognition.labels] != sorted(label.index for label in recognition.labels)
    scores = [label.score for label in recognition.labels]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-5)  # ten scores of six digits
    assert 0 <= recognition.retail_score <= 1
    assert recognition.embedding.shape == (1280,)
    assert recognition.embedding.dtype == np.float32
    assert np.linalg.norm(recognition.embedding) == pytest.approx(1, abs=NORM_TOLERANCE)


def test_scripted_answer_comes_back_when_its_photo_is_sent(tmp_path: Path) -> None:
    fake = FakeServer(embedding_size=3, attributes={"brand": ["Acme", "Zephyr"]})
    photo = tmp_path / "boot.jpg"
    photo.write_bytes(b"a boot")
    fake.answer(
        photo,
        labels=[("Shoes / boot", 0.75), ("tabby cat", 0.125)],
        attributes={"brand": [("Zephyr", 1.0)]},
        retail_score=0.5,
        embedding=[3, 0, 4],
    )
    recognition = fake_client(fake).recognize(b"a boot", top_k=3, min_score=0.1)
    assert [(str(label), label.score, label.index) for label in recognition.labels] == [
        ("Shoes / boot", 0.75, len(LABELS)),
        ("tabby cat", 0.125, LABELS.index("tabby cat")),
    ]
    assert recognition.attributes["brand"][0].name == "Zephyr"
    assert recognition.retail_score == 0.5
    assert recognition.embedding == pytest.approx([0.6, 0, 0.8], abs=1e-7)  # one float32 rounding


def test_rest_of_the_answer_is_invented_when_a_part_is_scripted(fake: FakeServer) -> None:
    usual = fake_client(FakeServer()).recognize(b"a boot")
    fake.answer(b"a boot", retail_score=0.25)
    scripted = fake_client(fake).recognize(b"a boot")
    assert scripted.retail_score == 0.25
    assert scripted.labels == usual.labels
    assert np.array_equal(scripted.embedding, usual.embedding)


@pytest.mark.parametrize("embedding", [[1, 2], np.zeros(3), [[1, 2, 3]]], ids=["short", "zero", "matrix"])
def test_script_is_refused_when_the_embedding_is_none_of_the_server(embedding: object) -> None:
    with pytest.raises(ValueError, match=r"expected \[3\], not all zero"):
        FakeServer(embedding_size=3).answer(b"a", embedding=embedding)  # type: ignore[arg-type]


def test_script_is_refused_when_the_attribute_is_none_of_the_server(fake: FakeServer) -> None:
    with pytest.raises(ValueError, match="attribute 'brand' is not the server's, it has none"):
        fake.answer(b"a", attributes={"brand": [("Acme", 1.0)]})


SPOKEN = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, TriptychError)
    and kind not in (TriptychError, Unavailable, FetchFailed)
]


@pytest.mark.parametrize("kind", SPOKEN, ids=lambda kind: kind.__name__)
def test_error_is_the_one_asked_for_when_its_text_has_been_translated(
    fake: FakeServer, kind: type[TriptychError]
) -> None:
    fake.fail_next(kind)
    client = fake_client(fake, retry=NEVER)
    with pytest.raises(kind) as caught:
        client.embed(b"a")
    assert type(caught.value) is kind
    # No server says the code of what is found before anything is sent; a model's own failure has one of its own.
    sent = {InvalidInput: "request_invalid", ServerFault: "internal"}
    assert caught.value.code == sent.get(kind, kind.code)
    assert isinstance(caught.value.__cause__, TransportError)
    assert caught.value.request_id == fake.requests[0].request_id
    assert client.embed(b"a").vector.shape == (1280,)


@pytest.mark.parametrize(("kind", "expected"), [(Unavailable, Unavailable), (TriptychError, ServerFault)])
def test_error_is_one_of_its_kind_when_a_base_is_asked_for(
    fake: FakeServer, kind: type[TriptychError], expected: type[TriptychError]
) -> None:
    fake.fail_next(kind)
    with pytest.raises(expected):
        fake_client(fake, retry=NEVER).embed(b"a")


def test_words_of_a_server_are_translated_when_given_as_they_are(fake: FakeServer) -> None:
    failure = TransportError("INVALID_ARGUMENT", "unexpected inference input 'image' for model 'recognizer'")
    fake.fail_next(failure)
    with pytest.raises(ContractMismatch, match="unexpected inference input"):
        fake_client(fake).embed(b"a")


def test_code_of_a_server_reaches_the_error_when_given_as_it_is_sent(fake: FakeServer) -> None:
    fake.fail_next(coded("rebuild_running", "A rebuild is running; a second one must wait for it."))
    with pytest.raises(NotReady, match=r"^A rebuild is running; a second one must wait for it\.$") as caught:
        fake_client(fake, retry=NEVER).embed(b"a")
    assert caught.value.code == "rebuild_running"


@pytest.mark.parametrize("failure", [FetchFailed, KeyError, Overloaded("full")], ids=repr)
def test_failure_is_refused_when_no_server_answers_so(fake: FakeServer, failure: Failure) -> None:
    with pytest.raises(ValueError, match="No server answers with"):
        fake.fail_next(failure)
    with pytest.raises(ValueError, match="No server answers with"):
        fake.refuse(b"a", failure)


def test_failures_come_in_order_when_several_are_set(fake: FakeServer) -> None:
    fake.fail_next(Overloaded, times=2)
    fake.fail_next(NotReady)
    result = fake_client(fake, retry=AT_ONCE).embed(b"a")
    assert result.timing.tries == 4
    assert fake.photos == [b"a"] * 4
    assert len({request.request_id for request in fake.requests}) == 1


def test_other_calls_fail_when_named(fake: FakeServer) -> None:
    client = fake_client(fake, retry=NEVER)
    fake.fail_next(NotReady, rpc="ModelMetadata")
    fake.fail_next(Overloaded, rpc=None)
    with pytest.raises(NotReady):
        client.embed(b"a")
    with pytest.raises(Overloaded):
        client.health()
    assert client.embed(b"a")


def test_only_the_refused_photo_fails_when_it_is_in_a_batch(fake: FakeServer) -> None:
    fake.refuse(b"text")
    photos = [b"a", b"text", b"b", b"c"]
    items: list[Item[object]] = list(fake_client(fake).classify_many(photos, batch_size=4))
    assert [type(item.error) for item in items] == [type(None), UnreadableImage, type(None), type(None)]
    assert [len(request.photos) for request in fake.requests] == [4, 1, 1, 1, 1]


def test_refused_photo_has_its_place_in_the_words_when_it_is_in_a_batch(fake: FakeServer) -> None:
    client = fake_client(fake)
    fake.refuse(b"text")
    client.embed(b"a")
    (request,) = fake.requests
    batch = type(request)(request.model, request.input_name, (b"a", b"text"), request.outputs, "r1")
    with pytest.raises(TransportError, match=r"\(photo 2 of 2 in this request\)"):
        fake.infer(batch, 1.0)


def test_batch_is_refused_when_over_the_limit() -> None:
    fake = FakeServer(max_batch_size=2)
    fake.replies["ModelConfig"] = {"max_batch_size": 3}
    with pytest.raises(ContractMismatch, match="batch-size must be <= 2"):
        next(fake_client(fake).embed_many([b"a", b"b", b"c"], batch_size=3)).result()


def test_batches_are_cut_as_the_server_says_when_many_photos_are_sent() -> None:
    fake = FakeServer(max_batch_size=3)
    assert len(list(fake_client(fake).embed_many([b"%d" % n for n in range(7)], batch_size=100))) == 7
    assert sorted(len(request.photos) for request in fake.requests) == [1, 3, 3]


def test_contract_is_checked_when_the_server_describes_another_model(fake: FakeServer) -> None:
    fake.replies["ModelMetadata"] = {"inputs": [], "outputs": []}
    with pytest.raises(ContractMismatch, match="input image is missing"):
        fake_client(fake).embed(b"a")


def test_try_is_late_when_the_server_is_slower_than_its_deadline(fake: FakeServer) -> None:
    fake.delay_s = 5.0
    with pytest.raises(DeadlineExceeded, match=r"within 0\.02 s"):
        fake_client(fake, timeout_s=0.02).embed(b"a")


def test_calls_are_recorded_with_headers_and_time_left_when_made(fake: FakeServer) -> None:
    client = fake_client(fake, timeout_s=30, auth={"authorization": "Bearer t"})
    client.embed(b"a")
    metadata, inference = fake.calls
    assert metadata.call == model_metadata("recognizer")
    assert fake.requests == [inference.call]
    assert inference.headers == {"authorization": "Bearer t"}
    assert 0 < inference.timeout_s <= metadata.timeout_s <= 30


def test_record_is_bounded_when_a_history_is_given() -> None:
    fake = FakeServer(history=2)
    client = fake_client(fake)
    for photo in (b"a", b"b", b"c"):
        client.embed(photo)
    assert fake.photos == [b"b", b"c"]


def test_server_describes_itself_when_asked(fake: FakeServer) -> None:
    client = fake_client(fake)
    client.embed(b"a")
    assert client.health().recognizer_ready
    (model,) = client.models()
    assert (model.name, model.state, model.max_batch_size) == ("recognizer", "READY", 8)
    assert {tensor.name: tensor.shape for tensor in model.outputs} == {
        "category_scores": (10,),
        "retail_score": (1,),
        "embedding": (1280,),
    }
    (statistics,) = client.statistics()
    assert (statistics.inferences, statistics.executions) == (1, 1)


def test_server_is_not_ready_when_its_model_was_unloaded(fake: FakeServer) -> None:
    client = fake_client(fake, retry=NEVER)
    client.embed(b"a")
    client.admin.unload("recognizer")
    assert not client.health().recognizer_ready
    assert client.models()[0].state == "UNAVAILABLE"
    with pytest.raises(NotReady):
        client.embed(b"a")
    with pytest.raises(NotReady):
        client.wait_ready(timeout_s=0.01)
    client.admin.load("recognizer")
    client.wait_ready(timeout_s=1)
    assert client.embed(b"a")


def test_unknown_model_is_not_found_when_loaded(fake: FakeServer) -> None:
    with pytest.raises(ContractMismatch, match="'searcher' is not found"):
        fake_client(fake).admin.load("searcher")


def test_async_client_is_answered_as_the_blocking_one_is_when_both_ask(fake: FakeServer) -> None:
    async def recognize() -> tuple[object, list[int]]:
        async with fake_async_client(fake, retry=AT_ONCE) as client:
            fake.fail_next(Overloaded)
            recognition = await client.recognize(b"a shoe")
            return recognition.labels, [item.index async for item in client.embed_many([b"a", b"b"])]

    labels, indices = asyncio.run(recognize())
    assert labels == fake_client().recognize(b"a shoe").labels
    assert indices == [0, 1]
    assert fake.closed == 1


def test_connection_is_closed_when_the_client_is(fake: FakeServer) -> None:
    client = fake_client(fake)
    with client.with_options(timeout_s=1):
        pass
    assert fake.closed == 0
    client.close()
    assert fake.closed == 1


def test_input_is_refused_before_anything_arrives_when_it_is_no_photo(fake: FakeServer) -> None:
    with pytest.raises(InvalidInput):
        fake_client(fake).embed(b"")
    assert not fake.calls


def test_fake_needs_no_test_framework_when_imported() -> None:
    program = "import sys, triptych.testing; print({'pytest', 'unittest', 'PIL'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert output == "set()\n"

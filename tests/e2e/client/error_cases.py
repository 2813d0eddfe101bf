"""How each error code is got out of a real server, by a client of either kind: a table, and the servers it names."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import zlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych import (
    AsyncClient,
    Client,
    ConnectionFailed,
    ContractMismatch,
    DeadlineExceeded,
    FetchFailed,
    ImageTooLarge,
    IncompatibleIndex,
    InvalidInput,
    NotReady,
    Overloaded,
    PermissionDenied,
    ServerFault,
    TriptychError,
    UnreadableImage,
)
from triptych._core.calls import send_with_retries
from triptych._core.protocol import InferRequest, RequestedOutput, Tensor, bytes_tensor
from triptych._core.session import open_context

# More at once than the queue of the server `crowded` takes; a slow machine may send them too slowly to fill it.
CROWD = 48
ROUNDS = 10
EMBEDDING = np.ones(1280, np.float32)

# A `Client`, where the call blocks, or an `AsyncClient`, where it gives what is to be awaited.
AnyClient = Any
Call = Callable[[AnyClient, bytes], Any]


@dataclass(frozen=True)
class Case:
    """A call that fails.

    Attributes:
        code: of the error; `error` is its class.
        server: the fixture that it is sent to.
        call: takes a client and a whole photo.
        has_key: whether the client holds the catalogue's key.
        wire: what the server's own words begin with; None where a transport says it.
    """

    code: str
    error: type[TriptychError]
    server: str
    call: Call
    has_key: bool = False
    wire: str | None = None

    def __str__(self) -> str:
        return f"{self.code}-{self.server}"


def said(code: str, prefix: str = "") -> str:
    """As a model says a code, behind what Triton puts before it."""
    return f"{prefix}[{code}] "


def wide_png() -> bytes:
    """A PNG of 100,000 by 100,000 pixels, as its header has it."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def infer(
    client: AnyClient, model: str, output: str, inputs: dict[str, Tensor], parameters: dict[str, str] | None = None
) -> Any:
    """An inference of the test's own, which the client would not send, with all that goes with one."""
    context = open_context(client._session, client._options)
    request = InferRequest(model, "", (), (RequestedOutput(output),), context.request_id, inputs, parameters or {})
    return client._run(send_with_retries(context, request))


def catalogue(client: AnyClient, asked: dict[str, Any], **inputs: Tensor) -> Any:
    """A call of `catalogue`."""
    parameters = {"catalogue_key": client._session.catalogue_key}
    tensors = {"request": bytes_tensor([json.dumps(asked).encode()], (1,)), **inputs}
    return infer(client, "catalogue", "response", tensors, parameters)


def catalogue_photo(client: AnyClient, photo: bytes) -> Any:
    """Has `catalogue` itself ask `recognizer` for the embedding."""
    return catalogue(client, {"call": "upsert", "items": [{"product_id": "a"}]}, image=bytes_tensor([photo], (1,)))


def index(client: AnyClient, vector: np.ndarray[Any, Any], query: dict[str, Any]) -> Any:
    """A search of `index`."""
    inputs = {
        "embedding": Tensor("FP32", (1, vector.size), vector.astype("<f4").tobytes()),
        "query": bytes_tensor([json.dumps(query).encode()], (1, 1)),
    }
    return infer(client, "index", "product_id", inputs)


def crowd(code: str) -> Call:
    """Many photos at once, again until an error with the code comes; raises it."""

    def fresh(photo: bytes) -> list[bytes]:
        return [photo + os.urandom(8) for _ in range(CROWD)]

    def raise_due(outcomes: Sequence[object]) -> None:
        due = [error for error in outcomes if isinstance(error, TriptychError) and error.code == code]
        if due:
            raise due[0]

    async def gather(client: AsyncClient, photo: bytes) -> None:
        for _ in range(ROUNDS):
            raise_due(await asyncio.gather(*map(client.embed, fresh(photo)), return_exceptions=True))

    def call(client: Client | AsyncClient, photo: bytes) -> Coroutine[Any, Any, None] | None:
        if isinstance(client, AsyncClient):
            return gather(client, photo)
        with ThreadPoolExecutor(CROWD) as pool:
            for _ in range(ROUNDS):
                sent = [pool.submit(client.embed, each) for each in fresh(photo)]
                raise_due([each.exception() for each in sent])
        return None

    return call


def upsert(client: AnyClient, photo: bytes) -> Any:
    """As callers do it."""
    return client.catalogue.upsert("a", photo)


def late(client: AnyClient, photo: bytes) -> Any:
    """Has a millisecond for what takes several."""
    return client.with_options(timeout_s=0.001).recognize(photo + os.urandom(8))


_RECOGNIZER, _SEARCHER, _EXPLAINER = (f"in ensemble '{name}', " for name in ("recognizer", "searcher", "explainer"))


def image_cases(code: str, error: type[TriptychError], bad: bytes) -> Iterator[Case]:
    """A bad photo sent to each model that takes one, where `recognizer` is one model and where it is an ensemble."""
    for server, prefix in (("server", ""), ("ensemble_server", _RECOGNIZER)):
        yield Case(code, error, server, lambda client, _: client.recognize(bad), wire=said(code, prefix))
        yield Case(code, error, server, lambda client, _: client.search(bad), wire=said(code, _SEARCHER))
        # `catalogue` itself asks `recognizer`, and passes the code on.
        yield Case(code, error, server, lambda client, _: catalogue_photo(client, bad), has_key=True, wire=said(code))


# `server` and `ensemble_server` are the session's; `test_error_codes` has the others.
CASES = [
    *image_cases("image_unreadable", UnreadableImage, b"no photo"),
    *image_cases("image_too_large", ImageTooLarge, wide_png()),
    Case(
        "request_invalid",
        InvalidInput,
        "server",
        lambda client, _: index(client, EMBEDDING, {"unheard of": 1}),
        wire=said("request_invalid"),
    ),
    Case(
        "filter_invalid",
        InvalidInput,
        "server",
        lambda client, _: client.search_embedding(EMBEDDING, filter={"no such field": 1}),
        wire=said("filter_invalid"),
    ),
    Case(
        "filter_invalid",
        InvalidInput,
        "server",
        lambda client, photo: client.search(photo, filter={"no such field": 1}),
        wire=said("filter_invalid", _SEARCHER),
    ),
    Case(
        "embedding_invalid",
        InvalidInput,
        "server",
        lambda client, _: index(client, 0 * EMBEDDING, {}),
        wire=said("embedding_invalid"),
    ),
    # Triton looks at a size first, and has no code for it.
    Case(
        "embedding_invalid",
        InvalidInput,
        "server",
        lambda client, _: client.search_embedding(EMBEDDING[:7]),
        wire="[request id: ",
    ),
    Case(
        "product_unknown",
        InvalidInput,
        "server",
        lambda client, _: client.similar_to("nobody"),
        wire=said("product_unknown"),
    ),
    Case(
        "class_unknown",
        InvalidInput,
        "server",
        lambda client, photo: client.explain(photo, attribute="smell"),
        wire=said("class_unknown", _EXPLAINER),
    ),
    Case(
        "catalogue_key_refused",
        PermissionDenied,
        "server",
        lambda client, _: client.catalogue.count(),
        wire=said("catalogue_key_refused"),
    ),
    Case(
        "index_incompatible",
        IncompatibleIndex,
        "doctored",
        lambda client, photo: client.search(photo),
        wire=said("index_incompatible", _SEARCHER),
    ),
    Case("index_incompatible", IncompatibleIndex, "doctored", upsert, has_key=True, wire=said("index_incompatible")),
    Case(
        "internal",
        ServerFault,
        "doctored",
        lambda client, _: client.catalogue.get("torn"),
        has_key=True,
        wire=said("internal"),
    ),
    Case(
        "rebuild_running",
        NotReady,
        "unloaded",
        lambda client, _: client.catalogue.rebuild(),
        has_key=True,
        wire=said("rebuild_running"),
    ),
    Case(
        "catalogue_unusable",
        ServerFault,
        "unloaded",
        lambda client, _: catalogue(
            client,
            {"call": "upsert", "items": [{"product_id": "a"}]},
            embedding=Tensor("FP32", (1, 1280), EMBEDDING.tobytes()),
        ),
        has_key=True,
        wire=said("catalogue_unusable"),
    ),
    Case(
        "catalogue_unavailable",
        NotReady,
        "distributed",
        lambda client, photo: client.search(photo),
        wire=said("catalogue_unavailable", _SEARCHER),
    ),
    Case(
        "explanation_unsupported",
        InvalidInput,
        "unexplainable",
        lambda client, photo: client.explain(photo),
        wire=said("explanation_unsupported", _EXPLAINER),
    ),
    Case("queue_full", Overloaded, "crowded", crowd("queue_full"), wire="[request id: "),
    Case("deadline_exceeded", DeadlineExceeded, "crowded", crowd("deadline_exceeded"), wire=""),
    Case("deadline_exceeded", DeadlineExceeded, "server", lambda client, photo: late(client, photo), wire=None),
    Case("model_not_ready", NotReady, "unloaded", lambda client, photo: client.recognize(photo), wire=""),
    Case("access_denied", PermissionDenied, "server", lambda client, _: client.admin.load("recognizer"), wire=""),
    Case(
        "contract_mismatch",
        ContractMismatch,
        "server",
        lambda client, _: infer(client, "index", "colour", {"k": Tensor("INT32", (1, 1), b"\1\0\0\0")}),
        wire="",
    ),
    Case("catalogue_missing", ContractMismatch, "bare", lambda client, photo: client.search(photo), wire=""),
    Case("catalogue_missing", ContractMismatch, "bare", lambda client, _: client.catalogue.count(), wire=""),
    Case("explainer_missing", ContractMismatch, "bare", lambda client, photo: client.explain(photo), wire=""),
    Case("input_invalid", InvalidInput, "server", lambda client, _: client.recognize(b"")),
    Case(
        "photo_not_fetched",
        FetchFailed,
        "server",
        lambda client, _: client.recognize("http://127.0.0.1:1/shoe.jpg"),
    ),
    Case("connection_failed", ConnectionFailed, "nobody", lambda client, photo: client.recognize(photo)),
]


# Codes that no case gets -> the test that does: a file below `tests`, and a name in it.
ELSEWHERE = {
    "message_too_large": (
        "unit/client/transport/test_http_encoding.py",
        "test_message_is_too_large_when_a_proxy_says_so",
    ),
    "server_fault": (
        "unit/client/core/test_translation.py",
        "test_error_has_the_class_of_its_status_when_the_text_says_nothing",
    ),
    "certificate_refused": (
        "e2e/client/test_tls.py",
        "test_client_refuses_a_server_when_a_stranger_signed_its_certificate",
    ),
}

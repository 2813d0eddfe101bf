"""Requests to the search models as raw tensors, over gRPC, and a catalogue for them; the same in each run."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from ops.server.local_server import LocalServer

DIMENSION = 1280
PRODUCTS = 2_000
TIMEOUT_S = 60.0
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

Tensor = tuple[str, str, Sequence[int], bytes]
_RANDOM = np.random.default_rng(5)


def packed(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def texts(name: str, *values: bytes) -> Tensor:
    return name, "BYTES", (len(values), 1), packed(*values)


def one_text(name: str, value: bytes) -> Tensor:
    return name, "BYTES", (1,), packed(value)


def embeddings(rows: int = 1) -> Tensor:
    return "embedding", "FP32", (rows, DIMENSION), _RANDOM.normal(size=(rows, DIMENSION)).astype("<f4").tobytes()


def whole(name: str, value: int, rows: int = 1) -> Tensor:
    return name, "INT32", (rows, 1), struct.pack("<i", value) * rows


def message(model: str, tensors: Sequence[Tensor], parameters: Mapping[str, Any] | None = None, id_: str = "") -> Any:
    request = service_pb2.ModelInferRequest(model_name=model, id=id_)
    for name, datatype, shape, content in tensors:
        request.inputs.add(name=name, datatype=datatype).shape.extend(shape)
        request.raw_input_contents.append(content)
    fields = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    for name, value in (parameters or {}).items():
        setattr(request.parameters[name], fields[type(value)], value)
    return request


def preferences(rows: int, k: int, interests: int) -> Any:
    """200 products, each an interest of its own until there are enough: the dearest there is."""
    taste = {"weights": {f"p{n}": 1 for n in range(200)}, "interests": interests, "apart": 1}
    return message("index", [texts("taste", *[json.dumps(taste).encode()] * rows), whole("k", k, rows)])


def plain(k: int = 10) -> Any:
    return message("index", [embeddings(), whole("k", k)])


class Caller:
    """A connection of its own to the server."""

    def __init__(self, target: str) -> None:
        self.channel = grpc.insecure_channel(target, options=[*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)])
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def ask(self, request: Any, timeout_s: float = TIMEOUT_S) -> tuple[str, str]:
        """The status and the error's text; "OK" and nothing for an answer."""
        try:
            self._stub.ModelInfer(request, timeout=timeout_s)
        except grpc.RpcError as error:
            return error.code().name, error.details() or ""
        return "OK", ""


def fill(server: LocalServer, caller: Caller) -> str:
    """Writes the catalogue; returns its key."""
    key = server.catalogue_key_file.read_text().strip()
    for start in range(0, PRODUCTS, 250):
        items = [
            {"product_id": f"p{n}", "fields": {"n": n, "category": f"c{n % 20}"}} for n in range(start, start + 250)
        ]
        call = one_text("request", json.dumps({"call": "upsert", "items": items}).encode())
        assert caller.ask(message("catalogue", [call, embeddings(250)], {"catalogue_key": key})) == ("OK", "")
    return key

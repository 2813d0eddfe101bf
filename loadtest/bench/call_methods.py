"""Ways to call a server, each as one blocking function that threads may share."""

from __future__ import annotations

import http.client
import struct
import threading
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2

from loadtest.bench.closed_loop import Call
from loadtest.errors import LoadTestError
from triptych import Client

_TIMEOUT_S = 60
# max_batch_size of `recognizer`: the client splits larger batches into several concurrent requests.
LARGEST_REQUEST = 8


def bare_grpc(target: str, metadata: Sequence[tuple[str, str]] = ()) -> Call:
    """One protobuf message each way, without tritonclient: the lowest cost of gRPC in Python."""
    channel = grpc.insecure_channel(target)
    infer = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=service_pb2.ModelInferRequest.SerializeToString,
        response_deserializer=service_pb2.ModelInferResponse.FromString,
    )

    def call(photos: list[bytes]) -> object:
        request = service_pb2.ModelInferRequest(model_name="recognizer")
        image = request.inputs.add(name="image", datatype="BYTES")
        image.shape.extend([len(photos), 1])
        request.raw_input_contents.append(b"".join(struct.pack("<I", len(photo)) + photo for photo in photos))
        return infer(request, timeout=_TIMEOUT_S, metadata=metadata)

    return call


def raw_http(address: str, path: str = "/v2/models/recognizer/infer") -> Call:
    """POST with the photo as the body; one kept-alive connection per thread, one photo per call."""
    host, _, port = address.partition(":")
    of_thread = threading.local()

    def call(photos: list[bytes]) -> object:
        (photo,) = photos
        if not hasattr(of_thread, "connection"):
            of_thread.connection = http.client.HTTPConnection(host, int(port), timeout=_TIMEOUT_S)
        of_thread.connection.request("POST", path, photo, {"Inference-Header-Content-Length": "0"})
        response = of_thread.connection.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            raise LoadTestError(f"{address} answered {path} with {response.status}: {body.decode(errors='replace')}")
        return body

    return call


def tritonclient_grpc(target: str) -> Call:
    """Tritonclient over gRPC, as in NVIDIA's examples."""
    client = tritonclient.grpc.InferenceServerClient(target)
    return lambda photos: _infer(client, tritonclient.grpc.InferInput, photos)


def tritonclient_http(address: str) -> Call:
    """Tritonclient over HTTP; its client is not thread-safe, so each thread has its own."""
    of_thread = threading.local()

    def call(photos: list[bytes]) -> object:
        if not hasattr(of_thread, "client"):
            of_thread.client = tritonclient.http.InferenceServerClient(address, network_timeout=_TIMEOUT_S)
        return _infer(of_thread.client, tritonclient.http.InferInput, photos)

    return call


def _infer(client: Any, make_input: Any, photos: list[bytes]) -> object:
    image = make_input("image", [len(photos), 1], "BYTES")
    image.set_data_from_numpy(np.array([[photo] for photo in photos], dtype=object))
    answer = client.infer("recognizer", [image])
    return answer.as_numpy("category_scores"), answer.as_numpy("embedding")


def triptych_client(client: Client) -> Call:
    """`triptych.Client`; one photo per call."""

    def call(photos: list[bytes]) -> object:
        (photo,) = photos
        return client.recognize(photo)

    return call


def in_batches(client: Client) -> Call:
    """`triptych.Client`; all photos of a call at once, in as few requests as the server allows."""

    def call(photos: list[bytes]) -> object:
        items = client.recognize_many(photos, batch_size=min(len(photos), LARGEST_REQUEST), max_in_flight=len(photos))
        return [item.result() for item in items]

    return call

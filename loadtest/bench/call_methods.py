"""Ways to call a server, each as one blocking function that threads may share."""

from __future__ import annotations

import http.client
import struct
import threading
from collections.abc import Callable

import grpc
import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2

from triptych import Client

Call = Callable[[list[bytes]], object]

_TIMEOUT_S = 60


class CallFailed(RuntimeError):
    """The server refused the request or failed; the message is the server's."""


def bare_grpc(target: str) -> Call:
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
        return infer(request, timeout=_TIMEOUT_S)

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
            raise CallFailed(body.decode(errors="replace"))
        return body

    return call


def tritonclient_grpc(target: str) -> Call:
    """Tritonclient over gRPC, as in NVIDIA's examples."""
    channel = tritonclient.grpc.InferenceServerClient(target)

    def call(photos: list[bytes]) -> tuple[object, object]:
        image = tritonclient.grpc.InferInput("image", [len(photos), 1], "BYTES")
        image.set_data_from_numpy(np.array([[photo] for photo in photos], dtype=object))
        answer = channel.infer("recognizer", [image])
        return answer.as_numpy("category_scores"), answer.as_numpy("embedding")

    return call


def tritonclient_http(address: str) -> Call:
    """Tritonclient over HTTP; its client is not thread-safe, so each thread has its own."""
    of_thread = threading.local()

    def call(photos: list[bytes]) -> object:
        if not hasattr(of_thread, "client"):
            of_thread.client = tritonclient.http.InferenceServerClient(address, network_timeout=_TIMEOUT_S)
        image = tritonclient.http.InferInput("image", [len(photos), 1], "BYTES")
        image.set_data_from_numpy(np.array([[photo] for photo in photos], dtype=object))
        answer = of_thread.client.infer("recognizer", [image])
        return answer.as_numpy("category_scores"), answer.as_numpy("embedding")

    return call


def triptych_client(client: Client) -> Call:
    """`triptych.Client`; one photo per call."""

    def call(photos: list[bytes]) -> object:
        (photo,) = photos
        return client.recognize(photo)

    return call

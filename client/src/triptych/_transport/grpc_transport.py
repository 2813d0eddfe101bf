"""Calls over gRPC: Triton's messages on the client's own channels.

tritonclient's client would hide the status of a failure in a string, share channels between clients and drop its
message caps when given channel options; its messages are all that is used of it.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
from google.protobuf import json_format
from tritonclient.grpc import service_pb2

from triptych._core.protocol import InferAnswer, InferRequest, JsonObject, Question, Tensor
from triptych._transport.connection import Connection
from triptych._transport.interface import Headers
from triptych._transport.routes import Route, grpc_route
from triptych._transport.target import grpc_address
from triptych.errors import InvalidInput

if TYPE_CHECKING:
    from triptych._transport.tls import TLS

_SERVICE = "/inference.GRPCInferenceService/"

# With keepalive gRPC sets TCP_USER_TIMEOUT to the keepalive timeout: a vanished host is detected after 5 s of data
# without an acknowledgement, before the default deadline of 10 s. Pings are rare, because Triton closes a connection
# after the third ping within 5 minutes without data. The deadline covers a frozen process.
_KEEPALIVE_TIME_MS = 20_000
_KEEPALIVE_TIMEOUT_MS = 5_000

# Longest pause before a reconnect; gRPC's default is two minutes.
_MAX_RECONNECT_BACKOFF_MS = 2_000

# gRPC's default limit of an answer is 4 MB; 1000 embeddings of 1280 numbers are 5 MB.
_UNLIMITED = -1

C = TypeVar("C", grpc.Channel, grpc.aio.Channel)


class GrpcTransport:
    """The blocking `Transport` over gRPC; connects on the first call."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._route = grpc_route(grpc_address(connection.target))
        self._calls = _Calls(_open_channels(connection, self._route, grpc.insecure_channel, grpc.secure_channel))

    def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """See `Transport`."""
        call = self._calls.of("ModelInfer")
        return decode_answer(self._send(call, encode_request(request, timeout_s), timeout_s, headers))

    def ask(self, question: Question, *, timeout_s: float, headers: Headers) -> JsonObject:
        """See `Transport`."""
        call = self._calls.of(question.rpc)
        return _json_of(self._send(call, _message_of(question), timeout_s, headers))

    def close(self) -> None:
        """See `Transport`."""
        for channel in self._calls.channels:
            channel.close()

    def _send(self, call: Callable[..., Any], message: Any, timeout_s: float, headers: Headers) -> Any:
        try:
            answer = call(message, timeout=timeout_s, metadata=_metadata(headers, self._connection))
        except grpc.RpcError as error:
            raise self._route.failure(error.code().name, error.details() or "") from error
        self._route.has_answered = True
        return answer


class AsyncGrpcTransport:
    """`AsyncTransport` of the event loop it is made in; connects on the first call."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._route = grpc_route(grpc_address(connection.target))
        self._calls = _Calls(
            _open_channels(connection, self._route, grpc.aio.insecure_channel, grpc.aio.secure_channel)
        )

    async def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """See `AsyncTransport`."""
        call = self._calls.of("ModelInfer")
        return decode_answer(await self._send(call, encode_request(request, timeout_s), timeout_s, headers))

    async def ask(self, question: Question, *, timeout_s: float, headers: Headers) -> JsonObject:
        """See `AsyncTransport`."""
        call = self._calls.of(question.rpc)
        return _json_of(await self._send(call, _message_of(question), timeout_s, headers))

    async def close(self) -> None:
        """See `AsyncTransport`."""
        for channel in self._calls.channels:
            await channel.close()

    async def _send(self, call: Callable[..., Any], message: Any, timeout_s: float, headers: Headers) -> Any:
        try:
            answer = await call(message, timeout=timeout_s, metadata=_metadata(headers, self._connection))
        except grpc.aio.AioRpcError as error:
            raise self._route.failure(error.code().name, error.details() or "") from error
        self._route.has_answered = True
        return answer


class _Calls:
    """The methods of Triton's service; the channels are used in turn."""

    def __init__(self, channels: Sequence[Any]) -> None:
        self.channels = channels
        self._turn = itertools.count()
        self._made: dict[str, list[Callable[..., Any]]] = {}

    def of(self, rpc: str) -> Callable[..., Any]:
        made = self._made.get(rpc)
        if made is None:
            request, response = getattr(service_pb2, f"{rpc}Request"), getattr(service_pb2, f"{rpc}Response")
            made = self._made[rpc] = [
                channel.unary_unary(_SERVICE + rpc, request.SerializeToString, response.FromString)
                for channel in self.channels
            ]
        return made[next(self._turn) % len(made)]


def encode_request(request: InferRequest, timeout_s: float) -> Any:
    """A `ModelInferRequest` with the photos."""
    message = encode_header(request, timeout_s)
    if request.photos:
        message.raw_input_contents.insert(0, encode_photos(request.photos))
    return message


def encode_header(request: InferRequest, timeout_s: float) -> Any:
    """A `ModelInferRequest` without the photos."""
    message = service_pb2.ModelInferRequest(model_name=request.model, id=request.request_id)
    for name, number in request.queueing(timeout_s).items():
        message.parameters[name].int64_param = number
    for name, value in request.texts().items():
        message.parameters[name].string_param = value
    if request.photos:
        image = message.inputs.add(name=request.input_name, datatype="BYTES")
        image.shape.extend((len(request.photos), 1))
    for name, tensor in request.inputs.items():
        message.inputs.add(name=name, datatype=tensor.datatype).shape.extend(tensor.shape)
        message.raw_input_contents.append(bytes(tensor.content))
    for output in request.outputs:
        wanted = message.outputs.add(name=output.name)
        if output.class_count is not None:
            wanted.parameters["classification"].int64_param = output.class_count
    return message


def encode_photos(photos: Sequence[bytes]) -> bytes:
    """A BYTES tensor: each photo follows its length, a little-endian uint32."""
    return b"".join(part for photo in photos for part in (struct.pack("<I", len(photo)), photo))


def decode_answer(message: Any) -> InferAnswer:
    """The outputs of a `ModelInferResponse`."""
    tensors = {
        output.name: Tensor(output.datatype, tuple(output.shape), content)
        for output, content in zip(message.outputs, message.raw_output_contents, strict=False)
    }
    return InferAnswer(message.model_version, tensors)


def _message_of(question: Question) -> Any:
    return getattr(service_pb2, f"{question.rpc}Request")(**question.fields)


def _json_of(message: Any) -> JsonObject:
    answer: JsonObject = json_format.MessageToDict(message, preserving_proto_field_name=True)
    config: JsonObject = answer.get("config", answer)
    return config


def _metadata(headers: Headers, connection: Connection) -> list[tuple[str, str]]:
    metadata = [(name.lower(), value) for name, value in headers.items()]
    if connection.api_key is not None:
        name, value = connection.api_key
        # Triton's prefix for the headers of restricted protocols over gRPC.
        metadata.append((f"triton-grpc-protocol-{name}".lower(), value))
    return metadata


def _open_channels(
    connection: Connection, route: Route, insecure: Callable[..., C], secure: Callable[..., C]
) -> list[C]:
    address, options = grpc_address(connection.target), [*_options(connection), *route.options()]
    try:
        if connection.tls is None:
            return [insecure(address, options=options) for _ in range(connection.channels)]
        credentials = _credentials(connection.tls)
        return [secure(address, credentials, options=options) for _ in range(connection.channels)]
    except (TypeError, UnicodeError) as error:
        raise InvalidInput(f"The target {connection.target!r} is no gRPC address ({error}).") from error


def _credentials(tls: TLS) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=tls.roots(),
        private_key=tls.read("private_key"),
        certificate_chain=tls.read("certificate"),
    )


def _options(connection: Connection) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", _UNLIMITED),
        ("grpc.max_receive_message_length", _UNLIMITED),
        ("grpc.keepalive_time_ms", _KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.max_reconnect_backoff_ms", _MAX_RECONNECT_BACKOFF_MS),
        ("grpc.service_config", json.dumps({"loadBalancingConfig": [{connection.balance: {}}]})),
        # Otherwise all channels to one target share one connection.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if connection.tls is not None and connection.tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", connection.tls.server_name))
    return options

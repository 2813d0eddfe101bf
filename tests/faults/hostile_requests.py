"""Requests that no client of ours makes, over gRPC and over HTTP: made by code, the same for a seed. Sends nothing."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tritonclient.grpc import service_pb2

MODELS_NAMED = (
    "",
    " ",
    ".",
    "..",
    "../recognizer",
    "..%2f..%2fetc%2fpasswd",
    "recognizer/../classifier",
    "/etc/passwd",
    "recognizer\x00",
    "recogniser",
    "RECOGNIZER",
    "recognizer/1",
    "a" * 5_000,
    "réconnaître",
    "${jndi:ldap://127.0.0.1/a}",
    "%n%n%s",
    "'; DROP TABLE photos; --",
)
VERSIONS = ("0", "2", "-1", "01", "99999999999999999999", "one", "../1", "1.0", " 1", "\n")
DATATYPES = (
    "",
    "INT8",
    "INT32",
    "INT64",
    "UINT8",
    "UINT64",
    "FP16",
    "FP32",
    "FP64",
    "BF16",
    "BOOL",
    "STRING",
    "bytes",
    "BYTES\x00",
    "x" * 300,
)
SHAPES = (
    (),
    (0,),
    (1,),
    (0, 1),
    (1, 0),
    (0, 0),
    (-1, 1),
    (1, -1),
    (-1, -1),
    (2, 1),
    (1, 2),
    (8, 8),
    (9, 1),
    (1, 1, 1),
    (1,) * 64,
    (2**31, 1),
    (2**62, 1),
    (2**63 - 1, 1),
    (-(2**63), 1),
    (2**32, 2**32),
    (1, 2**31),
    (4_294_967_296, 4_294_967_297),
)


@dataclass(frozen=True)
class HostileCall:
    """Attributes:
    kind: the class it is counted in.
    message: what goes over gRPC.
    """

    kind: str
    name: str
    message: Any = field(repr=False)


@dataclass(frozen=True)
class HostileHttp:
    """Attributes:
    kind: the class it is counted in.
    head: the request line and headers as sent; the length of the body is added unless `head` says one.
    """

    kind: str
    name: str
    head: str = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    def as_bytes(self) -> bytes:
        length = "" if "ength:" in self.head or "hunked" in self.head else f"Content-Length: {len(self.body)}\r\n"
        return f"{self.head}Host: 127.0.0.1\r\nConnection: close\r\n{length}\r\n".encode("latin-1") + self.body


def packed(*photos: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(photo)) + photo for photo in photos)


def call(
    model: str = "recognizer",
    version: str = "",
    name: str = "image",
    datatype: str = "BYTES",
    shape: tuple[int, ...] = (1, 1),
    raw: bytes | None = None,
) -> Any:
    message = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    message.inputs.add(name=name, datatype=datatype).shape.extend(shape)
    if raw is not None:
        message.raw_input_contents.append(raw)
    return message


def hostile_calls(photo: bytes, seed: int = 11) -> Iterator[HostileCall]:
    """Over gRPC; each must be refused."""
    chance, whole = random.Random(seed), packed(photo)
    for model in MODELS_NAMED:
        yield HostileCall("model's name", repr(model[:40]), call(model=model.replace("\x00", "\x01"), raw=whole))
    for version in VERSIONS:
        yield HostileCall("version", repr(version), call(version=version, raw=whole))
    for name in ("", "IMAGE", "images", "../image", "image\n", "pixels", "x" * 10_000, "image "):
        yield HostileCall("tensor's name", repr(name[:40]), call(name=name, raw=whole))
    for datatype in DATATYPES:
        yield HostileCall("dtype", repr(datatype[:40]), call(datatype=datatype, raw=whole))
    for shape in SHAPES:
        yield HostileCall("shape", str(shape[:4]), call(shape=shape, raw=whole))
        yield HostileCall("shape", f"{shape[:4]} of nothing", call(shape=shape, raw=b""))
    yield from _lies(photo, chance)
    yield from _inputs(whole)
    yield from _parameters(whole)


def _lies(photo: bytes, chance: random.Random) -> Iterator[HostileCall]:
    """Raw contents whose lengths are not what they say."""
    for says in (0, 1, len(photo) - 1, len(photo) + 1, 2**31 - 1, 2**31, 2**32 - 1):
        yield HostileCall("length", f"says {says} of {len(photo)}", call(raw=struct.pack("<I", says) + photo))
    for size in (0, 1, 2, 3, 4, 5, 7):
        yield HostileCall("length", f"raw of {size} bytes", call(raw=bytes([255] * size)))
    yield HostileCall("length", "two photos for one", call(raw=packed(photo, photo)))
    yield HostileCall("length", "one photo for two", call(shape=(2, 1), raw=packed(photo)))
    yield HostileCall(
        "length", "eight photos, the last without its end", call(shape=(8, 1), raw=packed(*[photo] * 8)[:-1])
    )
    for number in range(40):
        noise = chance.randbytes(chance.choice((5, 64, 5_000)))
        yield HostileCall("length", f"noise {number}", call(shape=(chance.randrange(1, 9), 1), raw=noise))
    for size_mb in (21, 100):
        yield HostileCall("size", f"a photo of {size_mb} MB", call(raw=packed(bytes(size_mb * 10**6))))


def _inputs(whole: bytes) -> Iterator[HostileCall]:
    """Inputs that are missing, doubled, unknown, of both forms, in shared memory that is not there."""
    nothing = service_pb2.ModelInferRequest(model_name="recognizer")
    yield HostileCall("inputs", "none", nothing)
    yield HostileCall("inputs", "without content", call())
    twice = call(raw=whole)
    twice.inputs.add(name="image", datatype="BYTES").shape.extend((1, 1))
    twice.raw_input_contents.append(whole)
    yield HostileCall("inputs", "the same twice", twice)
    more = call(raw=whole)
    more.raw_input_contents.append(whole)
    yield HostileCall("inputs", "more contents than inputs", more)
    many = call(raw=whole)
    for number in range(2_000):
        many.inputs.add(name=f"x{number}", datatype="FP32").shape.extend((1, 1))
        many.raw_input_contents.append(b"\0" * 4)
    yield HostileCall("inputs", "2,000 unknown ones", many)
    both = call(raw=whole)
    both.inputs[0].contents.bytes_contents.append(b"x")
    yield HostileCall("inputs", "raw and typed", both)
    typed = call()
    typed.inputs[0].contents.fp32_contents.extend([1.0, float("nan")])
    yield HostileCall("inputs", "typed as numbers", typed)
    for region in ("", "nowhere", "../../etc/passwd", "triptych_0"):
        shared = call()
        shared.inputs[0].parameters["shared_memory_region"].string_param = region
        shared.inputs[0].parameters["shared_memory_byte_size"].int64_param = 2**62
        yield HostileCall("inputs", f"shared memory {region!r}", shared)
    for output in ("", "nothing", "../labels.txt", "embedding\n"):
        asked = call(raw=whole)
        asked.outputs.add(name=output)
        yield HostileCall("outputs", repr(output), asked)
    for classes in (-1, 2**62):
        asked = call(raw=whole)
        asked.outputs.add(name="embedding_").parameters["classification"].int64_param = classes
        yield HostileCall("outputs", f"{classes} classes of an unknown output", asked)


def _parameters(whole: bytes) -> Iterator[HostileCall]:
    """Parameters that Triton keeps to itself, or of another type than it reads."""
    for name, values in {
        "timeout": ("soon", True),
        "priority": ("high", True),
        "sequence_id": (2**62,),
        "triton_enable_empty_final_response": ("x",),
        "triton_secret": ("x",),
    }.items():
        for value in values:
            odd = call(name="no_image", raw=whole)
            parameter = odd.parameters[name]
            if isinstance(value, str):
                parameter.string_param = value
            elif isinstance(value, bool):
                parameter.bool_param = value
            else:
                parameter.int64_param = value
            yield HostileCall("parameters", f"{name} is {value!r}", odd)


INFER = "POST /v2/models/recognizer/infer HTTP/1.1\r\n"


def hostile_http(photo: bytes, seed: int = 11) -> Iterator[HostileHttp]:
    """Over HTTP; each must be refused, or the connection closed."""
    chance = random.Random(seed)
    yield from _paths(packed(photo))
    bodies = {
        "nothing": b"",
        "half": b'{"inputs": [',
        "an array": b"[]",
        "a number": b"7",
        "null": b"null",
        "no inputs": b"{}",
        "text": b"photo",
        "inputs is text": b'{"inputs": "image"}',
        "inputs is null": b'{"inputs": null}',
        "input is a number": b'{"inputs": [7]}',
        "input without a name": b'{"inputs": [{"shape": [1,1], "datatype": "BYTES", "data": ["x"]}]}',
        "not utf-8": b'{"inputs": ["\xff\xfe"]}',
        "a zero byte": b'{"inputs\x00": []}',
        "a number of 100,000 digits": b'{"inputs": ' + b"9" * 100_000 + b"}",
        "infinity": b'{"inputs": [1e999999]}',
        "100,000 keys": b"{" + b",".join(b'"%d": 1' % n for n in range(100_000)) + b"}",
    }
    for name, body in bodies.items():
        yield HostileHttp("malformed JSON", name, INFER, body)
    for number in range(60):
        whole = json.dumps(
            {"inputs": [{"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}]}
        ).encode()
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        yield HostileHttp("malformed JSON", f"damaged {number}", INFER, bytes(damaged))
    for shape in SHAPES:
        tensor = {"name": "image", "shape": list(shape), "datatype": "BYTES", "data": ["x"]}
        yield HostileHttp("JSON shape", str(shape[:4]), INFER, json.dumps({"inputs": [tensor]}).encode())
    odd: tuple[object, ...] = (7, [7], [[["x"]]], [None], {"a": 1}, [True], ["x"] * 3, "x")
    for data in odd:
        holder: dict[str, object] = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": data}
        yield HostileHttp("JSON data", str(data), INFER, json.dumps({"inputs": [holder]}).encode())
    yield from _binary_sizes(packed(photo))


def deep_json() -> HostileHttp:
    """Takes 2.51.0 down: its parser calls itself for each bracket until the stack ends."""
    return HostileHttp("malformed JSON", "400,000 brackets", INFER, b"[" * 400_000)


def _paths(whole: bytes) -> Iterator[HostileHttp]:
    for model in MODELS_NAMED:
        path = "".join(
            c if c.isalnum() or c in "./%" else "".join(f"%{b:02x}" for b in c.encode()) for c in model[:2_000]
        )
        yield HostileHttp("path", f"infer {model[:30]!r}", f"POST /v2/models/{path}/infer HTTP/1.1\r\n", whole)
    for path in (
        "/../../etc/passwd",
        "/v2/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//v2//models",
        "/v2/models/recognizer/versions/../../../../etc/passwd/infer",
        "/v2/models/recognizer/versions/9/infer",
        "/v2/" + "a" * 6_000,
        "*",
        "http://169.254.169.254/latest/meta-data/",
        "/v2/models/recognizer/infer?x=../..",
        "/%00",
        "/v1/models/recognizer:predict",
    ):
        yield HostileHttp("path", path[:40], f"POST {path} HTTP/1.1\r\n", whole)
    for verb in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "post"):
        yield HostileHttp("verb", verb, f"{verb} /v2/models/recognizer/infer HTTP/1.1\r\n", whole)
    for name, head in {
        "no version": "POST /v2/models/recognizer/infer\r\n",
        "version 9": "POST /v2/models/recognizer/infer HTTP/9.9\r\n",
        "noise": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
        "gRPC's preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "header without end": "POST /v2 HTTP/1.1\r\nx: " + "y" * 60_000 + "\r\n",
        "10,000 headers": "POST /v2 HTTP/1.1\r\n" + "".join(f"x{n}: y\r\n" for n in range(5_000)),
        "two lengths": INFER + "Content-Length: 5\r\nContent-Length: 9\r\n",
        "a negative length": INFER + "Content-Length: -1\r\n",
        "a length of text": INFER + "Content-Length: much\r\n",
        "chunks of nonsense": INFER + "Transfer-Encoding: chunked\r\n",
        "length and chunks": INFER + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "packed with gzip": INFER + "Content-Encoding: gzip\r\n",
        "packed with deflate": INFER + "Content-Encoding: deflate\r\n",
        "packed with br": INFER + "Content-Encoding: br\r\n",
    }.items():
        yield HostileHttp("HTTP", name, head, b"zzz\r\n\r\n")


def _binary_sizes(whole: bytes) -> Iterator[HostileHttp]:
    """Lengths of the JSON header and of the binary part that are lies."""
    for says in (-1, 0, 1, len(whole) - 1, len(whole) + 1, 2**31, 2**32, 2**63 - 1, 2**64, "all", None, 1.5):
        tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": says}}
        header = json.dumps({"inputs": [tensor]}).encode()
        yield HostileHttp(
            "binary size",
            f"says {says} of {len(whole)}",
            f"{INFER}Inference-Header-Content-Length: {len(header)}\r\n",
            header + whole,
        )
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(whole)}}
    header = json.dumps({"inputs": [tensor]}).encode()
    for length in (-1, 1, len(header) - 1, len(header) + 1, len(header) + len(whole) + 1, 2**31, 2**63, "all", ""):
        yield HostileHttp(
            "header length",
            f"says {length} of {len(header)}",
            f"{INFER}Inference-Header-Content-Length: {length}\r\n",
            header + whole,
        )
    yield HostileHttp("size", "100 MB of zeros", f"{INFER}Inference-Header-Content-Length: 0\r\n", bytes(100_000_000))

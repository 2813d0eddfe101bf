"""Callers cannot spend the availability objective: each fault of theirs is sent to the real server, and counts as none.

The indicators' own expressions are evaluated by promtool, over two scrapes of /metrics.
"""

from __future__ import annotations

import math
import re
import struct
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import yaml
from tritonclient.grpc import service_pb2, service_pb2_grpc

from ops.observability.render import read_deployment
from ops.observability.rules.indicators import SHORTEST_S, availability
from ops.server.local_server import LocalServer
from tests.rules.conftest import find_program, wait_for
from triptych import Client

SAMPLE = re.compile(r"^((?:nv_inference|triptych)_\w+)\{?(.*?)\}? (\S+)$", re.MULTILINE)
TIMES = 6
TIMEOUT_S = 20.0
# Intervals between the two scrapes, and those of them in the indicators' window.
STEPS, WINDOW_STEPS = 6, 5
# The figures of living processes are a second old at most, which is little of this time.
LEAST_S = 12.0
EMBEDDING = np.ones(1280, np.float32).tobytes()


def packed(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text


def message(model: str, name: str, datatype: str, shape: tuple[int, ...], raw: bytes, **parameters: str | int) -> Any:
    made = service_pb2.ModelInferRequest(model_name=model)
    made.inputs.add(name=name, datatype=datatype).shape.extend(shape)
    made.raw_input_contents.append(raw)
    for key, value in parameters.items():
        if isinstance(value, int):
            made.parameters[key].int64_param = value
        else:
            made.parameters[key].string_param = value
    return made


def image(raw: bytes, model: str = "recognizer", shape: tuple[int, ...] = (1, 1), **parameters: str | int) -> Any:
    return message(model, "image", "BYTES", shape, raw, **parameters)


def index(name: str, datatype: str, raw: bytes, width: int = 1, **parameters: str | int) -> Any:
    return message("index", name, datatype, (1, width), raw, **parameters)


LYING = struct.pack("<I", 10**6) + b"x"
FAULTS: dict[str, Callable[[bytes], Any]] = {
    "no photo": lambda photo: image(packed(b"no photo")),
    "half a photo": lambda photo: image(packed(photo[: len(photo) // 2])),
    "lengths that lie": lambda photo: image(LYING),
    "lengths that lie, to a step": lambda photo: image(LYING, "preprocess"),
    "lengths that lie, in a search": lambda photo: image(LYING, "searcher"),
    "no time to wait": lambda photo: image(packed(photo), timeout=1),
    "no time to wait, for a step": lambda photo: image(packed(photo), "preprocess", timeout=1),
    "no time to wait, for a search": lambda photo: index("embedding", "FP32", EMBEDDING, 1280, timeout=1),
    "wrong shape": lambda photo: image(packed(photo), shape=(1, 2)),
    "too many photos": lambda photo: image(packed(b"x") * 9, shape=(9, 1)),
    "wrong type": lambda photo: message("recognizer", "image", "FP32", (1, 1), bytes(4)),
    "unknown tensor": lambda photo: message("recognizer", "picture", "BYTES", (1, 1), packed(photo)),
    "unknown model": lambda photo: image(packed(photo), "nobody"),
    "embedding of no direction": lambda photo: index("embedding", "FP32", bytes(5120), 1280),
    "filter of no JSON": lambda photo: index("query", "BYTES", packed(b"{")),
    "product of no catalogue": lambda photo: index("product_id", "BYTES", packed(b"nobody")),
    "id that is no UTF-8": lambda photo: index("product_id", "BYTES", packed(b"\xff\xfe")),
    "lengths that lie, to the index": lambda photo: index("product_id", "BYTES", LYING),
    "numbers of no photo": lambda photo: message(
        "classifier", "features", "FP32", (1, 1280), np.full(1280, np.nan, np.float32).tobytes()
    ),
    "source of nobody": lambda photo: image(packed(b"no photo"), source="x" * 1000),
}


def read_samples(server: LocalServer) -> dict[str, float]:
    with urllib.request.urlopen(server.metrics_url, timeout=TIMEOUT_S) as page:
        text = page.read().decode()
    found = {f'{name}{{job="triptych", {labels}}}': float(value) for name, labels, value in SAMPLE.findall(text)}
    return {series: value for series, value in found.items() if "_bucket{" not in series and math.isfinite(value)}


def total(samples: dict[str, float], part: str, *parts: str) -> float:
    return sum(value for series, value in samples.items() if all(one in series for one in (part, *parts)))


def counts(
    promtool: str, folder: Path, before: dict[str, float], after: dict[str, float], seconds: float, expected: str
) -> str:
    """What promtool says of `expected`, an expression over `failed` and `total`; empty where it holds.

    Each series rises evenly from one scrape to the other, in the real time between them.
    """
    deployment = read_deployment(time_scale=seconds / STEPS * WINDOW_STEPS / SHORTEST_S)
    window_s = SHORTEST_S * deployment.time_scale
    failed, everything, *searches = (f"sum({rule.expr}) * {window_s}" for rule in availability(deployment))
    interval = f"{round(seconds / STEPS * 1000)}ms"
    series = [
        {"series": name, "values": f"{start:.9f}{(value - start) / STEPS:+.9f}x{STEPS}"}
        for name, value in after.items()
        for start in (before.get(name, 0.0),)
    ]
    expr = expected.format(failed=f"({failed})", total=f"({everything})", searches=f"({searches[0]})")
    end = f"{round(seconds / STEPS * 1000) * STEPS}ms"
    test = {"expr": expr, "eval_time": end, "exp_samples": [{"labels": "{}", "value": 1}]}
    content = {
        "evaluation_interval": interval,
        "tests": [{"interval": interval, "input_series": series, "promql_expr_test": [test]}],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def hang_up(stub: Any, photo: bytes) -> None:
    for model in ("recognizer", "searcher"):
        call = stub.ModelInfer.future(image(packed(photo), model))
        time.sleep(0.005)
        call.cancel()


def test_no_fault_of_a_caller_counts_against_availability(
    server: LocalServer, photos: list[Path], tmp_path: Path
) -> None:
    promtool = find_program("promtool")
    photo = photos[0].read_bytes()
    before, started_s = read_samples(server), time.monotonic()
    answered = []
    with Client(server.grpc_target) as client, grpc.insecure_channel(server.grpc_target) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for number in range(TIMES):
            client.recognize(photo + number.to_bytes(4, "big"))
            hang_up(stub, photo + bytes([number]))
            for name, fault in FAULTS.items():
                try:
                    stub.ModelInfer(fault(photo), timeout=TIMEOUT_S)
                except grpc.RpcError:
                    continue
                answered.append(name)
    assert not answered
    time.sleep(max(2.0, LEAST_S - (time.monotonic() - started_s)))  # each process publishes once a second
    after, seconds = read_samples(server), time.monotonic() - started_s

    def risen(*parts: str) -> float:
        return total(after, *parts) - total(before, *parts)

    # Triton itself calls these failures, and tells them from the server's by nothing.
    assert risen("nv_inference_request_failure", 'reason="BACKEND"') >= TIMES
    assert risen("nv_inference_request_failure", 'reason="REJECTED"') >= TIMES
    said = counts(promtool, tmp_path, before, after, seconds, "{failed} == bool 0")
    assert not said, said
    said = counts(promtool, tmp_path, before, after, seconds, "{searches} == bool 0")
    assert not said, said
    good = TIMES * WINDOW_STEPS / STEPS
    said = counts(promtool, tmp_path, before, after, seconds, f"{{total}} >= bool {0.8 * good}")
    assert not said, said
    # The same scrapes with a process that lives no more: what Triton calls BACKEND counts.
    dead = {name: before[name] if "alive_seconds" in name else value for name, value in after.items()}
    said = counts(promtool, tmp_path, before, dead, seconds, f"{{failed}} >= bool {0.8 * good}")
    assert not said, said


def test_imports_and_searches_are_told_from_shoppers_photos(server: LocalServer, photos: list[Path]) -> None:
    photo = photos[1].read_bytes()
    before = read_samples(server)

    def risen(source: str) -> float:
        parts = ("triptych_photos_total", f'source="{source}"')
        return total(read_samples(server), *parts) - total(before, *parts)

    with Client(server.grpc_target) as client, grpc.insecure_channel(server.grpc_target) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        key = server.catalogue_key_file.read_text().strip()
        with Client(server.grpc_target, catalogue_key=key) as shop:
            shop.catalogue.upsert("honest", photo)
            client.search(photo)
            shop.catalogue.delete("honest")
        client.with_options(priority="bulk").recognize(photo)
        client.with_options(source="internal").recognize(photo)
        stub.ModelInfer(image(packed(photo), source="nightly"), timeout=TIMEOUT_S)
        stub.ModelInfer(image(packed(photo)), timeout=TIMEOUT_S)  # a caller of before, who says nothing
    expected = {"import": 1, "search": 1, "bulk": 1, "internal": 1, "other": 1, "shopper": 1}
    assert wait_for(lambda: {source: risen(source) for source in expected} == expected), {
        source: risen(source) for source in expected
    }
    assert not [series for series in read_samples(server) if "nightly" in series]

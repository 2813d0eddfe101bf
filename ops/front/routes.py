"""Which requests pass to Triton, and which the front answers itself, by protocol and path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ops.front import refusals
from ops.front.filters import without_rate_limit
from ops.front.refusals import Refusal
from ops.front.settings import Fields, Front

# While this runtime key is 100, every new request is refused as STOPPING.
STOPPING_KEY = "triptych.stopping"
# Triton refuses calls without this header, so that nobody passes by the front, which alone knows its value.
KEY_HEADER = "triptych-front-key"
GRPC_KEY_HEADER = f"triton-grpc-protocol-{KEY_HEADER}"


def make_routes(name: str, front: Front) -> list[Fields]:
    """Returns the routes of the listener `name`; the first that matches applies."""
    if name == "metrics":
        return _metrics_routes()
    return _grpc_routes(front) if name == "grpc" else _http_routes(front)


# The paths of Triton's API that callers need, as expressions of the same form as its own. Envoy bounds the size of one.
_MODEL = r"/v2/models/[^/]+(/versions/[0-9]+)?"
_HEALTH_PATHS = (r"/v2/health/(live|ready)", rf"{_MODEL}/ready")
_CALL_PATHS = (
    rf"/v2/?|/v2/models/stats|{_MODEL}",
    rf"{_MODEL}/(infer|config|stats|trace/setting)",
    r"/v2/systemsharedmemory(/region/[^/]+)?/(status|register|unregister)",
    r"/v2/logging|/v2/trace/setting",
)
_REPOSITORY_PATHS = (r"/v2/repository/(index|models/[^/]+/(load|unload))",)
_GENERATE_PATHS = r"/v2/models/.*/generate(_stream)?"

_SERVICE = "/inference.GRPCInferenceService/"
_HEALTH_CALLS = (rf"{_SERVICE}(ServerLive|ServerReady|ModelReady)", r"/grpc\.health\.v1\.Health/Check")
_CALLS = (
    rf"{_SERVICE}(ServerMetadata|ModelMetadata|ModelConfig|ModelStatistics|ModelInfer)",
    rf"{_SERVICE}(TraceSetting|LogSettings)",
    rf"{_SERVICE}SystemSharedMemory(Status|Register|Unregister)",
)
_REPOSITORY_CALLS = (rf"{_SERVICE}Repository(Index|ModelLoad|ModelUnload)",)


def _http_routes(front: Front) -> list[Fields]:
    key, timeout_s = _key_of_front(KEY_HEADER, front.key), front.limits.answer_timeout_s
    return [
        _refusing("/", refusals.STOPPING, runtime_fraction=_stopping()),
        _refusing("/", refusals.COMPRESSED, headers=[_is_encoded("content-encoding")]),
        _refusing("/v2/cudasharedmemory", refusals.DEVICE_MEMORY),
        # Loading a model takes as long as it takes; only the holder of the control key can ask for it.
        *_passing(_REPOSITORY_PATHS, "triton_http", 0, {}),
        *_passing(_HEALTH_PATHS, "triton_http", timeout_s, {**key, **without_rate_limit("http", front.limits)}),
        *_passing(_CALL_PATHS, "triton_http", timeout_s, key),
        _refusing(_GENERATE_PATHS, refusals.GENERATED, is_expression=True),
        _refusing("/", refusals.UNKNOWN_PATH),
    ]


def _grpc_routes(front: Front) -> list[Fields]:
    key, timeout_s = _key_of_front(GRPC_KEY_HEADER, front.key), front.limits.answer_timeout_s
    return [
        _refusing(
            "/", refusals.WRONG_PORT, headers=[{**_is("content-type", "application/grpc"), "invert_match": True}]
        ),
        _refusing("/", refusals.STOPPING, over_grpc=True, runtime_fraction=_stopping()),
        _refusing("/", refusals.COMPRESSED, over_grpc=True, headers=[_is_encoded("content-encoding")]),
        _refusing("/", refusals.COMPRESSED, over_grpc=True, headers=[_is_encoded("grpc-encoding")]),
        _refusing(f"{_SERVICE}ModelStreamInfer", refusals.STREAMED, over_grpc=True),
        _refusing(f"{_SERVICE}CudaSharedMemory", refusals.DEVICE_MEMORY, over_grpc=True),
        *_passing(_REPOSITORY_CALLS, "triton_grpc", 0, {}),
        *_passing(_HEALTH_CALLS, "triton_grpc", timeout_s, {**key, **without_rate_limit("grpc", front.limits)}),
        *_passing(_CALLS, "triton_grpc", timeout_s, key),
        _refusing("/", refusals.UNKNOWN_PATH, over_grpc=True),
    ]


def _metrics_routes() -> list[Fields]:
    gets = [{"name": ":method", "string_match": {"exact": "GET"}}]
    front: Fields = {
        "match": {"path": "/metrics/front", "headers": gets},
        "route": {"cluster": "admin", "prefix_rewrite": "/stats/prometheus?usedonly", "timeout": "10s"},
    }
    server: Fields = {
        "match": {"path": "/metrics", "headers": gets},
        "route": {"cluster": "triton_metrics", "timeout": "10s"},
    }
    return [front, server, _refusing("/", refusals.UNKNOWN_PATH)]


def _stopping() -> Fields:
    return {"runtime_key": STOPPING_KEY, "default_value": {"numerator": 0, "denominator": "HUNDRED"}}


def _is(header: str, start: str) -> Fields:
    return {"name": header, "string_match": {"prefix": start}, "treat_missing_header_as_empty": True}


def _is_encoded(header: str) -> Fields:
    return {
        "name": header,
        "string_match": {"exact": "identity"},
        "invert_match": True,
        "treat_missing_header_as_empty": False,
    }


def _key_of_front(header: str, key: str) -> Fields:
    return {"request_headers_to_add": [set_header(header, key)]} if key else {"request_headers_to_remove": [header]}


def set_header(name: str, value: str) -> Fields:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _passing(paths: Sequence[str], cluster: str, timeout_s: int, more: Fields) -> list[Fields]:
    """Routes to Triton for the whole paths that one of the expressions matches."""
    return [
        {
            "match": {"safe_regex": {"regex": path}},
            "route": {"cluster": cluster, "timeout": f"{timeout_s}s"},
            **more,
        }
        for path in paths
    ]


def _refusing(
    path: str, refusal: Refusal, *, over_grpc: bool = False, is_expression: bool = False, **match: Any
) -> Fields:
    """A route that answers in place of Triton.

    Args:
        path: its beginning.
        refusal: the answer.
        over_grpc: whether the callers speak gRPC; Envoy then sends the body as `grpc-message`.
        is_expression: whether `path` is a regular expression of whole paths.
        match: further conditions.
    """
    body = refusal.text if over_grpc else refusal.body
    return {
        "match": {**({"safe_regex": {"regex": path}} if is_expression else {"prefix": path}), **match},
        "direct_response": {"status": refusal.http, "body": {"inline_string": body}},
    }

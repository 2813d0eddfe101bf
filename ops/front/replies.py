"""The words of the wire in place of Envoy's own, for what Envoy refuses by itself."""

from __future__ import annotations

from ops.front import refusals
from ops.front.limits import Limits
from ops.front.refusals import Refusal
from ops.front.routes import set_header
from ops.front.settings import Fields


def local_replies(name: str, limits: Limits) -> Fields:
    """Returns what the listener `name` answers, by Envoy's flag of the reason, or by its status."""
    by_flag = {
        ("UO", "OM"): refusals.BUSY,
        ("UF", "UH", "URX"): refusals.AWAY,
        ("UC", "LR", "UR"): refusals.LOST,
        ("UT", "DT", "SI"): refusals.LATE,
        ("UPE",): refusals.QUOTED,
    }
    is_grpc = name == "grpc"
    by_status = (refusals.too_large(limits), refusals.headers_too_long(limits), refusals.too_often(limits))
    mappers = [
        *(
            _reply({"response_flag_filter": {"flags": list(flags)}}, refusal, is_grpc)
            for flags, refusal in by_flag.items()
        ),
        *(_reply(_status_is(refusal.http), refusal, is_grpc) for refusal in by_status),
    ]
    if not is_grpc:
        form = {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}, "content_type": "application/json"}
        return {"mappers": mappers, "body_format": form}
    # Envoy derives the status of gRPC from that of HTTP, with less choice.
    mappers += [_with_grpc_status(refusal) for refusal in (refusals.COMPRESSED, refusals.STREAMED)]
    return {"mappers": mappers}


def _status_is(status: int) -> Fields:
    value = {"default_value": status, "runtime_key": "triptych.status"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _with_grpc_status(refusal: Refusal) -> Fields:
    return {
        "filter": _status_is(refusal.http),
        "headers_to_add": [set_header("grpc-status", str(refusal.grpc))],
    }


def _reply(condition: Fields, refusal: Refusal, is_grpc: bool) -> Fields:
    body = {"inline_string": refusal.text if is_grpc else refusal.body}
    mapper: Fields = {"filter": condition, "status_code": refusal.http, "body": body}
    if is_grpc:
        mapper["headers_to_add"] = [set_header("grpc-status", str(refusal.grpc))]
    return mapper

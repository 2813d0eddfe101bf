"""A listener of the front: its connections, their bounds and certificates, and its access log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ops.front.filters import make_filters, token_bucket
from ops.front.limits import Limits
from ops.front.replies import local_replies
from ops.front.routes import make_routes
from ops.front.settings import AccessLog, Address, Certificates, Fields, Front

_NETWORK = "type.googleapis.com/envoy.extensions.filters.network"
_ACCESS_LOGS = "type.googleapis.com/envoy.extensions.access_loggers"


def make_listener(name: str, front: Front) -> Fields:
    address: Address = getattr(front.listens, name)
    is_metrics = name == "metrics"
    chain: Fields = {"filters": [*_connection_filters(name, front.limits), _connection_manager(name, front)]}
    if name == "grpc" and front.tls is not None:
        chain["transport_socket"] = _tls(front.tls)
    return {
        "name": name,
        "address": {"socket_address": {"address": address.host, "port_value": address.port}},
        # Whoever watches the server sees it while it is flooded.
        "ignore_global_conn_limit": is_metrics,
        "bypass_overload_manager": is_metrics,
        "filter_chains": [chain],
    }


def _connection_filters(name: str, limits: Limits) -> list[Fields]:
    if name == "metrics":
        return []
    config = {
        "@type": f"{_NETWORK}.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": name,
        "token_bucket": token_bucket(limits.new_connections_per_s),
    }
    return [{"name": "envoy.filters.network.local_ratelimit", "typed_config": config}]


def _connection_manager(name: str, front: Front) -> Fields:
    limits = front.limits
    config: Fields = {
        "@type": f"{_NETWORK}.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "AUTO" if name == "grpc" else "HTTP1",
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": False,
        "normalize_path": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "max_request_headers_kb": limits.headers_kib if name == "grpc" else limits.http_headers_kib,
        "common_http_protocol_options": {
            "idle_timeout": _seconds(limits.idle_timeout_s),
            "max_headers_count": limits.headers,
        },
        "request_headers_timeout": _seconds(limits.header_timeout_s),
        "request_timeout": _seconds(limits.body_timeout_s),
        "stream_idle_timeout": _seconds(limits.answer_timeout_s),
        "stream_flush_timeout": _seconds(limits.reading_timeout_s),
        "route_config": {
            "name": name,
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": make_routes(name, front)}],
            "request_headers_to_remove": _headers_to_remove(name),
        },
        "http_filters": make_filters(name, limits),
        "local_reply_config": local_replies(name, limits),
    }
    if name == "grpc":
        config["http2_protocol_options"] = {"max_concurrent_streams": limits.streams}
    if front.access_log is not None and name != "metrics":
        config["access_log"] = [_access_log(name, front.access_log)]
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def _headers_to_remove(name: str) -> list[str]:
    # Triton compresses answers on request, which costs it more than it saves here.
    removed = ["accept-encoding"]
    if name == "http":
        # Triton's HTTP library parses a body of type application/x-www-form-urlencoded, curl's default, as a query: in
        # copies on a stack of 8 MB, so that a body over 4 MB ends the server (server#5840). Triton ignores the header.
        removed.append("content-type")
    return removed


def _access_log(name: str, log: AccessLog) -> Fields:
    line = {
        "time": "%START_TIME%",
        "protocol": name,
        "caller": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS%",
        "flags": "%RESPONSE_FLAGS%",
        "request_bytes": "%BYTES_RECEIVED%",
        "response_bytes": "%BYTES_SENT%",
        "ms": "%DURATION%",
        "trace": "%REQ(TRACEPARENT)%",
    }
    # A container's user may write to its standard output, but not always open /dev/stdout.
    is_stdout = log.path == "/dev/stdout"
    kind = "stream.v3.StdoutAccessLog" if is_stdout else "file.v3.FileAccessLog"
    config: Fields = {"@type": f"{_ACCESS_LOGS}.{kind}", "log_format": {"json_format": line}}
    if not is_stdout:
        config["path"] = log.path
    share = {"numerator": round(log.percent * 10_000), "denominator": "MILLION"}
    sampled = {"runtime_filter": {"runtime_key": "triptych.access_log", "percent_sampled": share}}
    return {"name": "envoy.access_loggers.file", "filter": sampled, "typed_config": config}


def _tls(certificates: Certificates) -> Fields:
    files: Sequence[tuple[str, Path]] = (
        ("certificate_chain", certificates.certificate),
        ("private_key", certificates.private_key),
    )
    context: Fields = {
        "tls_certificates": [{name: {"filename": str(path)} for name, path in files}],
        "alpn_protocols": ["h2"],
    }
    if certificates.clients is not None:
        context["validation_context"] = {"trusted_ca": {"filename": str(certificates.clients)}}
    config = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": context,
        "require_client_certificate": certificates.clients is not None,
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def _seconds(count: int) -> str:
    return f"{count}s"

"""The front's configuration, Envoy's bootstrap as plain data: three listeners, a cluster for each of Triton's ports.

Its fields: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/.
"""

from __future__ import annotations

from ops.front.limits import Limits
from ops.front.listeners import make_listener
from ops.front.settings import Address, Fields, Front

_MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors"
_TIMERS = "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig"
# Shares of the heap's limit from which the front gives memory back and waits less for readers, ends the largest
# requests and unread answers, ends all of 64 kB and more, and refuses new ones.
_SHRINK, _RESET, _RESET_ALL, _REFUSE = 0.7, 0.75, 0.9, 0.97
# 2**16 bytes: answers of one photo are smaller, those that fill the heap unread are not.
_TRACKED_POWER = 16
# Of memory that is free again, given back to the machine each second.
_RELEASED = 64 * 2**20
# A caller that takes back requests costs a connection to Triton one frame each; beyond the limit Envoy closes it, with
# all that others wait for on it. 2,000 connections may take back 50 each before they are closed.
_FRAMES_TO_TRITON = 1_000_000
# A stream that nobody reads holds so much of the window of its connection, which has room for all of them.
_STREAM_WINDOW, _CONNECTION_WINDOW = 2**20, 2**31 - 1
_RUNTIME = {
    # Of one connection before others have their turn; what is taken back at once is never begun.
    "http.max_requests_per_io_cycle": 1,
    # A connection that takes back more than half of so many requests within a second is closed.
    "overload.premature_reset_total_stream_count": 100,
    "overload.premature_reset_min_stream_lifetime_seconds": 1,
}
# Triton's errors quote names of the request in a header, which the front cuts.
_QUOTED_KIB = 128
# Connections to Triton's HTTP port close after this time, because a stop of Triton waits for idle ones.
_UPSTREAM_IDLE = "1s"


def bootstrap(front: Front) -> Fields:
    """Returns Envoy's bootstrap; written as JSON, it is a file for `envoy -c`."""
    limits = front.limits
    return {
        "node": {"id": "triptych", "cluster": "triptych"},
        "admin": {"address": {"pipe": {"path": front.admin, "mode": 0o600}}},
        "layered_runtime": {
            "layers": [{"name": "static", "static_layer": _RUNTIME}, {"name": "admin", "admin_layer": {}}]
        },
        "memory_allocator_manager": {"bytes_to_release": _RELEASED, "memory_release_interval": "1s"},
        "overload_manager": _overload_manager(limits),
        "static_resources": {
            "listeners": [make_listener(name, front) for name in ("http", "grpc", "metrics")],
            "clusters": [
                _cluster("triton_http", front.triton.http, _http1_upstream(), limits),
                _cluster("triton_grpc", front.triton.grpc, _http2_upstream(), limits),
                _cluster("triton_metrics", front.triton.metrics, {"http_protocol_options": {}}, limits),
                _admin_cluster(front.admin),
            ],
        },
    }


def _overload_manager(limits: Limits) -> Fields:
    heap = {"@type": f"{_MONITORS}.fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes": limits.heap_bytes}
    open_connections = {
        "@type": f"{_MONITORS}.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": limits.connections,
    }
    return {
        "refresh_interval": "0.25s",
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": _TRACKED_POWER},
        "resource_monitors": [
            {"name": "envoy.resource_monitors.fixed_heap", "typed_config": heap},
            {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": open_connections},
        ],
        "actions": [
            _action("shrink_heap", {"threshold": {"value": _SHRINK}}),
            _action("reduce_timeouts", _between(_SHRINK, _RESET_ALL), _readers_timeout()),
            _action("reset_high_memory_stream", _between(_RESET, _RESET_ALL)),
            _action("stop_accepting_requests", {"threshold": {"value": _REFUSE}}),
        ],
    }


def _action(name: str, trigger: Fields, config: Fields | None = None) -> Fields:
    monitor = "envoy.resource_monitors.fixed_heap"
    action: Fields = {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": monitor, **trigger}]}
    return action if config is None else {**action, "typed_config": config}


def _between(start: float, end: float) -> Fields:
    """A trigger that grows from 0 to 1 between two shares of the heap."""
    return {"scaled": {"scaling_threshold": start, "saturation_threshold": end}}


def _readers_timeout() -> Fields:
    factors = [{"timer": "HTTP_DOWNSTREAM_STREAM_FLUSH", "min_timeout": "1s"}]
    return {"@type": _TIMERS, "timer_scale_factors": factors}


def _cluster(name: str, address: Address, protocol: Fields, limits: Limits) -> Fields:
    bounds = {
        "max_requests": limits.requests,
        "max_pending_requests": limits.requests,
        "max_connections": limits.requests,
    }
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [bounds]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": protocol.pop("common", {}),
                "explicit_http_config": protocol,
            }
        },
        "load_assignment": _assignment(name, {"socket_address": {"address": address.host, "port_value": address.port}}),
    }


def _http1_upstream() -> Fields:
    return {"http_protocol_options": {}, "common": {"idle_timeout": _UPSTREAM_IDLE}}


def _http2_upstream() -> Fields:
    options = {
        "max_outbound_frames": _FRAMES_TO_TRITON,
        "max_outbound_control_frames": _FRAMES_TO_TRITON,
        "initial_stream_window_size": _STREAM_WINDOW,
        "initial_connection_window_size": _CONNECTION_WINDOW,
    }
    return {"http2_protocol_options": options, "common": {"max_response_headers_kb": _QUOTED_KIB}}


def _admin_cluster(admin: str) -> Fields:
    return {
        "name": "admin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _assignment("admin", {"pipe": {"path": admin}}),
    }


def _assignment(name: str, address: Fields) -> Fields:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}

"""The front's configuration, Envoy's bootstrap as plain data: three listeners, a cluster for each of Triton's ports.

Its fields: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/.
"""

from __future__ import annotations

from ops.front.limits import Limits
from ops.front.listeners import make_listener
from ops.front.settings import Address, Fields, Front

_MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors"
# Shares of the heap's limit from which the front gives memory back, ends large requests and refuses new ones.
_SHRINK, _RESET, _REFUSE = 0.8, 0.9, 0.97
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
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {}}, {"name": "admin", "admin_layer": {}}]},
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
        # Requests of 1 MB and more are known by their size, so that the largest end first.
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
        "resource_monitors": [
            {"name": "envoy.resource_monitors.fixed_heap", "typed_config": heap},
            {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": open_connections},
        ],
        "actions": [
            _action("shrink_heap", {"threshold": {"value": _SHRINK}}),
            _action(
                "reset_high_memory_stream", {"scaled": {"scaling_threshold": _RESET, "saturation_threshold": _REFUSE}}
            ),
            _action("stop_accepting_requests", {"threshold": {"value": _REFUSE}}),
        ],
    }


def _action(name: str, trigger: Fields) -> Fields:
    monitor = "envoy.resource_monitors.fixed_heap"
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": monitor, **trigger}]}


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
    return {"http2_protocol_options": {}, "common": {"max_response_headers_kb": _QUOTED_KIB}}


def _admin_cluster(admin: str) -> Fields:
    return {
        "name": "admin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _assignment("admin", {"pipe": {"path": admin}}),
    }


def _assignment(name: str, address: Fields) -> Fields:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}

"""The filters that a request passes: rate limit, buffer (the whole body, bounded), Lua (what it holds), router."""

from __future__ import annotations

from pathlib import Path

from ops.front import refusals
from ops.front.limits import Limits
from ops.front.settings import Fields

_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"


def make_filters(name: str, limits: Limits) -> list[Fields]:
    """Returns the filters of the listener `name`, in their order."""
    config = {"@type": f"{_FILTERS}.router.v3.Router", "suppress_envoy_headers": True}
    router = {"name": "envoy.filters.http.router", "typed_config": config}
    if name == "metrics":
        return [router]
    return [*_rate_limit(name, limits), _buffer(limits), _lua(name, limits), router]


def token_bucket(per_second: int) -> Fields:
    """Twice the rate at once, then the rate."""
    return {"max_tokens": 2 * per_second, "tokens_per_fill": per_second, "fill_interval": "1s"}


def _rate_limit(name: str, limits: Limits) -> list[Fields]:
    if not limits.requests_per_s:
        return []
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    config = {
        "@type": f"{_FILTERS}.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": f"{name}_requests",
        "token_bucket": token_bucket(limits.requests_per_s),
        "filter_enabled": always,
        "filter_enforced": always,
    }
    return [{"name": "envoy.filters.http.local_ratelimit", "typed_config": config}]


def _buffer(limits: Limits) -> Fields:
    config = {"@type": f"{_FILTERS}.buffer.v3.Buffer", "max_request_bytes": limits.body_bytes}
    return {"name": "envoy.filters.http.buffer", "typed_config": config}


def _lua(name: str, limits: Limits) -> Fields:
    code = Path(__file__).with_name(f"{name}_check.lua").read_text(encoding="utf-8")
    for word, value in _words(name, limits).items():
        code = code.replace(f"@{word}@", value)
    config = {"@type": f"{_FILTERS}.lua.v3.Lua", "default_source_code": {"inline_string": code}}
    return {"name": "envoy.filters.http.lua", "typed_config": config}


def _words(name: str, limits: Limits) -> dict[str, str]:
    """Returns the limits and the answers that the script of a listener names, as @word@."""
    if name == "http":
        return {
            "json_depth": str(limits.json_depth),
            "json_values": str(limits.json_values),
            "json_escapes": str(limits.json_escapes),
            "json_unbounded": refusals.json_unbounded(limits).body,
            "foreign_segment": refusals.FOREIGN_SEGMENT.body,
        }
    return {
        "fields": str(limits.fields),
        "names_bytes": str(limits.names_bytes),
        "too_many_fields": refusals.too_many_fields(limits).text,
        "malformed": refusals.MALFORMED.text,
        "foreign_segment": refusals.FOREIGN_SEGMENT.text,
    }

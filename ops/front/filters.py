"""The filters that a request passes: rate limit, buffer (the whole body, bounded), Lua (what it holds), router."""

from __future__ import annotations

from pathlib import Path

from ops.front import refusals
from ops.front.limits import Limits
from ops.front.settings import Fields

# Of a name that nobody guesses: triptych_client_ and 32 hexadecimal digits.
_SEGMENT_CHARACTERS = 16 + 32
_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
_RATE_LIMIT = "envoy.filters.http.local_ratelimit"


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
    config = {**_rate(name, limits), "filter_enabled": _share(100), "filter_enforced": _share(100)}
    return [{"name": _RATE_LIMIT, "typed_config": config}]


def without_rate_limit(name: str, limits: Limits) -> Fields:
    """Fields of a route that the rate does not bound: whoever watches the server sees it while it is flooded."""
    if not limits.requests_per_s:
        return {}
    return {"typed_per_filter_config": {_RATE_LIMIT: {**_rate(name, limits), "filter_enabled": _share(0)}}}


def _rate(name: str, limits: Limits) -> Fields:
    return {
        "@type": f"{_FILTERS}.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": f"{name}_requests",
        "token_bucket": token_bucket(limits.requests_per_s),
    }


def _share(percent: int) -> Fields:
    return {"default_value": {"numerator": percent, "denominator": "HUNDRED"}}


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
            "segment_characters": str(_SEGMENT_CHARACTERS),
            "json_unbounded": refusals.json_unbounded(limits).body,
            "escaped_name": refusals.ESCAPED_NAME.body,
            "not_scores": refusals.NOT_SCORES.body,
            "foreign_segment": refusals.FOREIGN_SEGMENT.body,
            "memory_full": refusals.MEMORY_FULL.body,
            "unexamined": refusals.UNEXAMINED.body,
        }
    return {
        "segment_characters": str(_SEGMENT_CHARACTERS),
        "fields": str(limits.fields),
        "names_bytes": str(limits.names_bytes),
        "packed_bytes": str(limits.packed_bytes),
        "too_many_fields": refusals.too_many_fields(limits).text,
        "malformed": refusals.MALFORMED.text,
        "not_scores": refusals.NOT_SCORES.text,
        "foreign_segment": refusals.FOREIGN_SEGMENT.text,
        "memory_full": refusals.MEMORY_FULL.text,
        "unexamined": refusals.UNEXAMINED.text,
        "unreadable": refusals.UNREADABLE.text,
    }

"""What a request is for: the values of label `source`, and how a request says its own. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

# The request parameter in which a caller says it.
PARAMETER = "source"

SHOPPER, IMPORT, SEARCH, BULK, INTERNAL = "shopper", "import", "search", "bulk", "internal"
# Values that no release knows; a caller cannot create a series.
OTHER = "other"
SOURCES = (SHOPPER, IMPORT, SEARCH, BULK, INTERNAL, OTHER)

T = TypeVar("T")


def parse_source(said: Any) -> str:
    """The source in a request's parameter: `shopper` where it says none, `other` where it says an unknown one."""
    if said is None:
        return SHOPPER
    return said if isinstance(said, str) and said in SOURCES else OTHER


def by_source(open_series: Callable[..., T], *arguments: Any, **labels: str) -> dict[str, T]:
    """A counter or histogram for each source: `by_source(registry.counter, PHOTOS)`."""
    return {source: open_series(*arguments, source=source, **labels) for source in SOURCES}

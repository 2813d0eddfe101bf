"""What one search request may ask for: the only definition of these limits. Imports nothing of the search."""

from __future__ import annotations

from collections.abc import Iterable

from triptych_models.catalogue.filters import MAX_CONDITIONS
from triptych_models.errors import InvalidRequest

MAX_K = 1000
# The sum over the rows of a request of k x interests (1 without preferences). The work of a search grows with it: with
# 1,000 places the dearest request takes 0.3 s of one core over 2,000 photos.
MAX_PLACES = 1000
MAX_PRODUCTS = 200
MAX_WITHOUT = 10_000
MAX_INTERESTS = 10
MAX_PREDICTED = 64
# JSON and ids of all rows: requests that wait hold shared memory. 10,000 products of `without` have 200 bytes each.
MAX_TEXT_BYTES = 2 << 20


def check_k(k: int) -> int:
    """Returns `k`.

    Raises:
        InvalidRequest: `k` is too small or too large.
    """
    if not 1 <= k <= MAX_K:
        raise InvalidRequest(f"`k` is {k}; expected 1 to {MAX_K}.")
    return k


def check_text(size_bytes: int) -> None:
    """Checks the size of the texts of a request.

    Raises:
        InvalidRequest: they are too large.
    """
    if size_bytes > MAX_TEXT_BYTES:
        raise InvalidRequest(
            f"The texts of the request have {size_bytes} bytes; the limit is {MAX_TEXT_BYTES}. Send fewer rows in a "
            "request, or smaller ones."
        )


def check_conditions(conditions: int) -> None:
    """Checks the number of conditions in the filters of a request: each may compare every photo of the catalogue.

    Raises:
        InvalidRequest: there are too many of them.
    """
    if conditions > MAX_CONDITIONS:
        raise InvalidRequest(
            f"The filters of the request have {conditions} conditions; the limit is {MAX_CONDITIONS}. Send fewer rows "
            "in a request, or filters with fewer conditions."
        )


def check_places(rows: Iterable[tuple[int, int]]) -> int:
    """The places that a request asks for, from the k and the interests of each row.

    Raises:
        InvalidRequest: there are too many of them.
    """
    asked = list(rows)
    places = sum(k * interests for k, interests in asked)
    if places > MAX_PLACES:
        k, interests = max(asked, key=lambda row: row[0] * row[1])
        raise InvalidRequest(
            f"The request asks for {places} places: {len(asked)} rows of k x interests, the largest {k} x {interests}; "
            f"the limit is {MAX_PLACES}. Send fewer rows in a request, or ask for a smaller `k` or fewer `interests`."
        )
    return places

"""The limits on an item that client and server both know."""

from __future__ import annotations

import pytest

from triptych import CatalogueItem, InvalidInput
from triptych._core import catalogue as client
from triptych_models.catalogue import calls as server
from triptych_models.errors import InvalidRequest


def test_client_and_server_have_the_same_limits() -> None:
    told = (client.MAX_ITEMS, client.MAX_ID_CHARS, client.MAX_FIELDS_CHARS)
    assert told == (server.MAX_ITEMS, server.MAX_ID_CHARS, server.MAX_FIELDS_CHARS)


@pytest.mark.parametrize("letter", ["x", "ü", "🙂"])
def test_client_refuses_what_the_server_would_refuse(letter: str) -> None:
    room = server.MAX_FIELDS_CHARS - len('{"text": ""}')
    client.check_item(CatalogueItem("p", b"photo", {"text": letter * room}))
    server._check_fields({"text": letter * room}, "item 0")
    with pytest.raises(InvalidInput, match=r"expected at most 65,536\. The longest is 'text'"):
        client.check_item(CatalogueItem("p", b"photo", {"text": letter * (room + 1)}))
    with pytest.raises(InvalidRequest):
        server._check_fields({"text": letter * (room + 1)}, "item 0")

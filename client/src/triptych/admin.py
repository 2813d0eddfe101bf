"""What changes a server: kept apart from the calls that only ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triptych import calls, protocol

if TYPE_CHECKING:
    from triptych.async_client import AsyncClient
    from triptych.client import Client


class Admin:
    """Loads and unloads models; the server must run with `--model-control-mode=explicit` and let this client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def load(self, model: str) -> None:
        """Reads a model's files again; returns when the new version serves, the old one serves until then.

        Raises:
            InvalidInput: the server could not load it, or does not let models be controlled.
            PermissionDenied: this client may not.
        """
        self._client._run(calls.ask(self._client._session, self._client._options, protocol.load_model(model)))

    def unload(self, model: str) -> None:
        """Takes a model out of service; raises what `load` does."""
        self._client._run(calls.ask(self._client._session, self._client._options, protocol.unload_model(model)))


class AsyncAdmin:
    """`Admin` for `AsyncClient`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def load(self, model: str) -> None:
        """See `Admin.load`."""
        await self._client._run(calls.ask(self._client._session, self._client._options, protocol.load_model(model)))

    async def unload(self, model: str) -> None:
        """See `Admin.unload`."""
        await self._client._run(calls.ask(self._client._session, self._client._options, protocol.unload_model(model)))

"""Calls that change a server: loading and unloading of models."""

from __future__ import annotations

from triptych._core import calls, protocol
from triptych._runtime.callers import AsyncCaller, Caller

__all__ = ["Admin", "AsyncAdmin"]


class Admin:
    """Loads and unloads models. Needs a server with `--model-control-mode=explicit` that permits it to this client."""

    def __init__(self, client: Caller) -> None:
        self._client = client

    def load(self, model: str) -> None:
        """Loads a model's files again. Returns when the new version serves; the old version serves until then.

        Raises:
            InvalidInput: the server could not load the model, or does not allow model control.
            PermissionDenied: this client has no permission.
        """
        self._client._run(calls.ask(self._client._session, self._client._options, protocol.load_model(model)))

    def unload(self, model: str) -> None:
        """Takes a model out of service.

        Raises:
            TriptychError: see `load`.
        """
        self._client._run(calls.ask(self._client._session, self._client._options, protocol.unload_model(model)))


class AsyncAdmin:
    """`Admin` for `AsyncClient`."""

    def __init__(self, client: AsyncCaller) -> None:
        self._client = client

    async def load(self, model: str) -> None:
        """See `Admin.load`."""
        await self._client._run(calls.ask(self._client._session, self._client._options, protocol.load_model(model)))

    async def unload(self, model: str) -> None:
        """See `Admin.unload`."""
        await self._client._run(calls.ask(self._client._session, self._client._options, protocol.unload_model(model)))

"""The way to a server: the few calls of tritonclient's gRPC client that Triptych makes, and the channel's settings."""

from __future__ import annotations

from typing import Any, Protocol, cast

import tritonclient.grpc as triton

from triptych.errors import InvalidInput

# A peer that vanished without a word is noticed within 5 s of unanswered data, before the default deadline of 10 s.
# Pings go out during calls only: Triton answers pings on an idle connection by closing it.
_KEEPALIVE_TIME_MS = 20_000
_KEEPALIVE_TIMEOUT_MS = 5_000


class Transport(Protocol):
    """What a client needs of `tritonclient.grpc.InferenceServerClient`; raises `InferenceServerException`."""

    def get_model_metadata(self, model_name: str, *, client_timeout: float) -> Any:
        """A `ModelMetadataResponse`."""

    def infer(
        self, model_name: str, inputs: list[Any], *, outputs: list[Any], request_id: str, client_timeout: float
    ) -> Any:
        """An `InferResult`."""

    def close(self) -> None:
        """Gives the connection back."""


def connect(target: str) -> Transport:
    """A transport to `target`, which connects on the first call.

    The message-size caps stay tritonclient's own (2 GiB): given as keepalive options, not as channel arguments, these
    settings leave its defaults in place.

    Raises:
        InvalidInput: `target` is no gRPC address.
    """
    check_target(target)
    keepalive = triton.KeepAliveOptions(
        keepalive_time_ms=_KEEPALIVE_TIME_MS,
        keepalive_timeout_ms=_KEEPALIVE_TIMEOUT_MS,
    )
    return cast("Transport", triton.InferenceServerClient(target, keepalive_options=keepalive))


def check_target(target: str) -> None:
    """Raises `InvalidInput` for what gRPC would take and then look for in the wrong place."""
    if not isinstance(target, str) or ":" not in target or target.startswith(("http://", "https://")):
        raise InvalidInput(
            f"The target is {target!r}; expected the host and gRPC port of a server, without a scheme. "
            "Pass 127.0.0.1:8001, for example."
        )

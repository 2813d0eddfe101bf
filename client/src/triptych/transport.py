"""The way to a server: the few calls of tritonclient's gRPC client that Triptych makes, and the channel's settings."""

from __future__ import annotations

from typing import Any, Protocol, cast

import tritonclient.grpc as triton

from triptych.errors import InvalidInput

# With keepalive on, gRPC sets TCP_USER_TIMEOUT to its timeout: a host that vanished is noticed after 5 s of data
# without an acknowledgement, before the default deadline of 10 s. The pings themselves stay few: Triton closes a
# connection after the third within 5 minutes without data. A frozen process is left to the deadline.
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

"""The connection to a Weaviate cluster: address, key, timeouts and the translation of its errors. Knows no photos."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import weaviate
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.exceptions import UnexpectedStatusCodeError, WeaviateBaseError

from triptych_models.catalogue.settings import WEAVIATE_VARIABLE
from triptych_models.errors import EngineUnavailable, StoreFault

KEY_VARIABLE = "TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE"
_TIMEOUT_S = 10
_INSERT_TIMEOUT_S = 60


class WeaviateConnection:
    """One client for the process, made at the first request: a server starts while the cluster is down.

    Args:
        url: URL of Weaviate's HTTP API, `http://weaviate:8080` for example.
        grpc_port: port of its gRPC API on the same host.
        key_file: file with the API key; None where the cluster requires no key.

    Raises:
        StoreFault: `url` is not an HTTP URL.
    """

    def __init__(self, url: str, grpc_port: int, key_file: Path | None) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise StoreFault(f"{WEAVIATE_VARIABLE} is {url!r}; expected a URL such as http://weaviate:8080.")
        self._address = address
        self._grpc_port = grpc_port
        self._key_file = key_file
        self._lock = threading.Lock()
        self._client: weaviate.WeaviateClient | None = None

    def client(self) -> weaviate.WeaviateClient:
        """The open client; a new one after a failure, with the key that the key file contains then."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Raises the errors of Weaviate's client as this package's errors.

        Raises:
            EngineUnavailable: the cluster does not answer; the next call connects again.
            StoreFault: the cluster refuses the key or the request.
        """
        try:
            yield
        except UnexpectedStatusCodeError as error:
            if error.status_code in (401, 403):
                raise StoreFault(
                    f"Weaviate at {self._address.netloc} refuses the key in the file that {KEY_VARIABLE} names."
                ) from error
            if error.status_code < 500:
                raise StoreFault(f"Weaviate at {self._address.netloc} refuses a request: {_shorten(error)}") from error
            raise self._unavailable(error) from error
        except (WeaviateBaseError, httpx.HTTPError, OSError) as error:
            raise self._unavailable(error) from error

    def _connect(self) -> weaviate.WeaviateClient:
        key = self._key_file.read_text(encoding="utf-8").strip() if self._key_file is not None else None
        is_secure, host = self._address.scheme == "https", str(self._address.hostname)
        return weaviate.connect_to_custom(
            http_host=host,
            http_port=self._address.port or (443 if is_secure else 8080),
            http_secure=is_secure,
            grpc_host=host,
            grpc_port=self._grpc_port,
            grpc_secure=is_secure,
            auth_credentials=Auth.api_key(key) if key else None,
            additional_config=AdditionalConfig(
                timeout=Timeout(init=_TIMEOUT_S, query=_TIMEOUT_S, insert=_INSERT_TIMEOUT_S)
            ),
            skip_init_checks=True,  # the checks also ask a package registry for a newer client
        )

    def _unavailable(self, error: Exception) -> EngineUnavailable:
        self.close()
        return EngineUnavailable(
            f"The search engine at {self._address.netloc} does not answer ({_shorten(error)}). Try again in a moment."
        )


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

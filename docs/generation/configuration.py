"""Settings of a process: environment variables, arguments of a local server. The build compares them with the code."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

from docs.generation.pages import ROOT, GenerationError, Page, as_text, relative, table
from ops.settings import Settings
from triptych import Client

_SERVER = "Read by the models inside the server"
_CLIENT = "Read by `Client.from_env` and the command `triptych`"
_TOOLS = "Read by `ops`, `export` and `loadtest`"
# Section -> variable -> meaning. `_check` compares the names with those in the code.
VARIABLES: dict[str, dict[str, str]] = {
    _CLIENT: {
        "TRIPTYCH_TARGET": "`target`: address of the server, `127.0.0.1:8001` unless set.",
        "TRIPTYCH_TIMEOUT_S": "`timeout_s`: seconds that one call may take, retries included.",
        "TRIPTYCH_PRIORITY": "`priority`: `interactive`, or `bulk` for work that may wait.",
        "TRIPTYCH_SOURCE": "`source`: `shopper`, `import`, `search`, `bulk` or `internal`, for the server's metrics.",
        "TRIPTYCH_TRANSPORT": "`transport`: `grpc` or `http`.",
        "TRIPTYCH_BALANCE": "`balance`: `round_robin` or `pick_first`.",
        "TRIPTYCH_API_KEY": "`api_key`: `name=value` of a restricted API.",
        "TRIPTYCH_TOKEN": "`auth`: sent as the header `authorization: Bearer <token>`.",
        "TRIPTYCH_CATALOGUE_KEY": "`catalogue_key`: the key that writes to the catalogue.",
        "TRIPTYCH_TLS": "`tls`: `1` encrypts the connection and trusts the authorities of the machine.",
        "TRIPTYCH_TLS_CA": "`tls`: PEM file of the authorities to trust.",
        "TRIPTYCH_TLS_CERT": "`tls`: PEM file of the client's certificate.",
        "TRIPTYCH_TLS_KEY": "`tls`: PEM file of the key of that certificate.",
        "TRIPTYCH_TLS_SERVER_NAME": "`tls`: name in the server's certificate, where it differs from the target's host.",
    },
    _SERVER: {
        "TRIPTYCH_CACHE_MB": "Size of the answer cache of `recognizer` in MB, before `cache_mb`; `0` turns it off.",
        "TRIPTYCH_CATALOGUE_DIR": "Folder of the catalogue. Unset: a folder that is deleted when the server stops.",
        "TRIPTYCH_ADMIN_KEY_FILE": "File with the key of the restricted APIs, for the image; random without it.",
        "TRIPTYCH_CATALOGUE_KEY_FILE": "File with the catalogue's key. `triptych` and the load tests read it too.",
        "TRIPTYCH_CATALOGUE_OPEN": "`1` lets every caller write to the catalogue of a server without a key file.",
        "TRIPTYCH_RESTARTS": "Restarts of this server so far; `triptych serve` sets it, a metric shows it.",
        "TRIPTYCH_CATALOGUE_WEAVIATE": "Address of a Weaviate cluster that holds the catalogue instead of the folder.",
        "TRIPTYCH_CATALOGUE_WEAVIATE_GRPC": "gRPC address of the Weaviate cluster.",
        "TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE": "File with the API key of the Weaviate cluster.",
        "TRIPTYCH_CATALOGUE_WEAVIATE_REPLICAS": "Replicas of each shard in the Weaviate cluster.",
    },
    _TOOLS: {
        "TRIPTYCH_HTTP_URL": "HTTP address of the server under test; `triptych run` sets it.",
        "TRIPTYCH_METRICS_URL": "Address of the server's metrics; `triptych run` sets it.",
        "TRIPTYCH_SERVER_PID": "Process id of the server; `triptych run` sets it.",
        "TRIPTYCH_INNER_TARGET": "gRPC address behind the front, for measurements; `triptych run` sets it.",
        "TRIPTYCH_FRONT_KEY": "`name=value` of the key that calls to it need; `triptych run` sets it.",
        "TRIPTYCH_PROFILE": "Hardware profile of the server, whose latency objective a load test applies.",
    },
}
# One process of a room tells another one something; no user sets them.
INTERNAL = {"TRIPTYCH_LOAD_SHAPE", "TRIPTYCH_VERSION", "TRIPTYCH_FASTAPI_BASELINE_REPOSITORY"}
_ROOMS = ("client/src", "export", "loadtest", "model_repository", "ops")
_NAME = re.compile(r"TRIPTYCH_[A-Z]+(_[A-Z]+)*")


def render() -> list[Page]:
    """The page.

    Raises:
        GenerationError: the code names a variable that this module does not describe, or the other way round.
    """
    _check()
    parts = ["# Configuration\n", "An argument or option comes before the environment variable of the same setting.\n"]
    for title, variables in VARIABLES.items():
        rows = [(f"`{name}`", meaning) for name, meaning in variables.items()]
        parts.append(f"## {title}\n\n{table(('variable', 'meaning'), rows)}")
    parts.append(
        "## Settings of a local server\n\nTests pass them as `Settings(...)`; `triptych serve` has options for them.\n"
    )
    parts.append(table(("setting", "default", "meaning"), _setting_rows(Settings)))
    return [Page("reference/configuration.md", "\n".join(parts))]


def named_in_code() -> dict[str, str]:
    """Variable -> a file whose code names it as one string."""
    found = {}
    for room in _ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
                    found[node.value] = relative(file)
    return found


def asked_by_client() -> set[str]:
    """Variables that `Client.from_env` looks up, also those whose names it composes."""
    asked: set[str] = set()

    class Recording(dict[str, str]):
        def __contains__(self, name: object) -> bool:
            asked.add(str(name))
            return super().__contains__(name)

        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

    read = inspect.getmodule(Client.from_env.__func__)  # type: ignore[attr-defined]
    assert read is not None
    read.arguments_from_env(Recording({"TRIPTYCH_TLS": "1"}))
    return asked


def _check() -> None:
    described = {name for variables in VARIABLES.values() for name in variables}
    files = named_in_code()
    known = set(files) | asked_by_client()
    unknown = sorted(known - described - INTERNAL)
    if unknown:
        places = ", ".join(f"{name} ({files.get(name, 'Client.from_env')})" for name in unknown)
        raise GenerationError(f"docs/generation/configuration.py does not describe {places}. Add a sentence there.")
    gone = sorted(described - known)
    if gone:
        raise GenerationError(
            f"docs/generation/configuration.py describes {', '.join(gone)}, which no code reads. Remove it."
        )


def _setting_rows(settings: type[Settings]) -> Iterator[tuple[str, str, str]]:
    """Fields in their order; meanings are the class docstring's `Attributes`."""
    section = inspect.cleandoc(settings.__doc__ or "").partition("Attributes:\n")[2]
    meanings = {
        name: " ".join(text.split())
        for name, text in re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", section, re.M | re.S)
    }
    for each in dataclasses.fields(settings):
        default = str(each.default).replace(f"{ROOT}/", "")
        yield f"`{each.name}`", f"`{default}`", as_text(meanings.get(each.name, ""))

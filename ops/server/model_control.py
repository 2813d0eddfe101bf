"""Loads and unloads models in a running server, with the key from the server's state folder.

Loading a model runs code as the server. Triton therefore refuses calls of the model repository (load, unload, index),
of logging and of tracing without the control key, on both protocols. Shared memory has a second key: its holder may
send photos in shared memory, but not load models. All other calls need the key of the front, so that no user of the
machine passes by its limits. Every user of the machine can read a command line, so the keys are
overwritten there as soon as the server has read them.
"""

from __future__ import annotations

import http.client
import json
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from ops.errors import OpsError
from ops.server.probe import CONTROL_HEADER, request
from ops.settings import Ports

MEMORY_HEADER = "triptych-memory-key"
UNREACHABLE = "The server does not answer. Check it with `triptych status`."


def make_key(header: str) -> str:
    """Returns a new key as `header=value`."""
    return f"{header}={secrets.token_hex(32)}"


def control_options(control_key: str, memory_key: str, front_key: str, further: Sequence[str]) -> list[str]:
    """Returns the options that load every model before the server listens, allow later loads, and restrict the APIs.

    Args:
        control_key: for models, logs and traces, as name=value.
        memory_key: for shared memory, as name=value.
        front_key: for everything else, as name=value; the front sends it with each call.
        further: options of the user; APIs that they restrict are left out, because Triton accepts each API once.
    """
    closed = {
        control_key: ("model-repository", "logging", "trace"),
        memory_key: ("shared-memory",),
        front_key: ("health", "metadata", "inference", "model-config", "statistics"),
    }
    options = [
        # With strict readiness, Triton reports not ready while any model loads or unloads, and for 3 s after a reload.
        "--strict-readiness=false",
        "--model-control-mode=explicit",
        "--load-model=*",
    ]
    for flag in ("--grpc-restricted-protocol", "--http-restricted-api"):
        theirs = restricted_apis(further, flag)
        for key, apis in closed.items():
            ours = [api for api in apis if api not in theirs or api == "model-repository"]
            options += [f"{flag}={','.join(ours)}:{key}"] if ours else []
    return options


def restricted_apis(options: Sequence[str], flag: str) -> set[str]:
    """Returns the APIs named by every option `flag=a,b:key=value`."""
    named = [option.removeprefix(f"{flag}=").partition(":")[0] for option in options if option.startswith(f"{flag}=")]
    return {api for names in named for api in names.split(",")}


class LoadRefused(OpsError):
    """The server could not load a model; it keeps serving the previous model of that name."""


class ModelControl:
    """The server's load and unload calls."""

    def __init__(self, ports: Ports, key: str, timeout_s: float) -> None:
        self._ports = ports
        self._key = key
        self._timeout_s = timeout_s

    def load(self, model: str) -> None:
        """Returns when the model is ready; until then the previous model of that name answers.

        Raises:
            LoadRefused: the model did not load.
            OpsError: the server does not answer within the timeout.
        """
        self._ask(model, "load", {})

    def unload(self, model: str) -> None:
        """Unloads a model after its requests in flight are answered.

        Raises:
            OpsError: the server does not answer.
        """
        self._ask(model, "unload", {"parameters": {"unload_dependents": False}})

    def _ask(self, model: str, verb: str, body: dict[str, object]) -> None:
        path = f"/v2/repository/models/{quote(model)}/{verb}"
        headers, text = {CONTROL_HEADER: self._key}, json.dumps(body)
        try:
            status, answer = request("POST", self._ports.http, path, headers, body=text, timeout_s=self._timeout_s)
        except TimeoutError as error:
            raise OpsError(
                f"The server did not {verb} {model} within {self._timeout_s:g} s. Set a longer --load-timeout-s."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise OpsError(UNREACHABLE) from error
        if status != http.client.OK:
            raise LoadRefused(_reason(answer))


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace")


def hide_keys(pid: int, keys: Sequence[str]) -> bool:
    """Overwrites the values of the keys in the command line that `ps` shows; returns whether all are unreadable."""
    values = [key.partition("=")[2].encode() for key in keys]
    process = Path(f"/proc/{pid}")
    try:
        words = (process / "cmdline").read_bytes()
        # proc(5): field 48 is the address of the command line; the second field may hold spaces and brackets.
        start = int((process / "stat").read_text().rpartition(")")[2].split()[45])
        with (process / "mem").open("r+b", buffering=0) as memory:
            for found in re.finditer(b"|".join(map(re.escape, values)), words):
                memory.seek(start + found.start())
                memory.write(b"x" * len(found[0]))
        words = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return not any(value in words for value in values)

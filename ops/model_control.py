"""Loads and unloads models in a running server, with the key that only this server's state folder holds.

Whoever may load a model runs code as the server. So Triton is told to refuse the model repository's calls (load,
unload, index) without the key, on both protocols, and so with its logs and traces. Shared memory has a key of its own:
its holder may hand photos over in memory, and load nothing. The keys are taken off the server's command line, which
every user of the machine can read, as soon as the server has read them.
"""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from ops.errors import OpsError
from ops.settings import ADDRESS, Ports

HEADER = "triptych-control-key"
MEMORY_HEADER = "triptych-memory-key"
UNREACHABLE = "The server does not answer; look at it with `python -m ops status`."


@dataclass(frozen=True)
class Keys:
    """Of one server, made anew with each.

    Attributes:
        control: for models, logs and traces.
        memory: for shared memory.
    """

    control: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    memory: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    def hide(self, pid: int) -> bool:
        """Takes them off the command line of a server; whether nobody can read them there any more."""
        are_hidden = [hide_key(pid, key) for key in (self.control, self.memory)]
        return all(are_hidden)


def control_options(keys: Keys, further: Sequence[str] = ()) -> list[str]:
    """Every model is loaded at the start, before the server listens; later ones when told.

    Args:
        keys: what the closed APIs want.
        further: options of the user; what they restrict is left to them, because Triton takes each API once.
    """
    closed = {
        f"{HEADER}={keys.control}": ("model-repository", "logging", "trace"),
        f"{MEMORY_HEADER}={keys.memory}": ("shared-memory",),
    }
    options = [
        # Else it calls itself not ready while any model loads or unloads beside those that answer, 3 s after a reload.
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
    """The APIs named by every such option: `a,b:key=value`."""
    named = [option.removeprefix(f"{flag}=").partition(":")[0] for option in options if option.startswith(f"{flag}=")]
    return {api for names in named for api in names.split(",")}


class LoadRefused(OpsError):
    """The server could not load a model; what it served under that name it serves still."""


class ModelControl:
    """The server's load and unload calls."""

    def __init__(self, ports: Ports, key: str, timeout_s: float) -> None:
        self._ports = ports
        self._key = key
        self._timeout_s = timeout_s

    def load(self, model: str) -> None:
        """Returns when the model is ready; until then the one of the same name goes on answering.

        Raises:
            LoadRefused: it did not load.
            OpsError: the server does not answer, or not in time.
        """
        self._ask(model, "load", {})

    def unload(self, model: str) -> None:
        """Its requests in flight are answered first.

        Raises:
            OpsError: the server does not answer.
        """
        self._ask(model, "unload", {"parameters": {"unload_dependents": False}})

    def _ask(self, model: str, verb: str, body: dict[str, object]) -> None:
        connection = http.client.HTTPConnection(ADDRESS, self._ports.http, timeout=self._timeout_s)
        try:
            connection.request(
                "POST",
                f"/v2/repository/models/{quote(model)}/{verb}",
                body=json.dumps(body),
                headers={HEADER: self._key, "Connection": "close"},
            )
            response = connection.getresponse()
            status, answer = response.status, response.read()
        except TimeoutError as error:
            raise OpsError(
                f"The server did not {verb} {model} within {self._timeout_s:g} s. Allow more with --load-timeout-s."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise OpsError(UNREACHABLE) from error
        finally:
            connection.close()
        if status != http.client.OK:
            raise LoadRefused(_reason(answer))


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace")


def hide_key(pid: int, key: str) -> bool:
    """Overwrites the key in the command line that `ps` shows; whether nobody can read it there any more."""
    process = Path(f"/proc/{pid}")
    try:
        words = (process / "cmdline").read_bytes()
        # proc(5): field 48 is where the command line begins; the second field may hold spaces and brackets.
        start = int((process / "stat").read_text().rpartition(")")[2].split()[45])
        with (process / "mem").open("r+b", buffering=0) as memory:
            found = words.find(key.encode())
            while found >= 0:
                memory.seek(start + found)
                memory.write(b"x" * len(key))
                found = words.find(key.encode(), found + len(key))
        return key.encode() not in (process / "cmdline").read_bytes()
    except OSError:
        return False

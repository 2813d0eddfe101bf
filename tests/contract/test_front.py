"""The front's configuration: Envoy accepts it, its refusals are the wire's, its names are those of the client."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ops.front import refusals
from ops.front.configuration import bootstrap
from ops.front.filters import make_filters
from ops.front.limits import Limits
from ops.front.refusals import Refusal
from ops.front.settings import AccessLog, Address, Addresses, Certificates, Front
from ops.packaging import chart_front
from ops.server.front_process import find_envoy
from triptych._core.failures.codes import MEANINGS
from triptych._core.failures.translation import read
from triptych._core.protocol import TransportError
from triptych._transport.shared_region import Region
from triptych_models.errors import Code

# By number: https://grpc.github.io/grpc/core/md_doc_statuscodes.html
GRPC = {3: "INVALID_ARGUMENT", 4: "DEADLINE_EXCEEDED", 8: "RESOURCE_EXHAUSTED", 12: "UNIMPLEMENTED", 14: "UNAVAILABLE"}
LIMITS = Limits()
REFUSALS = [
    *(value for value in vars(refusals).values() if isinstance(value, Refusal)),
    refusals.too_large(LIMITS),
    refusals.json_unbounded(LIMITS),
    refusals.too_many_fields(LIMITS),
    refusals.headers_too_long(LIMITS),
    refusals.too_often(Limits(requests_per_s=200)),
]


def front(**changes: Any) -> Front:
    public = Addresses(*(Address("127.0.0.1", port) for port in (18100, 18101, 18102)))
    inner = Addresses(*(Address("127.0.0.1", port) for port in (18200, 18201, 18202)))
    return dataclasses.replace(Front(public, inner, "front.sock", key="secret"), **changes)


def complaints(configuration: dict[str, Any], folder: Path) -> str:
    file = folder / "front.json"
    file.write_text(json.dumps(configuration))
    command = [str(find_envoy()), "--mode", "validate", "-c", str(file), "--log-level", "error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


def test_envoy_accepts_every_form(tmp_path: Path) -> None:
    assert complaints(bootstrap(front()), tmp_path) == ""
    limited = front(access_log=AccessLog("access.log", 5.0), limits=Limits(requests_per_s=10), key="")
    assert complaints(bootstrap(limited), tmp_path) == ""
    nothing = front(tls=Certificates(tmp_path / "no.crt", tmp_path / "no.key", tmp_path / "no.ca"))
    assert "no.ca" in complaints(bootstrap(nothing), tmp_path), "the check can fail"


def test_envoy_accepts_the_charts(tmp_path: Path) -> None:
    assert complaints(json.loads(chart_front.render()), tmp_path) == ""


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.sentence[:30])
def test_refusal_is_one_of_the_wire(refusal: Refusal) -> None:
    status = GRPC[refusal.grpc]
    understood = read(TransportError(status, refusal.text))
    if refusal.code:
        assert refusal.code.upper() in Code.__members__
        assert understood.code == refusal.code
        assert status in (Code[refusal.code.upper()].status.value, "UNIMPLEMENTED")
    assert understood.code in MEANINGS
    assert understood.detail == refusal.sentence
    assert json.loads(refusal.body) == {"error": refusal.text}
    assert "'" not in refusal.body + refusal.text, "the scripts quote it"


def test_scripts_are_complete_and_know_the_clients_segments() -> None:
    region = Region(64)
    try:
        name = region.name
    finally:
        region.unlink()
    for listener in ("http", "grpc"):
        (lua,) = [each for each in make_filters(listener, LIMITS) if each["name"].endswith("lua")]
        script = lua["typed_config"]["default_source_code"]["inline_string"]
        assert not re.search(r"@\w+@", script), "a word without a value"
        (pattern,) = re.findall(r'"\^/\?(triptych_client_\[0-9a-f\]\+)\$"', script)
        assert re.fullmatch(pattern, name)

"""front-configmap.yaml and the sidecar that reads it: Envoy is the only listener of the pod."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from ops.packaging.chart_front import ADMIN, INNER, LOOPBACK, PUBLIC
from tests.chart.invariants import named_ports
from tests.chart.matrix import TOGGLES
from tests.chart.rendering import PROFILES, Rendered, render
from tests.chart.schemas import Object

FRONTED = [name for name in TOGGLES if not name.startswith("front-off")]


def listeners(rendered: Rendered) -> dict[str, Object]:
    return {each["name"]: each for each in rendered.front_config()["static_resources"]["listeners"]}


def manager(listener: Object) -> Any:
    """The settings of the HTTP connection manager, the last filter of a listener's chain."""
    return listener["filter_chains"][0]["filters"][-1]["typed_config"]


@pytest.mark.parametrize("toggle", FRONTED)
def test_triton_listens_on_loopback_only_and_the_front_on_the_public_ports(toggle: str) -> None:
    rendered = render(TOGGLES[toggle])
    arguments = rendered.server()["args"]
    for protocol, port in INNER.items():
        assert [word for word in arguments if word.startswith(f"--{protocol}-address")] == [
            f"--{protocol}-address={LOOPBACK}"
        ]
        assert f"--{protocol}-port={port}" in arguments
    assert "ports" not in rendered.server()
    assert named_ports(rendered) == PUBLIC
    assert {
        name: each["address"]["socket_address"]["port_value"] for name, each in listeners(rendered).items()
    } == PUBLIC


@pytest.mark.parametrize("profile", PROFILES)
def test_front_is_a_native_sidecar_of_the_server_s_image(profile: str) -> None:
    rendered = render(profile=profile)
    front = rendered.front()
    assert front["restartPolicy"] == "Always"
    assert front["image"] == rendered.server()["image"]
    assert list(rendered.init_containers())[-1] == "front"


def test_socket_of_the_administration_is_in_a_folder_that_only_the_front_mounts() -> None:
    rendered = render()
    assert rendered.front_config()["admin"]["address"] == {"pipe": {"path": ADMIN, "mode": 0o600}}
    folders = {mount["mountPath"]: mount["name"] for mount in rendered.front()["volumeMounts"]}
    volume = folders[str(Path(ADMIN).parent)]
    assert volume not in [mount["name"] for mount in rendered.server()["volumeMounts"]]
    (found,) = [each for each in rendered.pod()["spec"]["volumes"] if each["name"] == volume]
    assert found["emptyDir"]["medium"] == "Memory"


def test_requests_in_memory_stay_below_the_limit_of_the_container() -> None:
    heaps = {
        name: render(TOGGLES[name]).front_config()["overload_manager"]["resource_monitors"][0]["typed_config"]
        for name in ("defaults", "front-options")
    }
    assert heaps["defaults"]["max_heap_size_bytes"] == 1 << 30
    assert heaps["front-options"]["max_heap_size_bytes"] == 512 * (1 << 20) * 4 // 5


def test_connections_have_the_age_of_the_values() -> None:
    for name, listener in listeners(render()).items():
        duration = manager(listener)["common_http_protocol_options"].get("max_connection_duration")
        assert duration == (None if name == "metrics" else "30s")
    assert '"max_connection_duration"' not in json.dumps(render(TOGGLES["front-options"]).front_config())
    assert not [word for word in render().server()["args"] if "connection-age" in word]


def test_access_log_has_the_share_of_the_values() -> None:
    for toggle, millionths in (("defaults", 0), ("front-options", 50_000)):
        config = render(TOGGLES[toggle]).front_config()
        assert config["layered_runtime"]["layers"][0]["static_layer"]["triptych.access_log"] == millionths
        assert '"denominator": "MILLION"' in json.dumps(
            manager(listeners(render(TOGGLES[toggle]))["http"])["access_log"]
        )


@pytest.mark.parametrize(("toggle", "is_mutual"), [("tls", False), ("mutual-tls", True)])
def test_front_ends_tls_and_triton_does_not(toggle: str, is_mutual: bool) -> None:
    rendered = render(TOGGLES[toggle])
    chains = {name: each["filter_chains"][0] for name, each in listeners(rendered).items()}
    assert [name for name, chain in chains.items() if "transport_socket" in chain] == ["grpc"]
    socket = chains["grpc"]["transport_socket"]["typed_config"]
    assert socket["require_client_certificate"] is is_mutual
    assert ("validation_context" in socket["common_tls_context"]) is is_mutual
    assert not [word for word in rendered.server()["args"] if "ssl" in word]
    assert "tls" in [mount["name"] for mount in rendered.front()["volumeMounts"]]
    assert "tls" not in [mount["name"] for mount in rendered.server()["volumeMounts"]]


def test_front_is_absent_when_it_is_off() -> None:
    rendered = render(TOGGLES["front-off"])
    assert "front" not in json.dumps(rendered.pod()["spec"])
    assert named_ports(rendered) == PUBLIC
    assert not [word for word in rendered.server()["args"] if "-address=" in word]


def test_changed_configuration_makes_new_pods() -> None:
    notes = {render(TOGGLES[name]).pod()["metadata"]["annotations"]["triptych-front"] for name in ("tls", "defaults")}
    assert len(notes) == 2


@pytest.mark.parametrize("toggle", ["defaults", "front-options", "mutual-tls"])
def test_envoy_accepts_the_configuration(toggle: str, tmp_path: Path) -> None:
    envoy = shutil.which("envoy", path=str(Path(sys.executable).parent))
    assert envoy is not None
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    text = json.dumps(render(TOGGLES[toggle]).front_config()).replace("/etc/triptych/tls", str(tmp_path))
    (tmp_path / "front.json").write_text(text)
    command = render(TOGGLES[toggle]).front()["command"]
    words = [word.replace("/etc/front", str(tmp_path)) for word in command[1:]]
    done = subprocess.run(
        [envoy, *words, "--mode", "validate"], cwd=tmp_path, capture_output=True, text=True, env={"PATH": os.defpath}
    )
    assert (done.returncode, done.stderr) == (0, "")

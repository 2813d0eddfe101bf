"""A Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler, and nodes simulated by KWOK.

Admission, defaulting, CEL rules, controllers and scheduler are the real ones. There is no kubelet: no container runs,
and KWOK reports every scheduled pod as ready.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import trustme

from tests.chart.cluster.build import BUILT, STAGES
from tests.chart.tools import KUBECTL

DIE_WITH_PARENT = Path(__file__).resolve().parents[3] / "ops/server/die_with_parent.py"
READY_TIMEOUT_S = 120  # 15 s on two idle cores
STOP_TIMEOUT_S = 30
POLL_S = 0.2


class ControlPlane:
    """Starts on entering and stops on leaving; state, certificates and logs are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig.json"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._authority = trustme.CA(organization_name="triptych tests")
        self._api_port, self._etcd_port, self._peer_port, self._kwok_port = _free_ports(4)

    def __enter__(self) -> ControlPlane:
        try:
            self._write_credentials()
            self._start_etcd()
            self._start_api_server()
            self._await_ready()
            self._start_controllers()
            self._await_default_service_account()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as cluster administrator and return its output.

        Raises:
            AssertionError: kubectl failed; the message is its error.
        """
        done = subprocess.run(
            [
                str(KUBECTL),
                "--kubeconfig",
                str(self.kubeconfig),
                "--cache-dir",
                str(self.folder / "kubectl"),
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def tail(self) -> str:
        """The last 1,500 characters of every log, for an error message."""
        return "".join(f"\n--- {log.name}\n{log.read_text()[-1500:]}" for log in sorted(self.folder.glob("*.log")))

    def _write_credentials(self) -> None:
        self._authority.cert_pem.write_to_path(self.folder / "ca.crt")
        serving = self._authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
        admin = self._authority.issue_cert("admin.test", common_name="admin", organization_name="system:masters")
        for name, certificate in (("serving", serving), ("admin", admin)):
            certificate.private_key_pem.write_to_path(self.folder / f"{name}.key")
            certificate.cert_chain_pems[0].write_to_path(self.folder / f"{name}.crt")
        # A separate key pair signs service account tokens; the API server reads it from a certificate.
        tokens = self._authority.issue_cert("service-accounts.test")
        tokens.private_key_pem.write_to_path(self.folder / "tokens.key")
        tokens.cert_chain_pems[0].write_to_path(self.folder / "tokens.crt")
        cluster = {
            "server": f"https://127.0.0.1:{self._api_port}",
            "certificate-authority": str(self.folder / "ca.crt"),
        }
        user = {"client-certificate": str(self.folder / "admin.crt"), "client-key": str(self.folder / "admin.key")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        self.kubeconfig.write_text(json.dumps(config))

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self._start(
            "server",
            f"--data-dir={self.folder / 'etcd'}",
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            ),
            "--unsafe-no-fsync",  # the state is not needed after the tests
        )

    def _start_api_server(self) -> None:
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            *("--bind-address=127.0.0.1", f"--secure-port={self._api_port}", "--endpoint-reconciler-type=none"),
            *(
                f"--tls-cert-file={self.folder / 'serving.crt'}",
                f"--tls-private-key-file={self.folder / 'serving.key'}",
            ),
            f"--client-ca-file={self.folder / 'ca.crt'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'tokens.crt'}",
            f"--service-account-signing-key-file={self.folder / 'tokens.key'}",
            *("--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16"),
        )

    def _start_controllers(self) -> None:
        kubeconfig = f"--kubeconfig={self.kubeconfig}"
        self._start(
            "kube-controller-manager",
            *(kubeconfig, "--secure-port=0", "--leader-elect=false"),
            f"--service-account-private-key-file={self.folder / 'tokens.key'}",
            f"--root-ca-file={self.folder / 'ca.crt'}",
            "--node-monitor-grace-period=1h",  # simulated nodes must not fail on a busy machine
        )
        self._start("kube-scheduler", kubeconfig, "--secure-port=0", "--leader-elect=false")
        self._start(
            "kwok",
            *(kubeconfig, "--manage-all-nodes=true", f"--config={STAGES}"),
            f"--server-address=127.0.0.1:{self._kwok_port}",
        )

    def _start(self, program: str, *arguments: str) -> None:
        command = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid()), str(BUILT / program), *arguments]
        with (self.folder / f"{program}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
            )

    def _await_ready(self) -> None:
        trusted = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        trusted.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")
        url = f"https://127.0.0.1:{self._api_port}/readyz"

        def is_ready() -> bool:
            try:
                with urllib.request.urlopen(url, context=trusted, timeout=2) as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        self._poll(is_ready, "the API server was not ready")

    def _await_default_service_account(self) -> None:
        self._poll(
            lambda: "default" in self.kubectl("get", "serviceaccounts", "-o", "name"), "no service account was made"
        )

    def _poll(self, is_done: object, problem: str) -> None:
        assert callable(is_done)
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not is_done():
            dead = [process.args for process in self._processes if process.poll() is not None]
            if dead or time.monotonic() > deadline_s:
                raise AssertionError(f"{problem} within {READY_TIMEOUT_S} s; ended early: {dead}{self.tail()}")
            time.sleep(POLL_S)

    def _stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        listeners = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]

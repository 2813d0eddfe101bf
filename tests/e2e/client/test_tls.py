"""TLS and mutual TLS: gRPC against the real server; HTTP, where Triton has none, against one that stands before it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from ops.server.local_server import LocalServer
from ops.settings import Settings
from triptych import TLS, AsyncClient, Client, ConnectionFailed, InvalidInput, PermissionDenied, TriptychError

TODAY = datetime.datetime.now(datetime.timezone.utc)
Serve = Callable[..., contextlib.AbstractContextManager[str]]
"""The carrier's server with the certificate of that name -> its target; `mutual` wants one of the caller."""


@dataclass
class Papers:
    """Certificates in files: <name>.pem and <name>.key; "ours" and "others" are authorities."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    def tls(self, authority: str = "ours", own: str | None = None, server_name: str | None = None) -> TLS:
        return TLS(
            root_certificates=self[f"{authority}.pem"],
            certificate=None if own is None else self[f"{own}.pem"],
            private_key=None if own is None else self[f"{own}.key"],
            server_name=server_name,
        )


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    ours, others = trustme.CA(), trustme.CA()
    last_week: dict[str, Any] = {
        "not_before": TODAY - datetime.timedelta(days=9),
        "not_after": TODAY - datetime.timedelta(days=2),
    }
    leaves = {
        "server": ours.issue_cert("127.0.0.1", "localhost"),
        "expired_server": ours.issue_cert("127.0.0.1", **last_week),
        "named_server": ours.issue_cert("triptych.shop"),
        "shop": ours.issue_cert("shop@example.org"),
        "expired_shop": ours.issue_cert("shop@example.org", **last_week),
        "stranger": others.issue_cert("shop@example.org"),
    }
    for name, leaf in leaves.items():
        leaf.private_key_pem.write_to_path(folder / f"{name}.key")
        leaf.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    ours.cert_pem.write_to_path(folder / "ours.pem")
    others.cert_pem.write_to_path(folder / "others.pem")
    (folder / "junk.pem").write_text("no certificate\n", encoding="utf-8")
    return Papers(folder)


class TlsProxy:
    """Ends TLS before a server that has none."""

    def __init__(self, server: LocalServer, context: ssl.SSLContext) -> None:
        self._upstream = ("127.0.0.1", server.ports.http)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._stopped = threading.Event()
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> TlsProxy:
        self._listener.settimeout(0.05)
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in list(self._threads):
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                peer, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._relay, args=[peer]))
                self._threads[-1].start()

    def _relay(self, plain: socket.socket) -> None:
        plain.settimeout(30)
        with (
            contextlib.suppress(OSError),
            self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as peer,
            socket.create_connection(self._upstream) as upstream,
        ):
            try:
                peer.do_handshake()
            except ssl.SSLError:
                # A request left unread would make the system drop the alert that says what was wrong.
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(1 << 16):
                    pass
                return
            while not self._stopped.is_set():
                readable = [peer] if peer.pending() else select.select([peer, upstream], [], [], 0.05)[0]
                for end in readable:
                    content = end.recv(1 << 16)
                    if not content:
                        return
                    (upstream if end is peer else peer).sendall(content)


@pytest.fixture(params=["grpc", "http"])
def carrier(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def serve(carrier: str, papers: Papers, request: pytest.FixtureRequest) -> Serve:
    @contextlib.contextmanager
    def over_grpc(name: str, *, mutual: bool = False) -> Iterator[str]:
        options = [
            "--grpc-use-ssl=true",
            f"--grpc-server-cert={papers[f'{name}.pem']}",
            f"--grpc-server-key={papers[f'{name}.key']}",
        ]
        if mutual:
            options += ["--grpc-use-ssl-mutual=true", f"--grpc-root-cert={papers['ours.pem']}"]
        with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, server_options=tuple(options))) as server:
            yield server.grpc_target

    @contextlib.contextmanager
    def over_http(name: str, *, mutual: bool = False) -> Iterator[str]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(papers[f"{name}.pem"], papers[f"{name}.key"])
        if mutual:
            context.load_verify_locations(papers["ours.pem"])
            context.verify_mode = ssl.CERT_REQUIRED
        with TlsProxy(request.getfixturevalue("server"), context) as proxy:
            yield proxy.target

    return over_grpc if carrier == "grpc" else over_http


class Retries:
    """Counts the tries that a client repeats."""

    count = 0

    def started(self, method: str) -> None: ...

    def ended(self, method: str, seconds: float, error: BaseException | None) -> None: ...

    def retried(self, error: BaseException) -> None:
        self.count += 1


def refused(
    target: str,
    carrier: str,
    tls: TLS | None,
    sentence: str,
    error: type[TriptychError] = PermissionDenied,
    code: str = "certificate_refused",
) -> int:
    """Retries made before `error` came with `sentence` and `code`, from both clients."""
    retries = Retries()
    options: dict[str, Any] = {"transport": carrier, "tls": tls, "timeout_s": 20, "metrics": retries}

    async def ask() -> None:
        async with AsyncClient(target, **options) as client:
            await client.embed(b"x")

    with Client(target, **options) as client, pytest.raises(error, match=sentence) as caught:
        client.embed(b"x")
    with pytest.raises(error, match=sentence) as caught_async:
        asyncio.run(ask())
    assert caught.value.code == caught_async.value.code == code
    return retries.count


def test_client_is_answered_when_it_trusts_the_server(
    serve: Serve, carrier: str, papers: Papers, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def recognize(target: str) -> str:
        async with AsyncClient(target, transport=carrier, tls=papers.tls()) as client:  # type: ignore[arg-type]
            return str((await client.recognize(photos[0])).top)

    with serve("server") as target:
        with Client(target, transport=carrier, tls=papers.tls()) as client:  # type: ignore[arg-type]
            expected = str(client.recognize(photos[0]).top)
        assert asyncio.run(recognize(target)) == expected
        # The machine's own authorities, where none are given.
        monkeypatch.setenv("SSL_CERT_FILE", str(papers["ours.pem"]))
        with Client(target, transport=carrier, tls=TLS()) as client:  # type: ignore[arg-type]
            assert str(client.recognize(photos[0]).top) == expected


def test_client_refuses_a_server_when_a_stranger_signed_its_certificate(
    serve: Serve, carrier: str, papers: Papers
) -> None:
    with serve("server") as target:
        assert refused(target, carrier, papers.tls("others"), "is not trusted .*unable to get local issuer") == 0
        assert refused(target, carrier, TLS(), "is not trusted .*unable to get local issuer") == 0


def test_client_refuses_a_server_when_its_certificate_has_expired(serve: Serve, carrier: str, papers: Papers) -> None:
    with serve("expired_server") as target:
        assert refused(target, carrier, papers.tls(), r"is not trusted \(certificate has expired\)") == 0


def test_client_goes_by_the_name_in_the_certificate(
    serve: Serve, carrier: str, papers: Papers, photos: list[Path]
) -> None:
    with serve("named_server") as target:
        assert refused(target, carrier, papers.tls(), r"is not trusted \(.*(mismatch|hostname verification)") == 0
        tls = papers.tls(server_name="triptych.shop")
        with Client(target, transport=carrier, tls=tls) as client:  # type: ignore[arg-type]
            assert client.recognize(photos[0]).labels


def test_server_that_wants_a_certificate_answers_only_who_has_one_of_its_authority(
    serve: Serve, carrier: str, papers: Papers, photos: list[Path]
) -> None:
    with serve("server", mutual=True) as target:
        with Client(target, transport=carrier, tls=papers.tls(own="shop")) as client:  # type: ignore[arg-type]
            assert client.recognize(photos[0]).labels
        for own in (None, "stranger", "expired_shop"):
            tls = papers.tls(own=own)
            if carrier == "http":
                sentence = "does not accept this client's certificate, or requires one"
                assert refused(target, carrier, tls, sentence, code="access_denied") == 0
            else:
                # gRPC keeps the reason to itself, so that it may be one that passes.
                sentence = "may require TLS or a client's certificate"
                assert refused(target, carrier, tls, sentence, ConnectionFailed, "connection_failed") > 0


def test_client_says_so_when_one_side_alone_speaks_tls(
    serve: Serve, server: LocalServer, carrier: str, papers: Papers
) -> None:
    plain = server.grpc_target if carrier == "grpc" else server.http_url.removeprefix("http://")
    refused(plain, carrier, papers.tls(), "does not speak TLS", ConnectionFailed, "connection_failed")
    with serve("server") as target:
        expected = "may require TLS" if carrier == "grpc" else "broke before the answer came"
        refused(target, carrier, None, expected, ConnectionFailed, "connection_failed")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"root_certificates": "junk.pem"}, "root_certificates of TLS cannot be used"),
        ({"certificate": "junk.pem", "private_key": "shop.key"}, "certificate and private_key of TLS cannot be used"),
        ({"certificate": "shop.pem", "private_key": "stranger.key"}, "made for"),
        ({"root_certificates": "missing.pem"}, "cannot be read"),
    ],
)
def test_files_are_refused_before_anything_is_sent_when_they_cannot_be_used(
    papers: Papers, files: dict[str, str], sentence: str
) -> None:
    paths: dict[str, Any] = {role: papers[name] for role, name in files.items()}
    with pytest.raises(InvalidInput, match=sentence):
        TLS(**paths)

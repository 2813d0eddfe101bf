"""TLS: which authorities a client trusts, and its own certificate. Reads PEM files; opens no connection."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field

from triptych.errors import InvalidInput


@dataclass(frozen=True)
class TLS:
    """The authorities that a client trusts, and its own certificate for mutual TLS. Files are PEM.

    Attributes:
        root_certificates: file of the trusted authorities; None trusts those of the machine.
        certificate: file of the client's certificate chain; needs `private_key`.
        private_key: file of the key of the chain's first certificate.
        server_name: the name in the server's certificate, if it differs from the target's host.
    """

    root_certificates: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    private_key: str | os.PathLike[str] | None = field(default=None, repr=False)
    server_name: str | None = None

    def __post_init__(self) -> None:
        """Raises `InvalidInput` where certificate or key is missing, or a file cannot be used."""
        if (self.certificate is None) != (self.private_key is None):
            raise InvalidInput(
                "TLS has only a certificate or only a private key; expected both. Pass the other one too."
            )
        for role in ("root_certificates", "certificate", "private_key"):
            self.read(role)
        if self.root_certificates is not None or self.certificate is not None:
            self.context()

    def read(self, role: str) -> bytes | None:
        """The content of a file, None where it was not passed."""
        path = getattr(self, role)
        if path is None:
            return None
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise InvalidInput(
                f"The {role} of TLS cannot be read: {os.fspath(path)!r} ({error.strerror}). Pass a PEM file's path."
            ) from error

    def roots(self) -> bytes | None:
        """PEM of the trusted authorities: those passed, otherwise the machine's; None where it has no such file."""
        if self.root_certificates is not None:
            return self.read("root_certificates")
        machines = ssl.get_default_verify_paths().cafile
        if not machines:
            return None
        with open(machines, "rb") as file:
            return file.read()

    def context(self) -> ssl.SSLContext:
        """The same for Python's own TLS. Raises `InvalidInput` for files that are not what they should be."""
        role = "root_certificates"
        try:
            given = self.read(role)
            context = ssl.create_default_context(cadata=None if given is None else given.decode("ascii"))
            if self.certificate is not None:
                role = "certificate and private_key"
                # Without this, Python prompts for the password of an encrypted key on the terminal.
                context.load_cert_chain(self.certificate, self.private_key, password=lambda: "")
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"The {role} of TLS cannot be used ({getattr(error, 'reason', None) or error}). Pass PEM files; a key "
                "without a password, and the one that its certificate was made for."
            ) from error
        return context

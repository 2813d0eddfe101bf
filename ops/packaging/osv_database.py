"""Answers pip-audit's queries from a downloaded advisory database, where the internet cannot be reached.

The database has one advisory as JSON a file, in the schema of https://ossf.github.io/osv-schema/.
"""

from __future__ import annotations

import json
import threading
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ops.errors import WrongUsage

DATABASE_URL = "https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip"

Advisory = dict[str, Any]


def read_database(file: Path) -> dict[str, list[Advisory]]:
    """Returns the advisories of each package.

    Raises:
        WrongUsage: the file is not such a database.
    """
    found: dict[str, list[Advisory]] = defaultdict(list)
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                advisory = json.loads(archive.read(name))
                for package in {each["package"]["name"] for each in advisory.get("affected", ())}:
                    found[canonicalize_name(package)].append(advisory)
    except OSError as error:
        raise WrongUsage(f"{file} cannot be read ({error.strerror or error}). Download {DATABASE_URL}.") from error
    except (zipfile.BadZipFile, ValueError, KeyError) as error:
        raise WrongUsage(f"{file} is not a database of OSV ({error}). Download {DATABASE_URL} again.") from error
    if not found:
        raise WrongUsage(f"{file} has no advisory. Download {DATABASE_URL} again.")
    return dict(found)


def matching(advisories: list[Advisory], package: str, version: str) -> list[Advisory]:
    """Returns the advisories that affect this version, by their list of versions or their ranges."""
    return [
        advisory
        for advisory in advisories
        if any(
            canonicalize_name(each["package"]["name"]) == package
            and (version in each.get("versions", ()) or any(_covers(part, version) for part in each.get("ranges", ())))
            for each in advisory["affected"]
        )
    ]


def _covers(part: dict[str, Any], version: str) -> bool:
    if part.get("type") != "ECOSYSTEM":
        return False
    try:
        asked, is_affected = Version(version), False
        for event in part["events"]:
            ((kind, text),) = event.items()
            at = Version("0" if text == "0" else text)
            if kind == "introduced" and asked >= at:
                is_affected = True
            elif (kind == "fixed" and asked >= at) or (kind == "last_affected" and asked > at):
                is_affected = False
    except InvalidVersion:
        return True  # a person decides
    return is_affected


@contextmanager
def served(database: dict[str, list[Advisory]]) -> Iterator[str]:
    """The address at which pip-audit's `--osv-url` finds the database, on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            package = canonicalize_name(query["package"]["name"])
            found = matching(database.get(package, []), package, query["version"])
            body = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """pip-audit's report is enough."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()

"""`make audit` finds what is known, accepts what is explained, and never takes silence for an audit."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.errors import WrongUsage
from ops.packaging import audit
from ops.packaging.audit import CLEAN, FOUND, NOT_AUDITED, PINNED, Report, audit_packages, audit_triton, main
from ops.packaging.osv_database import DATABASE_URL, read_database, served
from ops.settings import ROOT

AUDITED = {"name": "sound", "version": "1", "vulns": []}
SKIPPED = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}
FAULTY = {
    "name": "faulty",
    "version": "1",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1", "GHSA-1"], "fix_versions": ["2"]}],
}
ENTRY = "{id: GHSA-1, package: faulty, reason: not called, date: 2026-11-30}"

Audit = Callable[..., Report]


@pytest.fixture
def audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """Audits one file with a stand-in for pip-audit that answers with these packages."""

    def run(*packages: dict[str, Any], accepted: str = "", output: str | None = None) -> Report:
        text = json.dumps({"dependencies": packages}) if output is None else output
        program = tmp_path / "pip-audit"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\necho 'ConnectionError: no route' >&2\nexit 1\n")
        program.chmod(0o755)
        (tmp_path / "accepted.yaml").write_text(f"accepted: [{accepted}]\n")
        monkeypatch.setattr(audit, "PROGRAM", program)
        monkeypatch.setattr(audit, "ACCEPTED", tmp_path / "accepted.yaml")
        report = Report()
        audit_packages(report, [tmp_path / "constraints.txt"], [])
        return report

    return run


def test_nothing_is_found_when_every_package_was_audited(audited: Audit) -> None:
    assert audited(AUDITED).code == CLEAN


def test_advisory_is_a_finding(audited: Audit) -> None:
    report = audited(AUDITED, FAULTY)
    assert report.code == FOUND
    assert "faulty has PYSEC-1, fixed in 2." in report.findings[0]


def test_accepted_advisory_is_none_under_any_of_its_names(audited: Audit) -> None:
    report = audited(FAULTY, accepted=ENTRY)
    assert report.code == CLEAN
    assert "Accepted on 2026-11-30: not called" in report.accepted[0]


def test_entry_without_an_advisory_is_a_finding(audited: Audit) -> None:
    report = audited(AUDITED, accepted=ENTRY)
    assert report.code == FOUND
    assert "accepts faulty GHSA-1, which was not found. Remove the entry" in report.findings[0]
    assert audited(AUDITED, SKIPPED, accepted=ENTRY).findings == []  # it may be among those that were not audited


def test_skipped_package_is_no_audit_although_pip_audit_finds_nothing(audited: Audit) -> None:
    report = audited(AUDITED, SKIPPED)
    assert report.code == NOT_AUDITED
    assert "1 of 2 packages not audited: unknown, ... (Dependency not found on PyPI)" in report.missed[0]
    assert audited(FAULTY, SKIPPED).code == FOUND


def test_error_of_pip_audit_is_no_audit(audited: Audit) -> None:
    report = audited(output="Traceback")
    assert report.code == NOT_AUDITED
    assert "ConnectionError: no route" in report.missed[0]


def test_old_triton_in_the_image_is_a_finding_and_the_wheel_is_accepted() -> None:
    report = Report()
    audit_triton(report, "26.02", "0.7.0")
    (finding,) = report.findings
    assert "Triton 26.02 of the image has CVE-2026-24206" in finding
    assert finding.endswith("Use 26.03.")
    (accepted,) = report.accepted
    assert "CVE-2025-23321" in accepted
    assert "CVE-2025-23310" not in accepted  # closed by the front


def test_other_wheel_is_a_finding_until_the_table_describes_it() -> None:
    report = Report()
    audit_triton(report, "26.04", "0.8.0")
    assert "has nvidia-pytriton 0.8.0, and vulnerabilities.yaml describes 0.7.0" in report.findings[0]


def test_every_file_that_pins_packages_is_audited() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.txt"], cwd=ROOT, capture_output=True, text=True
    )
    pinning = {
        ROOT / name
        for name in tracked.stdout.split()
        if re.search(r"^[\w.-]+==", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert pinning == set(PINNED)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database of OSV with one advisory: versions below 2, and 3.0.1 by name."""
    affected = {
        "package": {"name": "Faulty", "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"}]}],
        "versions": ["3.0.1"],
    }
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("PYSEC-1.json", json.dumps({"id": "PYSEC-1", "affected": [affected]}))
    return tmp_path / "all.zip"


@pytest.mark.parametrize(
    ("package", "version", "is_affected"),
    [
        ("faulty", "1.9", True),
        ("faulty", "2", False),
        ("faulty", "2.1rc1", False),
        ("faulty", "3.0.1", True),
        ("faulty", "not a version", True),
        ("sound", "1", False),
    ],
)
def test_downloaded_database_answers_as_osv_does(database: Path, package: str, version: str, is_affected: bool) -> None:
    query = json.dumps({"package": {"name": package, "ecosystem": "PyPI"}, "version": version}).encode()
    with served(read_database(database)) as url, urllib.request.urlopen(url, query, timeout=30) as answer:
        found = json.loads(answer.read())
    assert [each["id"] for each in found.get("vulns", [])] == (["PYSEC-1"] if is_affected else [])


@pytest.mark.parametrize("content", [None, b"no zip", b"PK\x05\x06" + bytes(18)])
def test_file_that_is_no_database_is_refused(
    tmp_path: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.zip"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(WrongUsage, match=f"Download {re.escape(DATABASE_URL)}"):
        read_database(file)
    monkeypatch.setattr(audit, "install", lambda: None)
    assert main(["--database", str(file)]) == 2
    assert f"Download {DATABASE_URL}" in capsys.readouterr().err

"""Compares what the project pins with published vulnerabilities: `python -m ops.packaging.audit`.

Triton's versions against `vulnerabilities.yaml`, every pinned Python package against the advisories of PyPI or OSV
(pip-audit), or of a downloaded database. Exit codes: 0 everything was audited and nothing found, 1 a finding that is
not accepted, 2 wrong usage, 3 advisories could not be reached, so packages were not audited.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ops.errors import OpsError, WrongUsage
from ops.packaging.osv_database import DATABASE_URL, read_database, served
from ops.packaging.vulnerabilities import TABLE, read_table
from ops.settings import ROOT

HERE = Path(__file__).parent
TOOL = HERE / "pip-audit.txt"
PROGRAM = ROOT / ".cache/tools/pip-audit/bin/pip-audit"
ACCEPTED = HERE / "advisories.yaml"
# Every file that pins packages of PyPI.
PINNED = (
    ROOT / "constraints.txt",
    HERE / "image/requirements.txt",
    TOOL,
    ROOT / "tests/chart/checkov.txt",
    ROOT / "tests/chart/helm-wheels.txt",
)
SERVICES = ("pypi", "osv")
CLEAN, FOUND, NOT_AUDITED = 0, 1, 3
INCOMPLETE = (
    f"This was no complete audit (exit code {NOT_AUDITED}; `make` turns it into its own 2). Without internet, download "
    f'{DATABASE_URL} elsewhere and repeat: make audit AUDIT="--database all.zip".'
)
_WHEEL = re.compile(r"^nvidia-pytriton==(\S+)", re.MULTILINE)


@dataclass
class Report:
    """What an audit found.

    Attributes:
        findings: a sentence for each that is not accepted.
        accepted: a sentence for each that is.
        missed: a sentence for each file that could not be audited, or only in part.
    """

    findings: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        return FOUND if self.findings else NOT_AUDITED if self.missed else CLEAN


def audit_triton(report: Report, image: str, wheel: str) -> None:
    """Adds what Triton's release in the image, as `26.04`, and in the version of `nvidia-pytriton` has."""
    table = read_table()
    if wheel != table.wheel_package:
        report.findings.append(
            f"constraints.txt has nvidia-pytriton {wheel}, and {TABLE.name} describes {table.wheel_package}. Find out "
            "which Triton it contains, and change `wheel` there."
        )
    for server, release in (("wheel", table.wheel_release), ("image", image)):
        left = [each for each in table.affecting(release) if each.state in ("open", "reduced") or server == "image"]
        if not left:
            continue
        names = ", ".join(each.id for each in left)
        if server in table.accepted:
            report.accepted.append(f"Triton {release} of the {server}: {names}. Accepted: {table.accepted[server]}")
        else:
            report.findings.append(f"Triton {release} of the {server} has {names}. Use {table.first_clean_release}.")


def audit_packages(report: Report, files: Sequence[Path], options: Sequence[str]) -> None:
    """Adds what pip-audit says of each file; an advisory is named once for each file that pins its package."""
    accepted = {(entry["package"], entry["id"]): entry for entry in yaml.safe_load(ACCEPTED.read_text())["accepted"]}
    used = set()
    for file in files:
        answer = _run_pip_audit(file, options)
        if isinstance(answer, str):
            report.missed.append(f"{_name(file)}: not audited, pip-audit ended with: {answer}")
            continue
        skipped = [package for package in answer if "skip_reason" in package]
        if skipped:
            report.missed.append(
                f"{_name(file)}: {len(skipped)} of {len(answer)} packages not audited: {skipped[0]['name']}, ... "
                f"({skipped[0]['skip_reason']})."
            )
        for package, ids, fixed in _advisories(answer):
            entry = next((key for key in accepted if key[0] == package and key[1] in ids), None)
            used.add(entry)
            sentence = f"{_name(file)}: {package} has {ids[0]}, fixed in {fixed or 'no version'}"
            if entry is None:
                report.findings.append(f"{sentence}.")
            else:
                report.accepted.append(
                    f"{sentence}. Accepted on {accepted[entry]['date']}: {accepted[entry]['reason']}"
                )
    if not report.missed:
        stale = sorted(f"{package} {name}" for package, name in set(accepted) - used)
        report.findings += [f"{ACCEPTED.name} accepts {each}, which was not found. Remove the entry." for each in stale]


def _advisories(answer: list[dict[str, object]]) -> Iterator[tuple[str, list[str], str]]:
    """Package, ids with aliases, and versions with the fix of each advisory."""
    for package in answer:
        vulnerabilities: object = package.get("vulns", [])
        assert isinstance(vulnerabilities, list)
        for each in vulnerabilities:
            name = f"{package['name']} {package['version']}"
            yield name.split()[0], [each["id"], *each["aliases"]], ", ".join(each["fix_versions"])


def _run_pip_audit(file: Path, options: Sequence[str]) -> list[dict[str, object]] | str:
    """Returns the packages with their advisories, or the last line of the error."""
    words = ["--requirement", str(file), "--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"]
    done = subprocess.run([str(PROGRAM), *words, *options], capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, object]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return (done.stderr.strip().splitlines() or ["no output"])[-1]
    return packages


def install() -> None:
    """Makes pip-audit's own environment, unless it is there.

    Raises:
        OpsError: its packages cannot be installed.
    """
    if PROGRAM.exists():
        return
    uv, folder = [sys.executable, "-m", "uv"], str(PROGRAM.parents[1])
    for words in (
        ["venv", "-q", "--clear", "--python", sys.executable, folder],
        ["pip", "install", "-q", "--python", str(PROGRAM.parent / "python"), "--no-deps", "-r", str(TOOL)],
    ):
        done = subprocess.run([*uv, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            raise OpsError(f"pip-audit cannot be installed: {done.stderr.strip()}. Reach a package index, and repeat.")


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.packaging.audit", description=__doc__)
    parser.add_argument("--service", choices=SERVICES, default="pypi", help="where pip-audit asks (%(default)s)")
    parser.add_argument("--database", type=Path, metavar="ZIP", help="PyPI/all.zip of OSV instead; asks nobody")
    parser.add_argument("files", type=Path, nargs="*", default=PINNED, help="pinned requirements (default: all)")
    options = parser.parse_args(words)
    report = Report()
    dockerfile = (HERE / "image/Dockerfile").read_text(encoding="utf-8")
    image = re.findall(r"^ARG TRITON_VERSION=(\S+)$", dockerfile, re.MULTILINE)[0]
    audit_triton(report, image, _WHEEL.findall((ROOT / "constraints.txt").read_text(encoding="utf-8"))[0])
    try:
        install()
        serving = nullcontext("") if options.database is None else served(read_database(options.database))
    except (OpsError, WrongUsage) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, WrongUsage) else NOT_AUDITED
    with serving as url:
        asked = ["--vulnerability-service", "osv", "--osv-url", url] if url else ["-s", options.service]
        audit_packages(report, options.files, asked)
    show(report, str(options.database or options.service))
    return report.code


def show(report: Report, source: str) -> None:
    print(f"Advisories of packages: {source}. Triton's: {TABLE.name}, read on {read_table().read_on}.")
    for title, lines in (("accepted", report.accepted), ("NOT AUDITED", report.missed), ("FOUND", report.findings)):
        for line in lines:
            print(f"{title}: {line}")
    last = {CLEAN: "Nothing was found.", FOUND: "There are findings.", NOT_AUDITED: INCOMPLETE}
    print(last[report.code])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

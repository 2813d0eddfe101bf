"""Checks that a version can be published: versions agree, the client's wheel and the chart build, twine accepts them.

A release has one version everywhere and the tag `v<version>`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from ops.errors import OpsError, WrongUsage
from ops.packaging.chart_files import CHART
from ops.settings import ROOT

UNRELEASED = "Unreleased"
# Python distributions that declare the version; the first is published.
DISTRIBUTIONS = ("client", "model_repository")
_VERSION = re.compile(r'^version = "([^"]+)"$', re.MULTILINE)
_HEADING = re.compile(r"^## (\S+)", re.MULTILINE)


def read_versions(root: Path = ROOT) -> dict[str, str]:
    """Returns each place that declares the version -> the version there.

    Raises:
        OpsError: a file does not declare one.
    """
    versions = {f"{name}/pyproject.toml": _search(root / name / "pyproject.toml", _VERSION) for name in DISTRIBUTIONS}
    file = CHART.relative_to(ROOT) / "Chart.yaml"
    chart = yaml.safe_load((root / file).read_text(encoding="utf-8"))
    versions |= {f"{file}, {key}": str(chart[key]) for key in ("version", "appVersion")}
    return versions


def find_disagreements(versions: dict[str, str], changelog: str, tags: Sequence[str]) -> list[str]:
    """Returns a sentence for each version that differs; a tagged commit needs its own heading in the changelog.

    Args:
        versions: place -> version, of `read_versions`.
        changelog: first heading of CHANGELOG.md, a version or `Unreleased`.
        tags: version tags of the commit, as `v1.2.0`.
    """
    expected = next(iter(versions.values()))
    found = [
        f"{place} has version {version}, expected {expected} as in {next(iter(versions))}."
        for place, version in versions.items()
        if version != expected
    ]
    found += [f"The commit has the tag {tag}, expected v{expected}." for tag in tags if tag != f"v{expected}"]
    headings = [expected] if tags else [UNRELEASED, expected]
    if changelog not in headings:
        found.append(f"CHANGELOG.md begins with {changelog}, expected {' or '.join(headings)}.")
    return found


def check_release(helm: str, output: Path) -> list[Path]:
    """Builds what a release publishes into `output` and returns the files.

    Raises:
        OpsError: versions disagree, or a build or a check failed; the message holds the tool's own words.
        WrongUsage: there is no `helm`.
    """
    tags = [tag for tag in _run(["git", "tag", "--points-at", "HEAD"], ROOT).split() if re.match(r"v\d", tag)]
    found = find_disagreements(read_versions(), _search(ROOT / "CHANGELOG.md", _HEADING), tags)
    if found:
        raise OpsError(" ".join(found))
    program = shutil.which(helm)
    if program is None:
        raise WrongUsage(f"No command {helm}. `make chart-tools` fetches Helm; or name one with --helm.")
    # The commands run in the repository, wherever the caller stands.
    program, output = str(Path(program).absolute()), output.absolute()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    # The build tool's own environment has hatchling: nothing is fetched.
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(output)]
    _run(build, ROOT / DISTRIBUTIONS[0])
    _run([sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(output.iterdir()))], ROOT)
    _run([program, "lint", "--strict", str(CHART)], ROOT)
    _run([program, "package", str(CHART), "--destination", str(output)], ROOT)
    return sorted(output.iterdir())


def _search(path: Path, pattern: re.Pattern[str]) -> str:
    match = pattern.search(path.read_text(encoding="utf-8"))
    if match is None:
        raise OpsError(f"{path} has no line of the form {pattern.pattern!r}, expected one with the version.")
    return match[1]


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OpsError(f"`{' '.join(command)}` exited with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout

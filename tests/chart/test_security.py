"""checkov finds nothing in any profile except the findings that `security-findings.yaml` explains."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import PROFILES, render
from tests.chart.tools import CHECKOV

EXPLAINED = yaml.safe_load((Path(__file__).parent / "security-findings.yaml").read_text())


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Check and `profile/kind/name` of every finding of checkov."""
    if not CHECKOV.exists():
        pytest.skip(f"no {CHECKOV}: run `make chart`, which installs it")
    folder = tmp_path_factory.mktemp("rendered")
    for profile in PROFILES:
        (folder / f"{profile}.yaml").write_text(render(profile=profile).text)
    done = subprocess.run(
        [str(CHECKOV), "-d", ".", "--framework", "kubernetes", "--skip-download", "--compact", "-o", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 1000  # checkov read the files
    found = set()
    for finding in report["results"]["failed_checks"]:
        kind, _, name = finding["resource"].split(".")[:3]
        found.add((finding["check_id"], f"{Path(finding['file_path']).stem}/{kind}/{name}"))
    return found


def test_every_finding_is_explained(findings: set[tuple[str, str]]) -> None:
    unexplained = {
        (check, where)
        for check, where in findings
        if check not in EXPLAINED or not re.fullmatch(EXPLAINED[check]["where"], where)
    }
    assert not unexplained


def test_every_explanation_still_explains_something(findings: set[tuple[str, str]]) -> None:
    assert set(EXPLAINED) == {check for check, _ in findings}


def test_hardened_profile_has_only_findings_about_a_uid_and_test_pods(findings: set[tuple[str, str]]) -> None:
    hardened = {(check, where.split("/")[1]) for check, where in findings if where.startswith("hardened/")}
    server = {check for check, kind in hardened if kind == "Deployment"}
    assert server == {"CKV_K8S_40"}

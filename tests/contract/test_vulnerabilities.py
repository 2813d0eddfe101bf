"""The table of Triton's vulnerabilities: complete, proven by tests that exist, and of the versions that are used."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ops.packaging.chart_files import CHART
from ops.packaging.vulnerabilities import STATES, read_table, render_page
from ops.packaging.wheel_sbom import SERVER, compiled_files
from ops.settings import ROOT

TABLE = read_table()
PAGE = ROOT / "docs/reference/vulnerabilities.md"
# Those that concern the models served here, and the wheel.
DEMANDED = {
    "CVE-2024-53880",
    *(f"CVE-2025-{number}" for number in (23310, 23311, *range(23316, 23321), 23328, 23329, *range(23334, 23337))),
    *("CVE-2025-33201", "CVE-2025-33211"),
}


def test_every_demanded_vulnerability_is_in_it_once() -> None:
    ids = [each.id for each in TABLE.vulnerabilities]
    assert len(ids) == len(set(ids))
    assert set(ids) >= DEMANDED
    assert all(re.fullmatch(r"CVE-20\d\d-\d{4,6}", name) for name in ids)


@pytest.mark.parametrize("each", TABLE.vulnerabilities, ids=lambda each: str(each.id))
def test_entry_says_what_helps_or_that_it_is_open(each: object) -> None:
    entry = next(one for one in TABLE.vulnerabilities if one is each)
    assert entry.state in STATES
    assert (entry.measures == ()) is (entry.state == "open")
    assert set(entry.measures) <= set(TABLE.measures)
    assert re.fullmatch(r"2[4-9]\.(0[1-9]|1[0-2])", entry.fixed_in)


def test_every_measure_is_used_and_has_tests_that_exist() -> None:
    assert {name for each in TABLE.vulnerabilities for name in each.measures} == set(TABLE.measures)
    for name, files in TABLE.tests.items():
        assert files, name
        assert [file for file in files if not (ROOT / file).is_file()] == []


def test_wheel_has_all_of_them_and_the_image_none() -> None:
    assert TABLE.affecting(TABLE.wheel_release) == list(TABLE.vulnerabilities)
    image = yaml.safe_load((CHART / "values.yaml").read_text())["triton"]["version"]
    assert TABLE.affecting(image) == []
    assert TABLE.first_clean_release <= image
    assert [each.id for each in TABLE.affecting("26.02")] == [
        each.id for each in TABLE.vulnerabilities if each.fixed_in == "26.03"
    ]


def test_chart_warns_of_every_release_that_has_one() -> None:
    (limit,) = re.findall(
        r"tritonRelease\" .Values.triton.version \| int\) (\d{4})", (CHART / "templates/NOTES.txt").read_text()
    )
    assert f"{limit[:2]}.{limit[2:]}" == TABLE.first_clean_release


def test_wheel_is_the_one_that_the_table_describes() -> None:
    """`tests/e2e/test_server_parts.py` asks the server in it for its version."""
    assert importlib.metadata.version(SERVER) == TABLE.wheel_package


def test_wheel_has_the_python_backend_only() -> None:
    """So the faults of other backends are absent."""
    backends = {path.parent.name for path in compiled_files(SERVER) if path.parent.parent.name == "backends"}
    assert backends == {"python"}


def test_page_is_of_this_table(tmp_path: Path) -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page(TABLE), "run `make generate`"
    written = tmp_path / "page.md"
    subprocess.run([sys.executable, "-m", "ops.packaging.vulnerabilities", str(written)], cwd=ROOT, check=True)
    assert written.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")

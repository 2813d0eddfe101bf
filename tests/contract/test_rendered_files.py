"""What is rendered is committed; every alert has its runbook, every runbook its alert, and both work as written."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from ops.cli.main import main
from ops.settings import ROOT
from triptych.cli.main import make_parser

RUNBOOKS = ROOT / "docs/runbooks"
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
RULE_FILES = sorted((ROOT / "ops/observability/rules").glob("*.yaml"))
ALERTS = {
    rule["alert"]: rule
    for file in RULE_FILES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
NEEDS_BUILDER = pytest.mark.skipif(sys.version_info < (3, 11), reason="the dashboard builder needs Python 3.11")


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (file.stem, block)
        for file in sorted(RUNBOOKS.glob("*.md"))
        for block in re.findall(rf"^```{language}\n(.*?)^```$", file.read_text(), re.M | re.S)
    ]


@NEEDS_BUILDER
def test_committed_files_are_what_is_rendered() -> None:
    assert main(["render", "--check"]) == 0


@NEEDS_BUILDER
@pytest.mark.parametrize("name", ["rules/objectives.yaml", "rules/kubernetes.yaml", "dashboards/quality.json"])
def test_edited_file_is_named_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    for folder in ("rules", "dashboards", "alertmanager"):
        shutil.copytree(ROOT / "ops" / "observability" / folder, tmp_path / folder)
    file = tmp_path / name
    file.write_text(file.read_text().replace("triptych", "Triptych", 1))
    assert main(["render", "--check", f"--output={tmp_path}"]) == 1
    assert f"rendered ones: {file}. Run `make generate`" in capsys.readouterr().err
    assert main(["render", f"--output={tmp_path}"]) == 0
    assert main(["render", "--check", f"--output={tmp_path}"]) == 0


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert sorted(file.stem for file in RUNBOOKS.glob("*.md")) == sorted(ALERTS)


def test_every_alert_names_its_runbook() -> None:
    named = {name: rule["annotations"]["runbook"] for name, rule in ALERTS.items()}
    assert named == {name: f"docs/runbooks/{name}.md" for name in ALERTS}
    assert all((ROOT / file).is_file() for file in named.values())


@NEEDS_BUILDER
def test_published_runbooks_are_linked_from_every_alert_and_panel(tmp_path: Path) -> None:
    base = "https://wiki.example/runbooks"
    assert main(["render", f"--runbooks-url={base}/", f"--output={tmp_path}"]) == 0
    links = {f"{base}/{name}/" for name in ALERTS}
    rules = "".join(file.read_text() for file in (tmp_path / "rules").glob("*.yaml"))
    assert set(re.findall(r"runbook_url: (\S+)", rules)) == links
    assert "runbook: " not in rules
    boards = "".join(file.read_text() for file in (tmp_path / "dashboards").glob("*.json"))
    assert {link for _, link in re.findall(r"\[(\w+)\]\(([^)]+)\)", boards)} == links


def test_runbooks_url_that_is_none_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "--check", "--runbooks-url=wiki/runbooks"]) == 2
    assert "--runbooks-url is 'wiki/runbooks'; expected a URL" in capsys.readouterr().err


@pytest.mark.parametrize("file", sorted(RUNBOOKS.glob("*.md")), ids=lambda file: file.stem)
def test_runbook_has_its_four_sections_with_something_in_each(file: Path) -> None:
    title, *parts = re.split(r"^## ", file.read_text(), flags=re.M)
    assert title.strip() == f"# {file.stem}"
    assert [part.partition("\n")[0] for part in parts] == SECTIONS
    assert all(len(part.partition("\n")[2].split()) >= 10 for part in parts)
    meaning = parts[0].partition("\n")[2].strip()
    assert meaning not in (ALERTS[file.stem]["annotations"][key] for key in ("summary", "description"))
    assert "```promql" in parts[2]


@pytest.mark.parametrize(("runbook", "block"), blocks("promql"))
def test_runbook_query_parses(runbook: str, block: str) -> None:
    for query in block.strip().split("\n\n"):
        promql_parser.parse(query)


def commands_named() -> list[tuple[str, str]]:
    """Every command of ours, in blocks and in sentences."""
    found = []
    for file in sorted(RUNBOOKS.glob("*.md")):
        text = file.read_text()
        lines = "".join(re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S)).splitlines()
        lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S).replace("\n", " "))
        found += [(file.stem, line) for line in lines if re.match(r"python -m |triptych |make ", line)]
    return found


@pytest.mark.parametrize(("runbook", "command"), commands_named())
def test_runbook_command_exists(runbook: str, command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}( [\w ]*)?:", (ROOT / "Makefile").read_text(), re.M)
        return
    assert words[0] == "triptych", "runbooks name commands as `triptych ...`"
    make_parser().parse_args(["2" if word == "N" else word for word in words[1:]])


def test_runbooks_name_only_alerts_that_exist() -> None:
    named = {
        (file.stem, name)
        for file in RUNBOOKS.glob("*.md")
        for name in re.findall(r"\bTriptych[A-Z]\w+", file.read_text())
    }
    assert [pair for pair in sorted(named) if pair[1] not in ALERTS] == []


def test_alertmanager_speaks_of_alerts_that_exist() -> None:
    routing: dict[str, Any] = yaml.safe_load((ROOT / "ops/observability/alertmanager/alertmanager.yaml").read_text())
    assert set(re.findall(r"Triptych\w+", json.dumps(routing))) <= set(ALERTS)

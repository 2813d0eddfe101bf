"""The HTML report holds the figures of the reports, and needs no other file."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from loadtest.cli.main import main
from loadtest.errors import LoadTestError
from loadtest.reports.html_report import write_html_report

FACTS = {"machine": {"cpu": "a processor", "cores": 2}, "date": "2026-11-28", "commit": "abc1234"}
LOCUST: dict[str, Any] = FACTS | {
    "objective": "recognizer: 99 %", "passed": False, "under_ms": 250.0,
    "checks": {"smoke": [{"name": "latency", "result": "failed", "reason": "p99 <b>300</b> ms & more"}]},
    "runs": [
        {
            "shape": "smoke",
            "phases": [{"phase": "steady", "users": 1, "answers_per_s": 20.5, "p50_ms": 30.0, "p99_ms": None}],
            "series": [
                {"second": 0, "users": 1, "answers": 20, "failed": 0, "p50_ms": 30.0, "p99_ms": 90.0},
                {"second": 1, "users": 1, "answers": 0, "failed": 0, "p50_ms": None, "p99_ms": None},
            ],
        }
    ],
}  # fmt: skip
TRIAL = {
    "rate": 20.0, "completed_per_s": 19.8, "photos": 200, "p50_ms": 30, "p90_ms": 60, "p99_ms": 120,
    "lag_p99_ms": 1.0, "missed": None,
}  # fmt: skip
OPEN_LOOP = FACTS | {"objective": "recognizer: 99 %", "under_ms": 250.0, "peak_per_s": 20.0, "trials": [TRIAL]}
PLAN = {
    "curve": FACTS | {"profile": "cpu"}, "plan": {"p99_s": 0.25}, "arithmetic": ["n = ceil(3000 / 30.0) = 100"],
    "errors": {"mean": 0.1, "largest": 0.2, "figures": 2},
    "checks": [{"rate": 20.0, "measured": {"p50_ms": 30, "p99_ms": 90}, "predicted": {"p50_ms": 33, "p99_ms": 80}}],
}  # fmt: skip


class _Addresses(HTMLParser):
    """All addresses in an HTML file."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name in ("src", "href")]


def test_html_report_holds_checks_charts_and_tables_and_fetches_nothing(tmp_path: Path) -> None:
    write_html_report(tmp_path / "out.html", [LOCUST, OPEN_LOOP, PLAN])
    text = (tmp_path / "out.html").read_text()
    assert "p99 &lt;b&gt;300&lt;/b&gt; ms &amp; more" in text
    assert re.search(r'Verdict: <span class="failed">failed', text)
    assert "Highest rate that meets the objective: 20.0 photos/s." in text
    assert "n = ceil(3000 / 30.0) = 100" in text
    parser = _Addresses()
    parser.feed(text)
    assert len(parser.found) == 3
    assert all(address.startswith("data:image/png;base64,iVBOR") for address in parser.found)
    assert "None" not in text


def test_command_writes_several_reports_into_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(LOCUST))
    (tmp_path / "b.json").write_text(json.dumps(OPEN_LOOP))
    assert main(["report", str(tmp_path / "o.html"), str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    assert (tmp_path / "o.html").read_text().count("<h2>") == 2


def test_html_report_is_refused_when_a_file_is_not_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LoadTestError, match="Not a report; expected"):
        write_html_report(tmp_path / "out.html", [{"other": 1}])
    with pytest.raises(LoadTestError, match="A report with trials has no 'machine'"):
        write_html_report(tmp_path / "out.html", [{"trials": []}])
    assert main(["report", str(tmp_path / "o.html"), "/nowhere.json"]) == 1
    assert "Cannot read /nowhere.json as a report" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["report", "/nowhere/o.html", "/nowhere.json"])
    assert "cannot write /nowhere/o.html: expected a file in a folder that exists" in capsys.readouterr().err

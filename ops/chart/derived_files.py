"""The files of the chart that are made of others: Helm reads nothing outside the chart, so it carries copies."""

from __future__ import annotations

from pathlib import Path

from ops.chart.values_table import read_values, render_table, replace_table
from ops.settings import ROOT

CHART = ROOT / "helm" / "triptych"
# Folder below ops/ and below the chart's files/ -> what is copied.
COPIED = {"rules": "*.yaml", "dashboards": "*.json"}


def derive(chart: Path = CHART, ops: Path = ROOT / "ops") -> dict[Path, str]:
    """Path -> content of every derived file.

    Raises:
        OpsError: a value without a comment, or a README without a place for the table.
    """
    readme = chart / "README.md"
    table = render_table(read_values((chart / "values.yaml").read_text(encoding="utf-8")))
    files = {readme: replace_table(readme.read_text(encoding="utf-8"), table)}
    for folder, pattern in COPIED.items():
        for source in sorted((ops / folder).glob(pattern)):
            files[chart / "files" / folder / source.name] = source.read_text(encoding="utf-8")
    return files


def find_differences(files: dict[Path, str], chart: Path = CHART) -> list[Path]:
    """Files that are missing, other than derived, or left from something that is gone."""
    different = [path for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text]
    kept = [path for folder in COPIED for path in (chart / "files" / folder).glob("*")]
    return sorted(different + [path for path in kept if path not in files])


def write(files: dict[Path, str], chart: Path = CHART) -> list[Path]:
    """Writes what differs, removes what is gone; returns those paths."""
    changed = find_differences(files, chart)
    for path in changed:
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        else:
            path.unlink()
    return changed

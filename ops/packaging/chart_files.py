"""The chart's derived files. Helm reads no file outside the chart, so it holds copies of rules and dashboards
and the front's configuration.
"""

from __future__ import annotations

from pathlib import Path

from ops.packaging import chart_front
from ops.settings import ROOT

CHART = ROOT / "helm" / "triptych"
# Folder below ops/observability/ and below the chart's files/ -> pattern of the files to copy.
COPIED = {"rules": "*.yaml", "dashboards": "*.json"}


def derive() -> dict[Path, str]:
    """Returns the content of every derived file, by path."""
    copies = {
        CHART / "files" / folder / source.name: source.read_text(encoding="utf-8")
        for folder, pattern in COPIED.items()
        for source in sorted((ROOT / "ops/observability" / folder).glob(pattern))
    }
    front = {"front.json": chart_front.render(), "front-tls.json": chart_front.render_tls()}
    return copies | {CHART / "files" / name: text for name, text in front.items()}


def find_differences(files: dict[Path, str]) -> list[Path]:
    """Returns files that are missing, differ from the derived ones, or have no source any more."""
    different = [path for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text]
    kept = [path for folder in COPIED for path in (CHART / "files" / folder).glob("*")]
    return sorted(different + [path for path in kept if path not in files])


def write(files: dict[Path, str]) -> list[Path]:
    """Writes files that differ, removes files without a source; returns their paths."""
    changed = find_differences(files)
    for path in changed:
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        else:
            path.unlink()
    return changed

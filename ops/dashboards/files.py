"""The dashboards as the JSON that Grafana loads."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ops.errors import OpsError
from ops.rules.deployment import Deployment

NAMES = ("overview", "serving", "quality", "catalogue", "rollout")
FOLDER = Path("dashboards")
# The builder writes these for every variable; Grafana's schema has none of them.
_UNKNOWN = ("auto", "auto_min", "auto_count")


def write_dashboards(deployment: Deployment) -> dict[Path, str]:
    """JSON by path.

    Raises:
        OpsError: this Python is older than the builder allows.
    """
    if sys.version_info < (3, 11):
        raise OpsError("The dashboard builder needs Python 3.11 or newer: `make setup PYTHON=python3.12`.")
    from ops.dashboards import catalogue, overview, quality, rollout, serving

    boards = dict(zip(NAMES, (overview, serving, quality, catalogue, rollout), strict=True))
    return {FOLDER / f"{name}.json": _encode(board.build(deployment).build()) for name, board in boards.items()}


def _encode(board: Any) -> str:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    content = json.loads(JSONEncoder().encode(board))
    for variable in content["templating"]["list"]:
        for key in _UNKNOWN:
            variable.pop(key, None)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

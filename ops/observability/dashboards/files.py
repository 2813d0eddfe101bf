"""Encodes the dashboards as the JSON that Grafana loads."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ops.errors import OpsError
from ops.observability.slo.deployment import Deployment

NAMES = ("overview", "serving", "quality", "catalogue", "rollout")
FOLDER = Path("dashboards")
# The builder writes these keys for every variable; Grafana's schema does not have them.
_UNKNOWN = ("auto", "auto_min", "auto_count")


def write_dashboards(deployment: Deployment) -> dict[Path, str]:
    """Returns the JSON of each dashboard, by path.

    Raises:
        OpsError: the builder does not support this Python version.
    """
    if sys.version_info < (3, 11):
        raise OpsError("The dashboard builder needs Python 3.11 or later. Run `make setup PYTHON=python3.12`.")
    from ops.observability.dashboards import catalogue, overview, quality, rollout, serving

    boards = dict(zip(NAMES, (overview, serving, quality, catalogue, rollout), strict=True))
    return {FOLDER / f"{name}.json": _encode(board.build(deployment).build()) for name, board in boards.items()}


def _encode(board: Any) -> str:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    content = json.loads(JSONEncoder().encode(board))
    for variable in content["templating"]["list"]:
        for key in _UNKNOWN:
            variable.pop(key, None)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

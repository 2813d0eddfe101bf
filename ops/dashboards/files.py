"""The dashboards as the JSON that Grafana loads."""

from __future__ import annotations

import sys
from pathlib import Path

from ops.errors import OpsError
from ops.rules.deployment import Deployment

NAMES = ("overview", "serving", "quality", "rollout")
FOLDER = Path("dashboards")


def write_dashboards(deployment: Deployment) -> dict[Path, str]:
    """JSON by path.

    Raises:
        OpsError: this Python is older than the builder allows.
    """
    if sys.version_info < (3, 11):
        raise OpsError("The dashboard builder needs Python 3.11 or newer: `make setup PYTHON=python3.12`.")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    from ops.dashboards import overview, quality, rollout, serving

    boards = dict(zip(NAMES, (overview, serving, quality, rollout), strict=True))
    return {
        FOLDER / f"{name}.json": JSONEncoder(indent=2, ensure_ascii=False).encode(board.build(deployment).build())
        + "\n"
        for name, board in boards.items()
    }

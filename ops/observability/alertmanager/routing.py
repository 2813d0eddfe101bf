"""Alertmanager routing: receivers, grouping, and inhibition of alerts that a larger alert explains."""

from __future__ import annotations

from ops.observability.rules.burn_rates import ALERTS
from ops.observability.rules.rule import dump

HEADER = (
    "# Made by `triptych render`: an example to copy; configure both receivers. It groups alerts by fleet\n"
    "# and symptom, pages only for `severity: page`, and inhibits alerts that a larger alert explains.\n"
)
FLEET = ["namespace", "job"]
SERVER = [*FLEET, "instance"]
# Consequences of a server or a model that does not answer.
CONSEQUENCES = "TriptychAvailabilityBudgetBurn|TriptychRequestsRejected|TriptychQueueSaturated|TriptychTrafficImbalance"


def write_routing() -> str:
    explained_by_absent = "TriptychDown|TriptychTrafficImbalance|TriptychVersionSkew"
    content = {
        "route": {
            "receiver": "tickets",
            # One message for all servers and windows of a symptom.
            "group_by": [*FLEET, "alertname"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "12h",
            "routes": [{"receiver": "pager", "matchers": ['severity="page"'], "repeat_interval": "1h"}],
        },
        "inhibit_rules": [
            _inhibit("TriptychAbsent", explained_by_absent, []),
            _inhibit("TriptychDown", CONSEQUENCES, FLEET),
            _inhibit("TriptychModelStalled", "TriptychQueueSaturated|TriptychLatencyHigh", SERVER),
            # The fast windows page; the slow windows of the same objective would repeat the page.
            *(
                {
                    "source_matchers": [f'alertname="{alert}"', 'severity="page"'],
                    "target_matchers": [f'alertname="{alert}"', 'severity="ticket"'],
                    "equal": FLEET,
                }
                for alert in ALERTS.values()
            ),
        ],
        "receivers": [
            {"name": "pager"},
            {"name": "tickets"},
        ],
    }
    return HEADER + dump(content)


def _inhibit(source: str, targets: str, equal: list[str]) -> dict[str, object]:
    return {
        "source_matchers": [f'alertname="{source}"'],
        "target_matchers": [f'alertname=~"{targets}"'],
        **({"equal": equal} if equal else {}),
    }

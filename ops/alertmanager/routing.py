"""Who hears of an alert, what is told together, and what is left unsaid because something larger explains it."""

from __future__ import annotations

from ops.rules.burn_rates import ALERTS
from ops.rules.rule import dump

HEADER = (
    "# Made by `python -m ops render`: an example to copy, receivers to fill in. Groups by fleet and symptom, pages\n"
    "# for `severity: page` alone, and keeps quiet what a larger alert of the same fleet or server explains.\n"
)
FLEET = ["namespace", "job"]
SERVER = [*FLEET, "instance"]
# Consequences of a server that is gone or a model that is dead.
CONSEQUENCES = "TriptychAvailabilityBudgetBurn|TriptychRequestsRejected|TriptychQueueSaturated|TriptychTrafficImbalance"


def write_routing() -> str:
    quiet_after_absent = "TriptychDown|TriptychTrafficImbalance|TriptychVersionSkew"
    content = {
        "route": {
            "receiver": "tickets",
            # One message for all servers and windows of a symptom, not one each.
            "group_by": [*FLEET, "alertname"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "12h",
            "routes": [{"receiver": "pager", "matchers": ['severity="page"'], "repeat_interval": "1h"}],
        },
        "inhibit_rules": [
            _inhibit("TriptychAbsent", quiet_after_absent, []),
            _inhibit("TriptychDown", CONSEQUENCES, FLEET),
            _inhibit("TriptychModelStalled", "TriptychQueueSaturated|TriptychLatencyHigh", SERVER),
            # The fast windows page; the slow ones of the same objective would only say it again.
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
            {"name": "pager", "webhook_configs": [{"url": "http://pager.example.com/", "send_resolved": True}]},
            {"name": "tickets", "webhook_configs": [{"url": "http://tickets.example.com/", "send_resolved": True}]},
        ],
    }
    return HEADER + dump(content)


def _inhibit(source: str, targets: str, equal: list[str]) -> dict[str, object]:
    return {
        "source_matchers": [f'alertname="{source}"'],
        "target_matchers": [f'alertname=~"{targets}"'],
        **({"equal": equal} if equal else {}),
    }

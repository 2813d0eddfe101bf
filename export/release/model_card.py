"""Renders MODEL_CARD.md from the manifest of a release; figures without a value read "Not measured."."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from export.repository.labels import SEPARATOR

# Facts that are not measurements.
_NOT_MEASURED = ("inputs", "files", "backbone", "release", "golden")
_EXPECTED = ("parity", "accuracy", "speed")


def render(name: str, facts: dict[str, Any], labels: list[str], limits: dict[str, str], golden: dict[str, Any]) -> str:
    """The text of the model card, from the placed manifest, the lines of `labels.txt` and the limits in the configs."""
    backbone = facts.get("backbone", {})
    lines = [
        f"# {name}",
        "",
        "Product-image recognition: input is a photo; outputs are category scores, a retail score and an embedding. "
        "All figures below are from `manifest.json`.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in backbone.items()),
        f"| classes | {_describe_labels(labels)} |",
        *(f"| {package} | {version} |" for package, version in facts.get("inputs", {}).get("versions", {}).items()),
        "",
    ]
    lines += _render_measurements(facts)
    lines += ["## Limits", "", *(f"- {key}: {value}" for key, value in limits.items())]
    lines += [
        "- The network knows only the classes of `labels.txt`: a photo that shows none of them gets scores too.",
        "",
        "## Golden requests",
        "",
        f"A server must return these predictions before it switches to the release: embedding cosine at least "
        f"{golden['embedding_min_cosine']}, scores within {golden['score_max_abs_error']}.",
        "",
        "| photo | label | score |",
        "|---|---|---|",
        *(
            f"| {request['photo']} | {request['labels'][0]['label']} | {request['labels'][0]['score']:.3f} |"
            for request in golden["requests"]
        ),
    ]
    return "\n".join(lines) + "\n"


def _render_measurements(facts: dict[str, Any]) -> list[str]:
    """One section per topic, also for expected topics without measurements."""
    lines: list[str] = []
    measured = {key: value for key, value in facts.items() if key not in _NOT_MEASURED}
    for topic in (*_EXPECTED, *(key for key in measured if key not in _EXPECTED)):
        lines += [f"## {topic.replace('_', ' ').capitalize()}", ""]
        rows = list(flatten(measured[topic])) if topic in measured else []
        lines += ["| measured | value |", "|---|---|"] if rows else ["Not measured."]
        lines += [*(f"| {key or topic} | {_short(value)} |" for key, value in rows), ""]
    return lines


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Nested facts as pairs (`a.b.0.c`, value); a list of plain values is one value."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict | list) for one in value)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _describe_labels(labels: list[str]) -> str:
    categories = {line.partition(SEPARATOR)[0] for line in labels if SEPARATOR in line}
    sold = sum(SEPARATOR in line for line in labels)
    return f"{len(labels)}, of which {sold} are retail products in {len(categories)} retail categories"

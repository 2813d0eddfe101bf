"""MODEL_CARD.md: what a release is and what was measured, from its manifest alone. What was not measured says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from export.labels import SEPARATOR

# Not measurements: what decided the files, what they are, and what the card tells in words.
_NOT_MEASURED = ("inputs", "files", "backbone", "release", "golden")
_EXPECTED = ("parity", "accuracy", "speed")


def render(name: str, facts: dict[str, Any], labels: list[str], limits: dict[str, str], golden: dict[str, Any]) -> str:
    """The text of the card.

    Args:
        name: of the release, without its digest.
        facts: of the placed manifest.
        labels: the lines of `labels.txt`.
        limits: name -> value, as the configs set them.
        golden: the golden requests.
    """
    backbone = facts.get("backbone", {})
    lines = [
        f"# {name}",
        "",
        "Product-image recognition: a photo in; category scores, a retail score and an embedding out. Every figure "
        "below is read from `manifest.json`.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in backbone.items()),
        f"| classes | {_describe_labels(labels)} |",
        *(f"| {package} | {version} |" for package, version in facts.get("inputs", {}).get("versions", {}).items()),
        "",
    ]
    measured = {key: value for key, value in facts.items() if key not in _NOT_MEASURED}
    for topic in (*_EXPECTED, *(key for key in measured if key not in _EXPECTED)):
        lines += [f"## {topic.replace('_', ' ').capitalize()}", ""]
        rows = list(flatten(measured[topic])) if topic in measured else []
        lines += ["| measured | value |", "|---|---|"] if rows else ["Not measured."]
        lines += [*(f"| {key or topic} | {_short(value)} |" for key, value in rows), ""]
    lines += ["## Limits", "", *(f"- {key}: {value}" for key, value in limits.items())]
    lines += [
        "- Trained on the classes of `labels.txt` alone: any photo gets scores, also one that shows none of them.",
        "",
        "## Golden requests",
        "",
        f"Asked of a server before it takes the release. Embedding cosine at least {golden['embedding_min_cosine']}, "
        f"scores within {golden['score_max_abs_error']}.",
        "",
        "| photo | label | score |",
        "|---|---|---|",
        *(
            f"| {request['photo']} | {request['labels'][0]['label']} | {request['labels'][0]['score']:.3f} |"
            for request in golden["requests"]
        ),
    ]
    return "\n".join(lines) + "\n"


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Nested facts as (`a.b.0.c`, value); a list of plain values is one value."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict | list) for one in value)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _describe_labels(labels: list[str]) -> str:
    shelves = {line.partition(SEPARATOR)[0] for line in labels if SEPARATOR in line}
    sold = sum(SEPARATOR in line for line in labels)
    return f"{len(labels)}, of which {sold} are things a shop sells, in {len(shelves)} retail categories"

"""What the served configs make of the machine: processes and threads, and whether they fit the cores seen."""

from __future__ import annotations

import json
from pathlib import Path

from loky import cpu_count

from ops.repository import list_models, models_folder, read_config


def describe_sizing(repository: Path, profile: str | None) -> str:
    """As in "recognizer x 2 (alone: 2 threads), embedder x 1 (2 threads)": processes of each model."""
    parts = []
    for model in list_models(repository):
        config = read_config(models_folder(repository) / model, profile)
        if config is None or config.backend != "python":
            continue
        instances = sum(group.count for group in config.instance_group)
        notes = [
            f"{wording} {config.parameters[name].string_value}"
            for name, wording in (("intra_op_threads", "threads"), ("lone_threads", "threads for a lone request"))
            if name in config.parameters
        ]
        parts.append(f"{model} x {instances}" + (f" ({', '.join(notes)})" if notes else ""))
    return ", ".join(parts)


def describe_misfit(repository: Path, profile: str | None) -> str | None:
    """A sentence when the profile was sized for another number of cores than are seen here (affinity and cgroups)."""
    try:
        placed = int(
            json.loads((repository / "manifest.json").read_text(encoding="utf-8"))["inputs"]["sizing"]["cores"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if profile is None or placed == cpu_count():
        return None
    return (
        f"The {profile} profile was sized for {placed} cores, {cpu_count()} are seen here. "
        "Run `make export` to size it for this machine, or `python -m export place --cores N` for another."
    )

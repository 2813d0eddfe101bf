"""The command `inspect`: prints the contents of a model repository or a release as tables or as JSON."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console
from rich.table import Table

from export.cli.arguments import add_json_option, as_path
from export.cli.execution import set_run
from export.release.contents import describe
from export.release.model_card import flatten

# Table width when stdout is a file or a pipe, which has no terminal width.
UNFOLDED_WIDTH = 180


def add_parser(commands: Any) -> None:
    """Adds `inspect` to the command line."""
    command = commands.add_parser(
        "inspect",
        help="show the contents of a model repository or a release",
        description="Shows models, versions, tensors, profiles, sizes, the digest, and the measurements taken at "
        "placing.",
    )
    command.add_argument("path", type=as_path, metavar="PATH", help="a model repository or a release")
    add_json_option(command)
    set_run(command, run)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Runs the command."""
    description = describe(options.path)
    if not console.is_terminal:
        console.width = UNFOLDED_WIDTH
    console.print(_models_table(description["models"]))
    console.print(_facts_table(description["facts"]))
    digest = f", sha256:{description['digest']}" if description["digest"] else ", not a release"
    golden = f", {description['golden_requests']} golden requests" if description["golden_requests"] else ""
    console.print(f"{description['folder']}: {_mb(description['size_bytes'])}{golden}{digest}", markup=False)
    return description


def _models_table(models: dict[str, Any]) -> Table:
    table = Table("model", "backend", "versions", "batch", "inputs", "outputs", "profiles", "size")
    for name, model in models.items():
        table.add_row(
            name,
            model["backend"],
            ", ".join(model["versions"]),
            str(model["max_batch_size"]),
            *("\n".join(f"{tensor} {form}" for tensor, form in model[side].items()) for side in ("inputs", "outputs")),
            ", ".join(model["profiles"]) or "-",
            _mb(model["size_bytes"]),
        )
    return table


def _facts_table(facts: dict[str, Any]) -> Table:
    table = Table("fact", "value")
    for path, value in flatten(facts):
        table.add_row(path, str(value))
    if not facts:
        table.add_row("placed", "nothing: run `triptych build`")
    return table


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"

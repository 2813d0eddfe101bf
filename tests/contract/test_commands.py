"""`triptych` has the commands of every room, each once, each with a summary."""

from __future__ import annotations

import argparse

from triptych.cli.main import OWN_COMMANDS, make_parser


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name -> parser of each subcommand."""
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(actions[0].choices) if actions else {}


def test_command_has_the_commands_of_every_room() -> None:
    parser = make_parser()
    names = set(commands_of(parser))
    assert names > set(OWN_COMMANDS)
    of_export = {"train", "build", "quantize", "release", "verify", "publish", "rollback", "prune", "inspect", "diff"}
    of_ops = {"serve", "run", "status", "logs", "reload", "stop", "check", "observe"}
    assert names >= of_export | of_ops | {"loadtest"}
    assert {"bench", "locust", "open-loop", "plan"} <= set(commands_of(commands_of(parser)["loadtest"]))


def test_every_command_runs_something_and_says_what() -> None:
    described = make_parser().format_help()
    for name, parser in commands_of(make_parser()).items():
        assert f"\n  {name} " in described
        assert parser.description, name
        leaves = commands_of(parser).values() or [parser]
        assert all(leaf.get_default("run") or leaf.get_default("call") for leaf in leaves), name

"""The command `triptych`: one module a subcommand, and what they share."""

from triptych.command.entry import main

__all__ = ["main"]

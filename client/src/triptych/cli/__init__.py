"""The command `triptych`: one module for each subcommand. No other room imports this one."""

from triptych.cli.main import main

__all__ = ["main"]

"""How a command runs: its console, its report as JSON, and its errors as a line on stderr and an exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from rich.console import Console

from export.errors import ExportError

OUTPUT_CLOSED = 141  # what a shell makes of SIGPIPE
# Returns the report that `--json` prints; its `exit_code`, if it has one, is the command's.
Run: TypeAlias = Callable[[argparse.Namespace, Console], dict[str, Any]]


def set_run(parser: argparse.ArgumentParser, run: Run) -> None:
    """Makes the options that `parser` parses hold `run`: `options.run(options)` returns the exit code."""
    parser.set_defaults(run=partial(_execute, run))


def _execute(run: Run, options: argparse.Namespace) -> int:
    # With --json, stdout carries one JSON object and nothing else.
    console = Console(highlight=False, soft_wrap=True, stderr=options.json)
    try:
        report = run(options, console)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return _leave_closed_output()
    except OSError as error:  # for example a full disk under the temporary folder, or a file without read permission
        print(f"error: {error}. Nothing was changed.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    try:
        if options.json:
            print(json.dumps(report))
        sys.stdout.flush()
    except BrokenPipeError:
        return _leave_closed_output()
    return int(report.get("exit_code", 0))


def _leave_closed_output() -> int:
    """Python flushes the stream once more at its end, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OUTPUT_CLOSED

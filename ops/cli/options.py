"""What several commands share: registration of a command, groups of options, types of option values."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ops.errors import OpsError
from ops.settings import STATE_DIR, Settings

OUTPUT_CLOSED = 141  # what a shell makes of SIGPIPE
Run = Callable[[argparse.Namespace], int]


def as_path(text: str) -> Path:
    """Type of an option that names a file or a folder; "" would mean the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no path; expected the name of a file or a folder")
    return Path(text).expanduser()  # a shell leaves the ~ of --option=~/folder


def add_command(
    commands: Any, name: str, run: Run, *, summary: str, description: str | None = None
) -> argparse.ArgumentParser:
    """Adds a command whose parsed options hold `run`: call `options.run(options)`, which returns the exit code.

    Args:
        commands: the subparsers of any parser.
        name: of the command.
        run: receives the options. `options.run` prints its OpsError to stderr and returns the exit code of the error.
        summary: one line for the list of commands.
        description: for the help of the command; None repeats the summary.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter if "\n" in (description or "") else argparse.HelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=functools.partial(_run, run))
    return parser


def _run(run: Run, options: argparse.Namespace) -> int:
    try:
        exit_code = run(options)
        sys.stdout.flush()
    except OpsError as error:
        with contextlib.suppress(BrokenPipeError):
            print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # an OSError, too
        # Python flushes the stream once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_CLOSED
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        print(f"error: Cannot use{where} ({error.strerror or error}). Move it away, or free space.", file=sys.stderr)
        return OpsError.exit_code
    return exit_code


def add_setting(parser: argparse._ActionsContainer, name: str, kind: Any, text: str, **more: Any) -> None:
    """Adds the option of a field of `Settings`, with the default of the field."""
    default = getattr(Settings(), name)
    parser.add_argument(
        f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{text} (default: %(default)s)", **more
    )


def add_listening(parser: argparse.ArgumentParser) -> None:
    listening = parser.add_argument_group("ports on 127.0.0.1; 0 chooses a free port")
    add_setting(listening, "http_port", int, "KServe v2 over HTTP")
    add_setting(listening, "grpc_port", int, "KServe v2 over gRPC")
    add_setting(listening, "metrics_port", int, "Prometheus metrics")


def add_serving(parser: argparse.ArgumentParser) -> None:
    serving = parser.add_argument_group("what the server serves")
    add_setting(serving, "repository", as_path, "model repository")
    add_setting(
        serving,
        "profile",
        lambda name: name or None,
        "use configs/PROFILE.pbtxt of each model that has one; '' is config.pbtxt for all",
    )
    add_setting(
        serving, "cache_mb", whole_number, "size of the answer cache for repeated photos; 0 turns the cache off"
    )


def add_server_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--server-option",
        dest="server_options",
        action="append",
        default=[],
        metavar="OPTION",
        help="an additional tritonserver option, as in --server-option=--grpc-use-ssl=true; may be repeated",
    )


def add_policy(parser: argparse._ActionsContainer, default: str = "signatures are not checked") -> None:
    parser.add_argument(
        "--key",
        type=lambda file: as_path(file) if file else None,
        metavar="PUB",
        help="public key (PEM) that a release must be signed with; a model repository that is not a release is refused "
        f"(default: {default})",
    )
    parser.add_argument(
        "--require-signature",
        action="store_true",
        help="refuse to go on without --key, as when the variable that names the key is empty",
    )


def add_state_dir(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--state-dir",
        type=as_path,
        default=STATE_DIR,
        help="folder of the server's state and log (default: %(default)s)",
    )


def build_settings(options: argparse.Namespace, **fixed: Any) -> Settings:
    """Returns the settings that the options name; `fixed` replaces some of them."""
    named = {field.name for field in dataclasses.fields(Settings)} & vars(options).keys()
    values = {name: getattr(options, name) for name in named} | fixed
    if values.get("catalogue_dir") is not None:
        values["catalogue_dir"] = values["catalogue_dir"].absolute()
    return Settings(**values | {"server_options": tuple(values.get("server_options", ()))})


def on_free_ports(options: argparse.Namespace) -> Settings:
    """Returns the settings of a server that listens on free ports and keeps its state in a temporary folder."""
    return build_settings(options, http_port=0, grpc_port=0, metrics_port=0)


def seconds(text: str) -> float:
    value = float(text)
    if value < 0 or value != value:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds; expected 0 or more")
    return value


def percentage(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a percentage; expected 0 to 100")
    return value


def whole_number(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0; expected 0 or more")
    return value


def positive_number(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1; expected 1 or more")
    return value

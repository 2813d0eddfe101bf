"""Starts the server with the key of its restricted APIs: exit code 1 if the key cannot be used, else the server's.

    python3 -I start_server.py [--key-file FILE] tritonserver --http-restricted-api=logging:triptych-key=@KEY@ ...

Triton accepts the key only as an argument. Without a file, the key is random and new at each start, so no object of
the cluster, variable, file or log contains it. The server replaces this process: it gets the signals of the kubelet.
The pod runs this file inside the serving image, with the standard library only.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import NoReturn

PLACEHOLDER = "@KEY@"
KEY_FILE = "--key-file"


def read_key(file: Path) -> str:
    """Returns the key in the file, without a final line break.

    Raises:
        ValueError: the file cannot be read, is empty, or has a character that no header can carry.
    """
    try:
        key = file.read_text(encoding="ascii").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read ({error}).") from error
    if not key or not key.isprintable() or " " in key:
        raise ValueError(f"{file} has {len(key)} characters, expected one or more printable ones without spaces.")
    return key


def main(arguments: list[str]) -> NoReturn:
    if arguments[0] == KEY_FILE:
        try:
            key, command = read_key(Path(arguments[1])), arguments[2:]
        except ValueError as error:
            print(f"{error} Change the Secret of triton.restrictedApis, and restart the pods.", file=sys.stderr)
            sys.exit(1)
    else:
        key, command = secrets.token_hex(32), arguments
    os.execvp(command[0], [word.replace(PLACEHOLDER, key) for word in command])


if __name__ == "__main__":
    main(sys.argv[1:])

"""Entry point of `python -m export`."""

from __future__ import annotations

import sys

from export.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

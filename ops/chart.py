"""Deprecated: `python -m ops chart`. The next release removes this module."""

from __future__ import annotations

import sys

from ops.cli.main import run_former_module

if __name__ == "__main__":
    sys.exit(run_former_module("chart"))

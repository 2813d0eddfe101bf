"""`python -m ops.chart [--check]`: writes the chart's derived files, or says which are not as they should be."""

from __future__ import annotations

import argparse
import sys

from ops.chart.derived_files import derive, find_differences, write
from ops.errors import OpsError
from ops.settings import ROOT


def main(words: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 a file differs (--check), 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m ops.chart", description=__doc__, allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file differs")
    options = parser.parse_args(words)
    try:
        files = derive()
        paths = find_differences(files) if options.check else write(files)
    except OpsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    names = ", ".join(str(path.relative_to(ROOT)) for path in paths)
    if options.check and paths:
        print(f"Not what `make generate` makes: {names}. Run it and commit the result.", file=sys.stderr)
        return 1
    print(f"Written: {names}." if paths else "The chart's derived files are as they should be.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m ops COMMAND`."""

import sys

from ops.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

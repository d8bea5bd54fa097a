"""`python -m gyms`: look at gyms, check them, attack them, start a new one, score stored answers. See `--help`."""

import sys

from gyms.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())

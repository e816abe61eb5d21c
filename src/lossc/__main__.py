"""`python -m lossc` is `lossc`."""

import sys

from lossc.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

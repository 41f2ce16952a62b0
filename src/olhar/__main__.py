"""`python -m olhar` is `olhar`."""

import sys

from olhar.cli import main

if __name__ == "__main__":
    sys.exit(main())

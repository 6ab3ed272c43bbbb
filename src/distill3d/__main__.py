"""`python -m distill3d`: the command where its script is not on the path."""

import sys

from distill3d.cli import main

if __name__ == "__main__":
    sys.exit(main())

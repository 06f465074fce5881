"""`python -m poppo_ipc`."""

import sys

from poppo_ipc.cli import main

if __name__ == "__main__":
    sys.exit(main())

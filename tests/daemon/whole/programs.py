"""Commands for tasks that there are on every system."""

from __future__ import annotations

import sys

SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]
TRUE = [sys.executable, "-c", ""]
FALSE = [sys.executable, "-c", "exit(1)"]
HELLO = [sys.executable, "-c", "import os; os.write(1, b'hello\\n')"]

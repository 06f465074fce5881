"""What does not run where, and why: the one list of it. `conftest.py` acts on it, and says how much was left out.

A key is a file, a test, or a test with its parameters, as pytest names them, below `tests`. A file that is named whole
is not even imported.
"""

from __future__ import annotations

MODES = "file modes, owners and sticky directories are those of Unix"
TERMINAL = "a Unix terminal (pty) is what this looks at"

#: About Unix itself.
ON_WINDOWS = {
    "transport/test_directory.py": MODES,
}

#: About Windows itself.
ON_UNIX: dict[str, str] = {}

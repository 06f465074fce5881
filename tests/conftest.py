"""Settings that all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadlines: a loaded machine is no bug. In CI the same examples each time, so that a red build can be repeated.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

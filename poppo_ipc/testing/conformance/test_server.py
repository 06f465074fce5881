"""The checks of a server as tests: `pytest --pyargs poppo_ipc.testing.conformance --poppo-socket PATH`.

The token comes from `POPPO_TOKEN` or `POPPO_TOKEN_FILE`. To have them in a suite of one's own, with a server that the
suite starts, import the test and override the fixture `poppo_conformance`::

    from poppo_ipc.testing.conformance.test_server import *
"""

from __future__ import annotations

from typing import Any

import pytest

from poppo_ipc.testing.conformance import Status, server_checks
from poppo_ipc.testing.conformance._running import run_check
from poppo_ipc.testing.conformance._server import settings_of
from poppo_ipc.testing.conformance._target import Target

__all__ = ["test_conformance"]


@pytest.mark.parametrize("check", server_checks(), ids=lambda check: check.name)
def test_conformance(check: Any, poppo_conformance: dict[str, Any]) -> None:
    """One rule of the contract; skipped where the server does not offer what it is about."""
    __tracebackhide__ = True
    finding = run_check(check, Target(settings_of(**poppo_conformance)))
    if finding.status is Status.NOT_OFFERED:
        pytest.skip(f"not offered: {finding.got}")
    if finding.status is Status.FAILED:
        pytest.fail(finding.explain(), pytrace=False)

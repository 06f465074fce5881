"""Tests for programs that talk to a daemon: fake ones that answer as a test says, faults, and the whole real one.

`pip install 'poppo-ipc[testing]'` brings the fixtures `fake_daemon`, `memory_daemon` and `real_daemon` to pytest; the
classes work without it. Names are loaded when they are first used, as the plugin is part of every run of pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from poppo_ipc._lazy import lazily

if TYPE_CHECKING:
    from poppo_ipc.testing._calls import Call as Call
    from poppo_ipc.testing._calls import Calls as Calls
    from poppo_ipc.testing._cassette import Cassette as Cassette
    from poppo_ipc.testing._cassette_tape import CassetteError as CassetteError
    from poppo_ipc.testing._cli import run_cli as run_cli
    from poppo_ipc.testing._errors import Mispromise as Mispromise
    from poppo_ipc.testing._errors import Unmet as Unmet
    from poppo_ipc.testing._expectations import Expectation as Expectation
    from poppo_ipc.testing._fake import FakeDaemon as FakeDaemon
    from poppo_ipc.testing._faults import Fault as Fault
    from poppo_ipc.testing._faults import Faults as Faults
    from poppo_ipc.testing._matchers import ABSENT as ABSENT
    from poppo_ipc.testing._matchers import ANY as ANY
    from poppo_ipc.testing._matchers import partial as partial
    from poppo_ipc.testing._memory import MemoryDaemon as MemoryDaemon
    from poppo_ipc.testing._real import RealDaemon as RealDaemon
    from poppo_ipc.testing._result import CliResult as CliResult
    from poppo_ipc.testing._result import normalized as normalized
    from poppo_ipc.testing._schemas import standard_router as standard_router

_HOMES = {
    "ABSENT": "_matchers",
    "ANY": "_matchers",
    "Call": "_calls",
    "Calls": "_calls",
    "Cassette": "_cassette",
    "CassetteError": "_cassette_tape",
    "CliResult": "_result",
    "Expectation": "_expectations",
    "FakeDaemon": "_fake",
    "Fault": "_faults",
    "Faults": "_faults",
    "MemoryDaemon": "_memory",
    "Mispromise": "_errors",
    "RealDaemon": "_real",
    "Unmet": "_errors",
    "normalized": "_result",
    "partial": "_matchers",
    "run_cli": "_cli",
    "standard_router": "_schemas",
}

__all__ = [
    "ABSENT",
    "ANY",
    "Call",
    "Calls",
    "Cassette",
    "CassetteError",
    "CliResult",
    "Expectation",
    "FakeDaemon",
    "Fault",
    "Faults",
    "MemoryDaemon",
    "Mispromise",
    "RealDaemon",
    "Unmet",
    "normalized",
    "partial",
    "run_cli",
    "standard_router",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)

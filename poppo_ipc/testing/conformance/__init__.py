"""Checks of the wire contract, for servers and clients in any language.

`poppo-ipc conformance` makes them from the command line, and
`pytest --pyargs poppo_ipc.testing.conformance --poppo-socket PATH` those of a server as tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from poppo_ipc._lazy import lazily

if TYPE_CHECKING:
    from poppo_ipc.testing.conformance._client import check_client as check_client
    from poppo_ipc.testing.conformance._client import client_checks as client_checks
    from poppo_ipc.testing.conformance._findings import Finding as Finding
    from poppo_ipc.testing.conformance._findings import Report as Report
    from poppo_ipc.testing.conformance._findings import Status as Status
    from poppo_ipc.testing.conformance._router import conformance_router as conformance_router
    from poppo_ipc.testing.conformance._server import check_server as check_server
    from poppo_ipc.testing.conformance._server import server_checks as server_checks

_HOMES = {
    "Finding": "_findings",
    "Report": "_findings",
    "Status": "_findings",
    "check_client": "_client",
    "check_server": "_server",
    "client_checks": "_client",
    "conformance_router": "_router",
    "server_checks": "_server",
}

__all__ = [
    "Finding",
    "Report",
    "Status",
    "check_client",
    "check_server",
    "client_checks",
    "conformance_router",
    "server_checks",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)

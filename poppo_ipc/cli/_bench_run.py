"""Asking again and again: one question at a time without an event loop, several at a time on Trio."""

from __future__ import annotations

import time
from functools import partial

import trio

from poppo_ipc.cli._async_client import lasting_client
from poppo_ipc.cli._bench_figures import Figures, Measurement
from poppo_ipc.cli._bench_report import report_object, report_text
from poppo_ipc.cli._connection import Invocation
from poppo_ipc.cli._failures import ExitCode, failure_of
from poppo_ipc.cli._interruptible import run_interruptible
from poppo_ipc.client import Client, ServerInfo
from poppo_ipc.errors import CommandError

__all__ = ["measure"]


def measure(invocation: Invocation, what: Measurement) -> int:
    """Measure, and show the figures; gives the exit code. Raises what the client raises.

    A command that fails at the first time is not measured: a `Failure` says why.
    """
    figures = Figures(what)
    code = ExitCode.DONE
    try:
        if what.in_flight == 1:
            _one_at_a_time(invocation, figures)
        else:
            run_interruptible(partial(_several_at_a_time, invocation, figures))
    except KeyboardInterrupt:
        if not figures.spread.count:
            raise
        code = ExitCode.INTERRUPTED
    invocation.output.show(report_object(figures), text=lambda _, style, width: report_text(figures, style, width))
    return code


def _one_at_a_time(invocation: Invocation, figures: Figures) -> None:
    what, now = figures.what, time.perf_counter
    with invocation.client() as client:
        try:
            client.call(what.command, what.args, idempotent=True)
        except CommandError as error:
            raise failure_of(error, what.command) from error
        figures.server = _server_text(client.server)
        figures.begin(now())
        going = True
        while going:
            failed = None
            began = now()
            try:
                # Idempotent for the client: a key for each would have the daemon keep each answer.
                client.call(what.command, what.args, idempotent=True)
            except CommandError as error:
                failed = error.code
            going = figures.add(began, now(), failed)


async def _several_at_a_time(invocation: Invocation, figures: Figures) -> None:
    what = figures.what
    async with lasting_client(invocation, reconnect=False) as client:
        try:
            await client.call(what.command, what.args, idempotent=True)
        except CommandError as error:
            raise failure_of(error, what.command) from error
        figures.server = _server_text(client.server)
        figures.begin(time.perf_counter())
        async with trio.open_nursery() as nursery:
            for _ in range(what.in_flight):
                nursery.start_soon(_ask, client, figures)


async def _ask(client: Client, figures: Figures) -> None:
    what, now = figures.what, time.perf_counter
    going = True
    while going:
        failed = None
        began = now()
        try:
            await client.call(what.command, what.args, idempotent=True)
        except CommandError as error:
            failed = error.code
        going = figures.add(began, now(), failed)


def _server_text(server: ServerInfo) -> str:
    return f"{server.name} {server.version}".strip()

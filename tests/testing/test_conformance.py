"""The checks of the wire contract: our own server and clients pass, and what is wrong in one way is found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from addresses import NATIVE, native_address

from poppo_ipc import Address, Limits, Server, TokenAuth
from poppo_ipc.cli import main
from poppo_ipc.daemon import Daemon, DaemonConfig
from poppo_ipc.testing import RealDaemon, run_cli
from poppo_ipc.testing._thread import TrioThread
from poppo_ipc.testing.conformance import (
    Report,
    Status,
    check_client,
    check_server,
    client_checks,
    conformance_router,
    server_checks,
)

from .small_server import DEFECTS, TOKEN, SmallServer

HERE = Path(__file__).parent
CLIENT = HERE / "programs" / "small_client.py"
PATIENCE = 30.0
#: After which a right server closes a stranger's connection: longer than a check takes to get on with one.
AUTH_SECONDS = 3.0
#: For what never comes.
IMPATIENCE = 0.5
#: What cannot be checked over a pipe, which is closed in both directions at once.
NO_HALF_CLOSE = {"8-half-close"} if NATIVE == "npipe" else set()


@pytest.fixture
def address() -> Iterator[str]:
    """One that nobody has."""
    with native_address() as free:
        yield free


@pytest.fixture(params=["token", "no token"])
def own(request: pytest.FixtureRequest, address: str) -> Iterator[tuple[str, str | None]]:
    token = TOKEN if request.param == "token" else None
    auth = None if token is None else TokenAuth.from_secret(token)
    server = Server(conformance_router(), address=address, auth=auth, limits=Limits(auth_seconds=AUTH_SECONDS))
    thread = TrioThread(server.serve, "conforming")
    thread.start()
    yield address, token
    thread.stop()


def not_offered(report: Report) -> set[str]:
    return {finding.name for finding in report.findings if finding.status is Status.NOT_OFFERED}


def test_our_own_server(own: tuple[str, str | None]) -> None:
    path, token = own
    report = check_server(path, token=token, patience=PATIENCE, auth_seconds=AUTH_SECONDS)
    assert report.ok, report.text()
    assert len(report.findings) == len(server_checks()) > 60
    if token is None:
        assert "4-challenge" in not_offered(report)
        assert "3-no-auth" not in not_offered(report)
    else:
        assert not_offered(report) == {"3-no-auth"} | NO_HALF_CLOSE


def test_our_own_daemon() -> None:
    def make(config: DaemonConfig, auth: str) -> Daemon:
        daemon = Daemon(config, auth=auth)
        daemon.router.include(conformance_router())
        return daemon

    only = ("1-", "2-", "3-auth-required", "3-wrong", "3-re", "3-no-", "3-con", "3-events", "4-", "5-", "6-", "8-")
    with RealDaemon(make) as daemon:
        report = check_server(daemon.address, token=daemon.token, patience=PATIENCE, only=only)
    assert report.ok, report.text()
    assert not_offered(report) == {"3-no-auth"} | NO_HALF_CLOSE


def test_a_small_server_from_scratch(address: str) -> None:
    with SmallServer(address, auth_seconds=AUTH_SECONDS) as server:
        report = check_server(server.address, token=TOKEN, patience=PATIENCE, auth_seconds=AUTH_SECONDS)
    assert report.ok, report.text()
    assert report.counts()["passed"] > 45
    assert report["4-stream"].got == "the server does not offer `stream`"


@pytest.mark.parametrize("defect", DEFECTS)
def test_what_is_wrong_with_a_server_is_found_and_told(address: str, defect: str) -> None:
    only = (DEFECTS[defect],)
    with SmallServer(address, defect) as server:
        report = check_server(server.address, token=TOKEN, patience=IMPATIENCE, auth_seconds=0.2, only=only)
    finding = report[DEFECTS[defect]]
    assert finding.status is Status.FAILED
    told = finding.explain()
    assert f"  expected: {finding.expected}" in told
    assert f"  got:      {finding.got}" in told
    assert finding.expected
    assert finding.got
    assert finding.exchange
    assert not report.ok


NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed; the server in Python is checked all the same")
def test_a_server_in_node(address: str) -> None:
    assert NODE is not None
    command = [NODE, str(HERE / "small_server.js"), Address.parse(address).name, TOKEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            report = check_server(address, token=TOKEN, patience=PATIENCE, auth_seconds=0.3)
        finally:
            process.kill()
    assert report.ok, report.text()
    assert report.counts()["passed"] > 38
    assert report["4-welcome"].status is Status.NOT_OFFERED


# -- clients ------------------------------------------------------------------------------------------------------

SYNC = "from poppo_ipc import SyncClient\nwith SyncClient() as client: client.call('a.b')"
TRIO = """import trio, poppo_ipc
async def main():
    async with poppo_ipc.connect() as client: await client.call('a.b')
trio.run(main)"""
OWN = {
    "sync": [sys.executable, "-c", SYNC],
    "trio": [sys.executable, "-c", TRIO],
    "asyncio": [sys.executable, "-c", TRIO.replace("trio.run(main)", "asyncio.run(main())").replace("trio", "asyncio")],
    "command line": [sys.executable, "-m", "poppo_ipc", "call", "daemon.status"],
}


#: What the client from scratch, which is as an original one, has no use for.
NOT_OF_SMALL = {
    "3-reconnect", "4-none-granted", "4-auth", "4-challenge", "4-server-proof", "4-all", "4-pong",
}  # fmt: skip


def test_there_are_checks_of_clients() -> None:
    names = {check.name for check in client_checks()}
    assert len(names) == len(client_checks()) > 20
    assert names > NOT_OF_SMALL


# Each check is a test, as each starts a program anew.
@pytest.mark.parametrize("check", [check.name for check in client_checks()])
@pytest.mark.parametrize("client", OWN)
def test_our_own_clients(client: str, check: str) -> None:
    report = check_client(OWN[client], patience=PATIENCE, only=(check,))
    assert report[check].status is Status.PASSED, report.text()


@pytest.mark.parametrize("check", [check.name for check in client_checks()])
def test_a_small_client_from_scratch(check: str) -> None:
    report = check_client([sys.executable, str(CLIENT)], patience=PATIENCE, only=(check,))
    assert report[check].status is (Status.NOT_OFFERED if check in NOT_OF_SMALL else Status.PASSED), report.text()


CLIENT_DEFECTS = {
    "sends no timestamp": "1-frames",
    "counts from the wrong end": "1-frames",
    "has long ids": "1-frames",
    "takes each read for whole": "1-pieces",
    "takes any version": "2-other-major",
    "minds unknown fields": "2-unknown-fields",
    "speaks first": "3-welcome-first",
    "shows another token": "1-frames",
    "extends the original": "1-frames",
    "asks although it was refused": "3-auth-failed",
    "takes the first answer": "3-correlation",
    "minds events": "3-events",
    "minds unknown types": "3-unknown-type",
    "tells no errors": "3-error",
    "reads no success": "3-unsuccessful",
    "takes an end for an answer": "3-closed",
}


@pytest.mark.parametrize("defect", CLIENT_DEFECTS)
def test_what_is_wrong_with_a_client_is_found_and_told(defect: str) -> None:
    name = CLIENT_DEFECTS[defect]
    report = check_client([sys.executable, str(CLIENT), defect], patience=5, only=(name,))
    assert report[name].status is Status.FAILED
    assert report[name].expected in report.text()
    assert report[name].got in report.text()


def test_a_client_that_cannot_be_started() -> None:
    report = check_client(["/nowhere/at-all"], only=("1-frames",))
    assert report["1-frames"].status is Status.FAILED
    assert "/nowhere/at-all" in report["1-frames"].got


# -- from the command line, and as tests ----------------------------------------------------------------------------

POPPO = [sys.executable, "-m", "poppo_ipc", "conformance"]


def conformance(arguments: list[str]) -> int:
    """The same in this process, which is much cheaper."""
    return main(["conformance", *arguments])


def test_the_command(address: str) -> None:
    with SmallServer(address, "takes NaN") as server:
        env = {"POPPO_SOCKET": server.address, "POPPO_TOKEN": TOKEN}
        some = run_cli(POPPO, ["--only", "1-bad", "--only", "4-stream", "--json"], env=env)
        assert some.exit_code == 0
        assert some.json["counts"] == {"passed": 5, "failed": 0, "not offered": 2}
        bad = run_cli(conformance, ["--only", "1-nan"], env=env)
        assert bad.exit_code == 1
        assert bad.json["checks"][0]["status"] == "failed"
        assert run_cli(conformance, ["--only", "of-nothing"], env=env).exit_code == 2
        assert run_cli(conformance, ["--use", "wait"], env=env).exit_code == 2
        assert run_cli(conformance, ["--client"], env=env).exit_code == 2
        used = run_cli(conformance, ["--only", "3-response", "--use", 'echo=conformance.echo {"a": 1}'], env=env)
        assert used.json["counts"]["passed"] == 1
    ran = run_cli(conformance, ["--client", "--only", "1-pieces", "--", sys.executable, str(CLIENT), "minds events"])
    assert ran.json["counts"]["passed"] == 1
    listed = run_cli(conformance, ["--list"]).json
    assert [each["name"] for each in listed] == [each.name for each in server_checks()]


def test_a_server_that_is_not_there(address: str) -> None:
    ran = run_cli(conformance, ["--only", "3-welcome", "--socket", address])
    assert ran.exit_code == 1
    assert "there is no such" in json.loads(ran.stdout)["checks"][0]["got"]


def test_the_token_is_never_shown(address: str) -> None:
    with SmallServer(address, "answers pings without their id") as server:
        report = check_server(server.address, token=TOKEN, only=("4-ping",))
    assert "<token>" in report.text()
    assert TOKEN not in json.dumps(report.as_json())


def test_as_tests_of_pytest(address: str, tmp_path: Path) -> None:
    with SmallServer(address, "takes NaN") as server:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--pyargs",
            "poppo_ipc.testing.conformance",
            "-p",
            "no:cacheprovider",
        ]
        chosen = ["-k", "1-bad-json or 1-nan or 4-credit", "--poppo-socket", server.address]
        ran = run_cli([*command, *chosen], env={"POPPO_TOKEN": TOKEN}, cwd=tmp_path)
    assert ran.exit_code == 1
    assert "1 failed, 1 passed, 1 skipped" in ran.stdout
    assert "expected: `error` BAD_MESSAGE with id null" in ran.stdout
    ran = run_cli([*command, "-k", "1-nan"], cwd=tmp_path)
    assert "--poppo-socket PATH" in ran.stdout + ran.stderr

"""`serve`, as a real process: how it starts, what it says, how it ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import trio
import trio.testing
from rights import REMEDY, open_to_everyone

from poppo_ipc import AuthenticationError, Event, SyncClient, generate_token
from poppo_ipc.cli import _serve
from poppo_ipc.cli._logfile import LateFile
from poppo_ipc.commands.standard import DAEMON_STATUS
from poppo_ipc.daemon import DaemonConfig
from poppo_ipc.daemon.monitoring import daemon_logging
from poppo_ipc.transport._private import why_not_private

from .processes import READY, Program, Serve, at, run, told

SERVE = (sys.executable, "-m", "poppo_ipc", "serve")


@pytest.mark.trio
async def test_a_listener_that_does_not_close_does_not_hold_up_the_end(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing is shielded, and had no end of its own."""

    class Stuck:
        async def aclose(self) -> None:
            await trio.sleep(1000)

    async def stuck(_: object) -> Stuck:
        return Stuck()

    async def ends_at_once(*_: object) -> None:
        pass

    monkeypatch.setattr(_serve, "_listener", stuck)
    monkeypatch.setattr(_serve._Running, "_serve_on", ends_at_once)
    config = DaemonConfig()
    with daemon_logging() as logs:
        await _serve._Running(_serve.ServeOptions(), config, logs, LateFile(), False).run()
    assert trio.current_time() == config.limits.flush_seconds


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_ends_in_order(place: Path, number: signal.Signals) -> None:
    with Serve(place / "sock") as daemon:
        daemon.until_ready()
        with daemon.client() as client:
            status = client.call(DAEMON_STATUS)
            assert (status.pid, status.status) == (daemon.pid, "running")
            events = client.subscribe("daemon.*", timeout=10)
            daemon.send(number)
            event = next(iter(events))
            assert isinstance(event, Event)
            assert event.name == "daemon.stopping"
            assert event.data == {"pid": daemon.pid, "reason": number.name}
        assert daemon.wait() == 0
    assert not daemon.is_there


def test_the_command_daemon_stop_ends_it_in_order(place: Path) -> None:
    with Serve(place / "sock") as daemon:
        daemon.until_ready()
        with daemon.client() as client:
            assert client.call("daemon.stop") == {"message": "Daemon shutdown initiated"}
        assert daemon.wait() == 0


def test_a_second_one_is_refused_by_the_pid_of_the_first_which_goes_on(place: Path) -> None:
    with Serve(place / "sock") as first:
        first.until_ready()
        with Serve(place / "sock") as second:
            assert second.wait() == 1
        assert len(second.lines) == 1
        assert f"process {first.pid} " in second.output
        with first.client() as client:
            assert client.call("daemon.status")["pid"] == first.pid
        first.stop()


def test_one_that_was_killed_is_followed_by_another_on_the_same_socket(place: Path) -> None:
    with Serve(place / "sock") as first:
        first.until_ready()
        first.kill()
    assert first.is_there is (sys.platform != "win32")
    with Serve(place / "sock") as second:
        second.until_ready()
        with second.client() as client:
            assert client.call("daemon.status")["pid"] == second.pid
        second.stop()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Usage: poppo-ipc"),
        (("sevre",), "poppo-ipc: There is no command 'sevre'. Did you mean serve or service? See poppo-ipc --help."),
        (("serve", "--port", "80"), "poppo-ipc: There is no option --port."),
        (("serve", "--metr", "0"), "poppo-ipc: There is no option --metr. Did you mean --metrics"),
        (("demo", "--plain", "--json"), "poppo-ipc: --plain and --json exclude one another."),
    ],
)
def test_wrong_usage_is_told_and_exits_2(arguments: tuple[str, ...], says: str) -> None:
    code, output = run(sys.executable, "-m", "poppo_ipc", *arguments)
    assert code == 2
    assert output.startswith(says)


def test_a_token_is_made_for_its_owner_alone_and_told_to_nobody(place: Path) -> None:
    with Serve(place / "sock", "--log-level", "debug") as first:
        first.until_ready()
        file = first.state / "token"
        token = file.read_text().strip()
        with first.client() as client:
            client.call("daemon.status")
        with pytest.raises(AuthenticationError), first.client("wrong" + token):
            pass
        first.stop()
    assert why_not_private(str(file)) is None
    assert f"POPPO_TOKEN_FILE={file}" in first.output
    assert token not in first.output
    with Serve(place / "sock") as second:
        second.until_ready()
        with second.client(token) as client:
            client.call("daemon.status")
        second.stop()
    assert "POPPO_TOKEN_FILE" not in second.output


@pytest.mark.parametrize("by", ["option", "POPPO_TOKEN_FILE", "POPPO_TOKEN"])
def test_a_token_of_ones_own(place: Path, by: str) -> None:
    token = generate_token(place / "own")
    options = ("--token-file", place / "own") if by == "option" else ()
    env = {"POPPO_TOKEN_FILE": str(place / "own"), "POPPO_TOKEN": token}
    with Serve(place / "sock", *options, env={by: env[by]} if by in env else None) as daemon:
        daemon.until_ready()
        with daemon.client(token) as client:
            client.call("daemon.status")
        daemon.stop(token)
    assert not (daemon.state / "token").exists()
    assert token not in daemon.output


def test_without_authentication_it_says_so(place: Path) -> None:
    with Serve(place / "sock", "--no-auth") as daemon:
        daemon.until_ready()
        with daemon.client() as client:
            assert client.call("daemon.status")["pid"] == daemon.pid
        daemon.stop()
    assert "Serving with no token" in daemon.output
    assert not (daemon.state / "token").exists()


def test_a_token_file_that_others_can_read_is_refused_and_nothing_is_left(place: Path) -> None:
    generate_token(place / "open")
    open_to_everyone(place / "open")
    with Serve(place / "sock", "--token-file", place / "open") as daemon:
        assert daemon.wait() == 1
    assert len(daemon.lines) == 1
    assert daemon.output.startswith(f"poppo-ipc: Token file {place / 'open'} is open to ")
    assert f"; run: {REMEDY} " in daemon.output
    assert not daemon.is_there


def test_a_path_too_long_for_a_socket_is_refused_with_its_length(place: Path) -> None:
    long = place / ("x" * 120)
    with Serve(long) as daemon:
        assert daemon.wait() == 1
    assert len(daemon.lines) == 1
    assert str(len(os.fsencode(long))) in daemon.output


def test_a_state_directory_that_is_a_file_is_refused_in_one_line(place: Path) -> None:
    (place / "state").write_text("")
    with Serve(place / "sock") as daemon:
        assert daemon.wait() == 1
    assert len(daemon.lines) == 1
    assert str(place / "state") in daemon.output


def test_the_default_address_is_that_of_the_environment(place: Path) -> None:
    environ = {"POPPO_SOCKET": at(place / "else"), "POPPO_STATE_DIR": str(place / "state")}
    with Program(*SERVE, env=environ) as daemon:
        assert daemon.wait_for(READY) == told(place / "else")
        with SyncClient(at(place / "else"), token=(place / "state" / "token").read_text().strip()) as client:
            client.call("daemon.stop")
        assert daemon.wait() == 0
    assert (place / "state" / "token").exists()

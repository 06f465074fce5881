"""`start`: a daemon in the background, once, or the reason why not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from rights import open_to_everyone

from poppo_ipc import Address, SyncClient
from poppo_ipc.client._beside import beside

from .processes import PATIENCE, Program, Serve, at, end_of, environment, told
from .program import PROGRAM, Shell, on_terminal, to_the_end

Left = Callable[[], list[int]]
#: Programs at once: under wine the start of each takes seconds of a processor.
MANY = 4 if sys.platform == "win32" else 10
#: Seconds for a daemon that is held at its start: enough to come that far, which takes longer under wine.
TOO_SHORT = "10" if sys.platform == "win32" else "0.5"


@pytest.fixture
def shell(place: Path, no_leftovers: Left) -> Shell:
    return Shell({"POPPO_SOCKET": at(place / "sock"), "POPPO_STATE_DIR": str(place / "state"), "POPPO_WORKERS": "0"})


#: What Python runs first, of a name that the tests themselves do not need: in a virtual environment there is no other.
CUSTOM = "usercustomize.py" if sys.platform == "win32" else "sitecustomize.py"
WAITING = """
import socket, sys
if "--detached" in sys.orig_argv:
    with socket.create_connection(("127.0.0.1", {port})) as gate:
        gate.recv(1)
"""


class Gate:
    """The daemon comes here before anything else, and waits until it is open."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Wait until a daemon waits; at the end of the block it goes on."""
        with self._listener.accept()[0]:
            yield


@pytest.fixture
def gate(place: Path, shell: Shell) -> Iterator[Gate]:
    """Holds a start where it is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        (place / "site").mkdir()
        (place / "site" / CUSTOM).write_text(WAITING.format(port=listener.getsockname()[1]))
        shell.env["PYTHONPATH"] = str(place / "site")
        yield Gate(listener)


def kept(place: Path) -> Path:
    """What `start` keeps for `restart`."""
    return Path(beside(Address.parse(at(place / "sock")), ".started"))


@contextmanager
def greeting(path: Path, text: bytes) -> Iterator[None]:
    """Something else that listens, and says this to everybody."""
    if sys.platform == "win32":
        raise NotImplementedError
    over = threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen(64)

        def serve() -> None:
            with ExitStack() as kept:
                while not over.is_set():
                    client = kept.enter_context(listening.accept()[0])
                    with suppress(BrokenPipeError):
                        client.send(text)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            over.set()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
                last.connect(str(path))
                thread.join(PATIENCE)
            path.unlink()


def test_it_tells_where_its_token_is_and_runs_on_alone(place: Path, shell: Shell) -> None:
    begun = shell.run("start")
    token = place / "state" / "token"
    assert begun.err == f"made a token in {token}; clients get it by POPPO_TOKEN_FILE={token}\n"
    pid = shell.ask("call", "daemon.status").json["pid"]
    assert begun.json == {"started": True, "pid": pid, "address": told(place / "sock")}
    assert shell.run("start").json == {"started": False, "pid": pid, "address": told(place / "sock")}
    assert shell.run("stop").json["stopped"] is True
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_it_runs_on_alone_with_nothing_of_whoever_started_it(place: Path, shell: Shell) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    with (place / "ours").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        ran = subprocess.run(
            [*PROGRAM, "start"], capture_output=True, text=True, env=environment(shell.env), pass_fds=[file.fileno()]
        )
    assert ran.returncode == 0, ran.stderr
    process = psutil.Process(shell.ask("call", "daemon.status").json["pid"])
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    assert process.cwd() == "/"
    assert process.terminal() is None
    if sys.platform == "linux":
        assert "Umask:\t0077\n" in Path(f"/proc/{process.pid}/status").read_text()
        open_files = {fd: os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")}
        assert [open_files[fd] for fd in "012"] == ["/dev/null", *[f"{place}/state/logs/stderr.log"] * 2]
        assert f"{place}/ours" not in open_files.values()


def test_a_start_that_fails_says_what_serve_says_and_leaves_nothing(
    place: Path, shell: Shell, no_leftovers: Left
) -> None:
    for arguments, code in ((("--workers", "x"), 2), ((), 1)):
        (place / "state").mkdir(exist_ok=True)
        open_to_everyone(place / "state")
        started, served = shell.run("start", *arguments), shell.run("serve", *arguments)
        assert (started.code, started.out) == (code, "")
        assert started.err == served.err.splitlines()[-1] + "\n"
        assert no_leftovers() == []
    assert not (place / "sock").exists()
    shutil.rmtree(place / "state")
    assert shell.run("start").json["started"] is True


def test_of_many_at_once_one_starts_it_and_all_say_that_it_runs(shell: Shell) -> None:
    programs = [
        subprocess.Popen(
            [*PROGRAM, "start"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(shell.env)
        )
        for _ in range(MANY)
    ]
    said = [program.communicate(timeout=PATIENCE) for program in programs]
    assert [program.returncode for program in programs] == [0] * MANY, said
    assert sorted(b'"started": true' in out for out, _ in said) == [False] * (MANY - 1) + [True]
    pid = shell.ask("call", "daemon.status").json["pid"]
    assert all(f'"pid": {pid},'.encode() in out for out, _ in said)


def test_its_end_in_the_middle_leaves_a_daemon_that_runs_and_no_lock(place: Path, shell: Shell, gate: Gate) -> None:
    with Program(*PROGRAM, "start", env=shell.env) as starter, gate.closed():
        starter.kill()
    # Whichever of the two daemons is the quicker one has the socket, and the other one ends.
    del shell.env["PYTHONPATH"]
    begun = shell.run("start").json
    assert shell.ask("call", "daemon.status").json["pid"] == begun["pid"]


def test_one_that_is_not_ready_in_time_is_ended(shell: Shell, gate: Gate, no_leftovers: Left) -> None:
    with Program(*PROGRAM, "start", "--timeout", TOO_SHORT, env=shell.env) as starter:
        with gate.closed():
            assert starter.wait() == 5
        said = f"poppo-ipc: The daemon was not ready within {TOO_SHORT} s, and was ended. See "
        assert starter.output.startswith(said)
    assert no_leftovers() == []
    del shell.env["PYTHONPATH"]
    assert shell.run("start").json["started"] is True


def test_ctrl_c_ends_what_it_started(shell: Shell, gate: Gate, no_leftovers: Left) -> None:
    with Program(*PROGRAM, "start", env=shell.env) as starter, gate.closed():
        starter.send(signal.SIGINT)
        assert starter.wait() == 130
    assert no_leftovers() == []


def test_a_daemon_with_another_token_is_told_of_and_left_alone(place: Path, shell: Shell) -> None:
    with Serve(place / "sock", "--workers", "0", env={"POPPO_TOKEN": "a" * 40}) as daemon:
        daemon.until_ready()
        ran = shell.run("start", env={"POPPO_TOKEN": "b" * 40})
        assert (ran.code, ran.out) == (1, "")
        what = f"What runs at {told(place / 'sock')} is not the daemon that was to be started"
        assert ran.err.startswith(f"poppo-ipc: {what}")
        with daemon.client("a" * 40) as client:
            assert client.call("daemon.status")["pid"] == daemon.pid
        daemon.stop("a" * 40)


@pytest.mark.parametrize(
    ("text", "says"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not the daemon that was to be started"), (b"", "did not greet within")],
)
def test_what_speaks_otherwise_is_told_of_and_left_alone(
    place: Path, shell: Shell, text: bytes, says: str, no_leftovers: Left
) -> None:
    with greeting(place / "sock", text):
        ran = shell.run("start", "--timeout", "0.5")
        assert (ran.code, ran.out) == (1, "")
        assert says in ran.err
        assert no_leftovers() == []


def test_one_that_was_killed_is_followed_by_another(place: Path, shell: Shell) -> None:
    first = shell.run("start").json
    psutil.Process(first["pid"]).kill()
    end_of(at(place / "sock"))
    second = shell.run("start").json
    assert second["started"] is True
    assert second["pid"] != first["pid"]


def test_the_end_of_the_terminal_leaves_it_alive(place: Path, shell: Shell) -> None:
    terminal = on_terminal(["/bin/sh"], shell.env)
    terminal.sendline(" ".join([*PROGRAM, "start"]))
    terminal.expect(r"The daemon has started \(pid (\d+)\) at ")
    assert isinstance(terminal.match, re.Match)
    pid = int(terminal.match[1])
    terminal.sendintr()
    terminal.close(force=True)
    assert shell.ask("call", "daemon.status").json["pid"] == pid


READING = [
    ("status",), ("health",), ("metrics",), ("logs",), ("projects", "list"), ("tasks", "list"), ("queue", "status"),
    ("workers", "list"), ("call", "daemon.status"), ("commands",), ("describe",), ("doctor",), ("stop",), ("reload",),
    ("completion", "bash"), ("service", "--print"), ("--help",), ("start", "--help"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", READING)
def test_nothing_but_start_and_restart_starts_one(
    place: Path, shell: Shell, arguments: tuple[str, ...], no_leftovers: Left
) -> None:
    shell.ask(*arguments)
    assert list(place.iterdir()) == []
    assert no_leftovers() == []


def test_completion_starts_none(place: Path, shell: Shell, no_leftovers: Left) -> None:
    asks = {"_POPPO_IPC_COMPLETE": "bash_complete", "COMP_WORDS": "poppo-ipc tasks show ", "COMP_CWORD": "3"}
    shell.ask(env=asks)
    assert list(place.iterdir()) == []
    assert no_leftovers() == []


def test_restart_keeps_the_settings_and_clients_go_on(place: Path, shell: Shell) -> None:
    (place / "c.toml").write_text("[queue]\nmax_attempts = 7\n")
    plain = Shell({name: value for name, value in shell.env.items() if name != "POPPO_WORKERS"})
    first = plain.run("start", "--config", place / "c.toml", "--log-level", "warning", env={"POPPO_WORKERS": "1"}).json
    token = (place / "state" / "token").read_text().strip()
    with SyncClient(at(place / "sock"), token=token) as client:
        assert client.call("daemon.status")["pid"] == first["pid"]
        second = plain.run("restart").json
        status = client.call("daemon.status")
        assert status["pid"] == second["pid"] != first["pid"]
        assert status["config"] == {"maxProcesses": 1, "logLevel": "warning", "port": None}
        task = client.call("task.submit", type="command", payload={"argv": ["true"]})["taskId"]
        assert client.call("task.status", taskId=task)["maxAttempts"] == 7
        third = plain.run("restart", "--log-level=error").json
        status = client.call("daemon.status")
        assert (status["pid"], status["config"]["logLevel"]) == (third["pid"], "error")
        assert status["config"]["maxProcesses"] == 1


def test_restart_with_wrong_settings_leaves_the_old_one_running(place: Path, shell: Shell) -> None:
    first = shell.run("start").json
    ran = shell.run("restart", "--workers", "many")
    assert (ran.code, ran.out) == (2, "")
    assert shell.ask("call", "daemon.status").json["pid"] == first["pid"]


def test_restart_starts_one_where_none_runs_and_keeps_a_token_to_itself(place: Path, shell: Shell) -> None:
    token = {"POPPO_TOKEN": "t" * 40}
    first = shell.run("restart", env=token).json
    assert first["started"] is True
    assert "t" * 40 not in kept(place).read_text()
    assert shell.run("restart", env=token).json["pid"] != first["pid"]
    assert shell.ask("call", "daemon.status", env=token).code == 0
    assert shell.ask("call", "daemon.status").code == 4


def test_restart_of_what_start_did_not_start_uses_what_is_given(place: Path, shell: Shell) -> None:
    kept(place).parent.mkdir(parents=True, exist_ok=True)
    kept(place).write_text("{}")
    with Serve(place / "sock", "--workers", "1") as daemon:
        daemon.until_ready()
        begun = shell.run("restart", "--log-level", "error").json
        assert daemon.wait() == 0
    assert begun["started"] is True
    assert shell.ask("call", "daemon.status").json["config"] == {"maxProcesses": 0, "logLevel": "error", "port": None}


def test_relative_paths_lead_where_they_were_typed(place: Path, no_leftovers: Left) -> None:
    with Program("/bin/sh", "-c", 'cd "$0" && shift && exec "$@"', place, "x", *PROGRAM, "start", "--socket", "s",
                 "--state-dir", "st", "--workers", "0") as ran:  # fmt: skip
        assert ran.wait() == 0, ran.output
    assert (place / "st" / "state.db").exists()
    assert (place / "s").is_socket()


def test_stop_says_on_a_terminal_what_it_waits_for_and_what_to_do(place: Path, shell: Shell) -> None:
    pid = shell.run("start", "--workers", "1", "--stop-grace", "3600").json["pid"]
    token = (place / "state" / "token").read_text().strip()
    with SyncClient(at(place / "sock"), token=token) as client:
        events = client.subscribe("task.started", timeout=PATIENCE)
        client.call("task.submit", type="command", payload={"argv": ["sleep", "600"]})
        next(iter(events))
    terminal = shell.terminal("stop", "--timeout", "3")
    terminal.expect_exact(f"waiting for the daemon (pid {pid}) to finish what runs")
    terminal.expect_exact(f"or end it with kill {pid}, and a second time to end it at once")
    to_the_end(terminal)
    assert terminal.exitstatus == 5
    assert psutil.pid_exists(pid)

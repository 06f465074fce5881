"""`service`: files that the service managers take, and that start a daemon which works."""

from __future__ import annotations

import configparser
import plistlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from poppo_ipc import Address, SyncClient
from poppo_ipc.cli._gone import wait_until_gone

from .processes import PATIENCE, READY, Program, at
from .program import Shell

LAUNCHER = Path(__file__).with_name("activation.py")


@pytest.fixture
def settings(place: Path) -> tuple[str, ...]:
    odd = place / 'st "at" $e %h'
    return ("--socket", at(place / "sock"), "--state-dir", str(odd), "--workers", "0", "--stop-grace", "7")


def unit(text: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(text)
    return found


def test_the_units_socket_and_command_start_a_daemon_that_tells_systemd(place: Path, settings: tuple[str, ...]) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    service, sock = (unit(file["text"]) for file in Shell({}).ask("service", "--print", "--systemd", "--json",
                                                                   *settings).json)  # fmt: skip
    command = [each.replace("%%", "%").replace("$$", "$") for each in shlex.split(service["Service"]["ExecStart"])]
    assert command[:4] == [sys.executable, "-m", "poppo_ipc", "serve"]
    assert service["Service"]["Type"] == "notify-reload"
    assert service["Service"]["TimeoutStopSec"] == "22"
    path = Path(sock["Socket"]["ListenStream"])
    seconds = int(service["Service"]["WatchdogSec"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place / "notify"))
        manager.settimeout(PATIENCE)
        env = {"NOTIFY_SOCKET": str(place / "notify"), "WATCHDOG_USEC": str(seconds * 1_000_000)}
        with Program(sys.executable, LAUNCHER, "1", path, *command[4:], env=env) as daemon:
            assert daemon.wait_for(READY) == f"unix:{path}"
            heard = {manager.recv(4096).decode().splitlines()[0] for _ in range(2)}
            assert heard == {"READY=1", "WATCHDOG=1"}
            state = place / 'st "at" $e %h'
            with SyncClient(path, token=(state / "token").read_text().strip()) as client:
                assert client.call("daemon.status")["config"]["maxProcesses"] == 0
            daemon.send(signal.SIGTERM)
            assert daemon.wait() == 0
    assert path.is_socket()


def test_systemd_has_nothing_against_the_units(place: Path, settings: tuple[str, ...]) -> None:
    shell = Shell({"XDG_CONFIG_HOME": str(place), "XDG_RUNTIME_DIR": str(place)})
    written = shell.ask("service", "--systemd", *settings).json["written"]
    assert [Path(each).name for each in written] == ["poppo-ipc.service", "poppo-ipc.socket"]
    tool = shutil.which("systemd-analyze")
    if tool is not None:
        ran = subprocess.run([tool, "verify", "--user", *written], capture_output=True, text=True)
        complaints = [line for line in ran.stderr.splitlines() if str(place) in line or "poppo-ipc" in line]
        # Before 253 there was no such type; the line before it holds then.
        assert [line for line in complaints if not line.endswith("service type, ignoring: notify-reload")] == []


def test_the_printed_units_are_those_that_are_written(place: Path, settings: tuple[str, ...]) -> None:
    shell = Shell({"XDG_CONFIG_HOME": str(place)})
    printed = shell.ask("service", "--print", "--systemd", *settings).out
    home = place / "systemd" / "user"
    assert not home.exists()
    assert shell.ask("service", "--systemd", *settings).code == 0
    parts = re.split(r"^# /.*\n", printed, flags=re.MULTILINE)[1:]
    names = ("poppo-ipc.service", "poppo-ipc.socket")
    assert [part.strip() for part in parts] == [(home / name).read_text().strip() for name in names]


@pytest.mark.parametrize(
    ("manager", "address", "name"),
    [
        ("systemd", "{}/sock", "systemd/user/poppo-ipc.service"),
        ("schtasks", "npipe:it", ".poppobuilder/poppo-ipc.xml"),
    ],
    ids=["systemd", "schtasks"],
)
def test_files_that_say_something_else_are_left_alone(place: Path, manager: str, address: str, name: str) -> None:
    shell = Shell(dict.fromkeys(("XDG_CONFIG_HOME", "HOME", "USERPROFILE"), str(place)))
    asked = ("service", f"--{manager}", "--socket", address.format(place), "--workers", "0")
    assert shell.ask(*asked).code == 0
    assert shell.ask(*asked).code == 0
    file = place / name
    file.write_text("mine")
    ran = shell.ask(*asked)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"poppo-ipc: There is already {file}, and it says something else.")
    assert file.read_text() == "mine"


def test_launchd_gets_a_property_list(place: Path, settings: tuple[str, ...]) -> None:
    text = Shell({}).ask("service", "--print", "--launchd", *settings).out
    agent = plistlib.loads(text.encode())
    assert agent["ProgramArguments"] == [
        sys.executable, "-m", "poppo_ipc", "serve", f"--state-dir={place}/st \"at\" $e %h", "--workers=0",
        "--stop-grace=7", f"--socket={place}/sock",
    ]  # fmt: skip
    assert (agent["RunAtLoad"], agent["KeepAlive"], agent["Umask"]) == (True, {"SuccessfulExit": False}, 0o077)


def test_wrong_settings_are_told(place: Path) -> None:
    ran = Shell({}).ask("service", "--print", "--workers", "x")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "poppo-ipc: --workers: workers: expected a whole number, got 'x'\n"


def test_the_wait_for_the_end_of_an_activated_daemon_does_not_activate_the_next(place: Path) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    path = place / "sock"
    with Program(sys.executable, "-c", "input()") as ended:
        assert ended.wait() == 1
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(path))
            listening.listen()
            listening.setblocking(False)
            assert wait_until_gone(Address.parse(path), PATIENCE, pid=ended.pid)
            with pytest.raises(BlockingIOError):
                listening.accept()


def test_the_task_scheduler_gets_a_task_that_starts_at_logon(place: Path) -> None:
    settings = ("--socket", "npipe:of a & b", "--state-dir", str(place / "a & b"), "--workers", "0")
    ran = Shell({}).ask("service", "--print", "--schtasks", "--json", *settings, env={"USERDOMAIN": "HOME"})
    [file] = ran.json
    assert Path(file["path"]).name == "poppo-ipc.xml"
    task = ElementTree.fromstring(file["text"])
    found = {each.tag.rpartition("}")[2]: each.text for each in task.iter() if each.text and each.text.strip()}
    # With a console of its own it would open a window.
    windowless = Path(sys.executable).with_name("pythonw.exe")
    assert found["Command"] == str(windowless if windowless.exists() else sys.executable)
    assert found["Arguments"] == subprocess.list2cmdline(
        ["-m", "poppo_ipc", "serve", f"--state-dir={place / 'a & b'}", "--workers=0", "--socket=npipe:of a & b"]
    )
    assert str(found["UserId"]).startswith("HOME\\")
    assert (found["ExecutionTimeLimit"], found["RunLevel"]) == ("PT0S", "LeastPrivilege")
    assert "LogonTrigger" in file["text"]


def test_a_manager_takes_only_addresses_of_its_own_kind(place: Path) -> None:
    ran = Shell({}).ask("service", "--print", "--systemd", "--socket", "npipe:x")
    assert ran.code == 2
    assert ran.err.startswith("poppo-ipc: systemd runs no daemon at npipe:x.")

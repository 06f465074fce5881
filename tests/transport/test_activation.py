"""Sockets that a service manager handed over: taken as they are, and left behind as they were."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import socket
import subprocess
from pathlib import Path

import pytest

from poppo_ipc.errors import AddressError
from poppo_ipc.transport import (
    Address,
    activated_sockets,
    listen_on,
)
from poppo_ipc.transport import _activation as activation

from ._claims import plain_server as bound

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.anyio


async def test_an_activated_sockets_path_is_not_deleted(short_dir: Path) -> None:
    path = short_dir / "s"
    listener = listen_on(bound(path))
    assert listener.address == Address.parse(path)
    assert listener.still_bound()
    os.utime(path, (1, 1))
    assert not listener.heal()
    assert path.stat().st_mtime > 1
    await listener.aclose()
    assert path.exists()


async def test_an_activated_socket_whose_path_is_gone_cannot_be_healed(short_dir: Path) -> None:
    path = short_dir / "s"
    async with listen_on(bound(path)) as listener:
        path.unlink()
        assert not listener.still_bound()
        with pytest.raises(AddressError, match="service manager"):
            listener.heal()
        with bound(path):
            assert not listener.still_bound()


def test_what_cannot_be_listened_on(short_dir: Path) -> None:
    def refused(sock: socket.socket, why: str) -> None:
        with sock, pytest.raises(AddressError, match=why):
            listen_on(sock)

    refused(socket.socket(), "Not a Unix stream")
    refused(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), "Not a Unix stream")
    refused(socket.socket(socket.AF_UNIX), "does not listen")
    if sys.platform == "linux":
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind(f"\0{short_dir}")
        abstract.listen()
        refused(abstract, "no path")


ACTIVATED = """
import os, sys
from poppo_ipc.errors import AddressError
from poppo_ipc.transport import activated_sockets
environ = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="one:two")
if sys.argv[2:] == ["broken"]:
    os.dup2(os.open("/dev/null", os.O_RDONLY), 4)
    try:
        activated_sockets(environ)
    except AddressError:
        os.fstat(3)
        os.fstat(4)
        print("refused")
    sys.exit()
assert os.get_inheritable(3)
for sock in activated_sockets(dict(environ, LISTEN_PID="1")):
    raise AssertionError("meant for another")
(two,) = activated_sockets(environ, name="two")
assert two.fileno() == 4
two.detach()
one, two = activated_sockets(environ, unset=True)
assert (one.fileno(), two.fileno()) == (3, 4)
assert not one.get_inheritable() and not two.get_inheritable()
assert one.getsockname() == sys.argv[1]
assert not [name for name in environ if name.startswith("LISTEN_")]
print("fine")
"""


@pytest.mark.parametrize("broken", [False, True])
def test_sockets_of_a_service_manager(short_dir: Path, broken: bool) -> None:
    """In a process of its own, as the descriptors have to be 3 and 4."""
    path = f"{short_dir}/s"
    program = f"""
import os, socket, sys
one, two = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
one.bind({path!r})
one.listen()
# High numbers first, so that neither copy overwrites the other's source.
high = [os.dup(fd) for fd in (one.fileno(), two.fileno())]
high = [__import__("fcntl").fcntl(fd, 0, 20) for fd in high]
for fd, target in zip(high, (3, 4)):
    os.dup2(fd, target)
os.execv(sys.executable, [sys.executable, "-c", {ACTIVATED!r}, {path!r}, *{["broken"] if broken else []!r}])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, timeout=30)
    assert (done.stdout, done.stderr) == ("refused\n" if broken else "fine\n", "")


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "7"}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": "8", "LISTEN_FDS": "1"}]
)
def test_no_service_manager(environ: dict[str, str]) -> None:
    assert activated_sockets(environ, 7) == []


def test_variables_that_make_no_sense() -> None:
    with pytest.raises(AddressError, match="no number"):
        activated_sockets({"LISTEN_PID": "7", "LISTEN_FDS": "x"}, 7)


def test_the_variables_are_this_processs_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "_FIRST_FD", 1000)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    with pytest.raises(AddressError, match="1000"):
        activated_sockets()

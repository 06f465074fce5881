"""Addresses: what is understood, what is refused, and how long a path may be."""

from __future__ import annotations

import copy
import os
import pickle
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.errors import AddressError
from poppo_ipc.transport import Address, AddressKind, check_path_length
from poppo_ipc.transport._address import path_limit

PIPE = AddressKind.PIPE


def check(text: str | Path, kind: AddressKind, name: str) -> None:
    address = Address.parse(text)
    assert (address.kind, address.name) == (kind, name)
    assert Address.parse(str(address)) == address
    assert Address.parse(address) is address


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("npipe:daemon", PIPE, "daemon"),
        ("npipe:////./pipe/daemon", PIPE, "daemon"),
        (r"\\.\pipe\daemon", PIPE, "daemon"),
        (r"\\.\PIPE\daemon", PIPE, "daemon"),
        (r"npipe:\\.\pipe\daemon", PIPE, "daemon"),
        ("npipe:My-Daemon.1", PIPE, "my-daemon.1"),
        (r"\\.\pipe\Daemon:x y", PIPE, "daemon:x y"),
        ("npipe:\u0130\u00c9", PIPE, "\u0130\u00c9"),
        ("memory:x", AddressKind.MEMORY, "x"),
        ("memory:X:b", AddressKind.MEMORY, "X:b"),
    ],
)
def test_what_is_understood(text: str, kind: AddressKind, name: str) -> None:
    check(text, kind, name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("unix:/run/a.sock", "/run/a.sock"),
        ("unix:///run/a.sock", "/run/a.sock"),
        ("/run/a.sock", "/run/a.sock"),
        ("/run//./a.sock/", "/run/a.sock"),
        ("/run/../a.sock", "/run/../a.sock"),
        ("//./pipe/daemon", "/pipe/daemon"),
        ("/a b:c", "/a b:c"),
        (Path("/run/a.sock"), "/run/a.sock"),
        (Path("/memory:x"), "/memory:x"),
    ],
)
def test_paths_of_unix(text: str | Path, name: str) -> None:
    check(text, AddressKind.UNIX, name)


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        (r"C:\run\a.sock", AddressKind.UNIX, r"C:\run\a.sock"),
        ("C:/run//./a.sock", AddressKind.UNIX, r"C:\run\a.sock"),
        (r"unix:C:\run\a.sock", AddressKind.UNIX, r"C:\run\a.sock"),
        (r"C:\run\..\a.sock", AddressKind.UNIX, r"C:\a.sock"),
        (r"\\server\share\a.sock", AddressKind.UNIX, r"\\server\share\a.sock"),
        (Path("C:/run/npipe"), AddressKind.UNIX, r"C:\run\npipe"),
        ("//./pipe/Daemon", PIPE, "daemon"),
        (r"\\./PIPE\daemon", PIPE, "daemon"),
    ],
)
def test_paths_of_windows(text: str | Path, kind: AddressKind, name: str) -> None:
    check(text, kind, name)


def test_windows_takes_a_bare_name_from_the_working_directory() -> None:
    assert Address.parse("daemon").name == rf"{os.getcwd()}\daemon"
    assert Address.parse(r".\daemon").name == rf"{os.getcwd()}\daemon"


def refused(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        Address.parse(text)
    assert caught.value.code == "ADDRESS_INVALID"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "unix:",
        "memory:",
        "npipe:",
        "/",
        "/a\0b",
        "\0abstract",
        "memory:\0",
        "npipe:a\0b",
        r"npipe:a\b",
        "npipe:a/b",
        "npipe:" + "x" * 300,
        r"\\.\pipe" + "\\",
        r"\\.\pipe\a\b",
        r"\\other\pipe\daemon",
        "tcp://localhost:80",
        "http://x",
    ],
)
def test_what_is_refused(text: str) -> None:
    refused(text)


@pytest.mark.parametrize("text", ["/\ud800", "~nobody-has-this-name/x"])
def test_what_unix_refuses(text: str) -> None:
    refused(text)


def test_two_cases_of_a_pipes_name_are_one_address() -> None:
    assert Address.parse("npipe:Daemon") == Address(PIPE, "DAEMON") == Address.parse(r"\\.\Pipe\daemon")


def test_a_refusal_says_what_is_allowed() -> None:
    with pytest.raises(AddressError, match=r"unix:/path .*npipe:NAME .*memory:NAME"):
        Address.parse("")


def test_a_path_in_bytes_is_refused() -> None:
    class BytesPath:
        def __fspath__(self) -> bytes:
            return b"/x"

    with pytest.raises(AddressError, match="bytes"):
        Address.parse(BytesPath())  # type: ignore[arg-type]


def test_made_by_hand_it_is_checked_too() -> None:
    with pytest.raises(AddressError):
        Address(AddressKind.UNIX, "relative")


def test_home_and_working_directory(monkeypatch: pytest.MonkeyPatch, short_dir: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(short_dir)
    assert Address.parse("~/d.sock").name == "/home/me/d.sock"
    assert Address.parse("unix:~/d.sock").name == "/home/me/d.sock"
    assert Address.parse("d.sock").name == f"{os.getcwd()}/d.sock"
    assert Address.parse("./memory:x").name == f"{os.getcwd()}/memory:x"


def test_a_relative_path_without_a_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", gone)
    with pytest.raises(AddressError, match="working directory"):
        Address.parse("x")


def test_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    default = "npipe:poppobuilder-daemon" if sys.platform == "win32" else "unix:/home/me/.poppobuilder/daemon.sock"
    monkeypatch.delenv("POPPO_SOCKET", raising=False)
    assert str(Address.default()) == default
    monkeypatch.setenv("POPPO_SOCKET", "")
    assert str(Address.default()) == default
    monkeypatch.setenv("POPPO_SOCKET", "memory:x")
    assert str(Address.default()) == "memory:x"
    assert str(Address.default({"POPPO_SOCKET": "npipe:a"})) == "npipe:a"


def test_addresses_are_values() -> None:
    address = Address.parse("/a")
    assert {address: 1}[Address.parse("unix:/a")] == 1
    assert copy.copy(address) == pickle.loads(pickle.dumps(address)) == address
    with pytest.raises(AttributeError):
        address.name = "/b"  # type: ignore[misc]


@given(st.text())
def test_any_text_is_refused_or_printed_in_a_form_that_means_the_same(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(("platform", "limit"), [("linux", 107), ("darwin", 103), ("freebsd14", 103), ("win32", 107)])
def test_limits(platform: str, limit: int) -> None:
    assert path_limit(platform) == limit


def test_length_is_counted_in_bytes_and_the_error_says_all() -> None:
    limit = path_limit()
    check_path_length("/" + "x" * (limit - 1))
    with pytest.raises(AddressError, match=rf"{limit + 1} bytes.* {limit} .*POPPO_SOCKET") as caught:
        check_path_length("/" + "é" * (limit // 2) + "x" * (limit % 2))
    assert "/éé" in str(caught.value)

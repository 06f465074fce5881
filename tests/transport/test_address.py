"""Addresses: what is understood, what is refused, and how long a path may be."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.errors import AddressError
from poppo_ipc.transport import Address, AddressKind, check_path_length
from poppo_ipc.transport._address import path_limit


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("unix:/run/a.sock", AddressKind.UNIX, "/run/a.sock"),
        ("unix:///run/a.sock", AddressKind.UNIX, "/run/a.sock"),
        ("/run/a.sock", AddressKind.UNIX, "/run/a.sock"),
        ("/run//./a.sock/", AddressKind.UNIX, "/run/a.sock"),
        ("/run/../a.sock", AddressKind.UNIX, "/run/../a.sock"),
        ("/a b:c", AddressKind.UNIX, "/a b:c"),
        ("npipe:daemon", AddressKind.PIPE, "daemon"),
        ("npipe:////./pipe/daemon", AddressKind.PIPE, "daemon"),
        (r"\\.\pipe\daemon", AddressKind.PIPE, "daemon"),
        (r"\\.\PIPE\daemon", AddressKind.PIPE, "daemon"),
        ("memory:x", AddressKind.MEMORY, "x"),
        ("memory:a:b", AddressKind.MEMORY, "a:b"),
        (Path("/run/a.sock"), AddressKind.UNIX, "/run/a.sock"),
        (Path("/memory:x"), AddressKind.UNIX, "/memory:x"),
    ],
)
def test_what_is_understood(text: str | Path, kind: AddressKind, name: str) -> None:
    address = Address.parse(text)
    assert (address.kind, address.name) == (kind, name)
    assert Address.parse(str(address)) == address
    assert Address.parse(address) is address


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
        r"npipe:a\b",
        "npipe:a/b",
        "npipe:" + "x" * 300,
        r"\\other\pipe\daemon",
        "tcp://localhost:80",
        "http://x",
        "/\ud800",
        "~nobody-has-this-name/x",
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        Address.parse(text)
    assert caught.value.code == "ADDRESS_INVALID"


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
    monkeypatch.delenv("POPPO_SOCKET", raising=False)
    assert str(Address.default()) == "unix:/home/me/.poppobuilder/daemon.sock"
    monkeypatch.setenv("POPPO_SOCKET", "")
    assert str(Address.default()) == "unix:/home/me/.poppobuilder/daemon.sock"
    monkeypatch.setenv("POPPO_SOCKET", "memory:x")
    assert str(Address.default()) == "memory:x"
    assert str(Address.default({"POPPO_SOCKET": "/a"})) == "unix:/a"


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

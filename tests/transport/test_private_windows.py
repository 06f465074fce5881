"""Files and directories that are their owner's alone, on Windows."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import os
from pathlib import Path

import pytest

from poppo_ipc._win32.security import Descriptor, own_sid
from poppo_ipc.client import token_from_environment
from poppo_ipc.daemon._parts import private_directory
from poppo_ipc.daemon.store import StoreError
from poppo_ipc.errors import AuthenticationError
from poppo_ipc.server import TokenFileError, generate_token, read_token_file
from poppo_ipc.transport import _private_windows as files
from poppo_ipc.transport._private import make_private_directory, why_not_private

FOR_ALL = "(A;;0x1200a9;;;WD)"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The descriptors that were asked for."""
    found: list[str] = []

    class Noted(Descriptor):
        def __init__(self, sddl: str) -> None:
            found.append(sddl)
            super().__init__(sddl)

    monkeypatch.setattr(files, "Descriptor", Noted)
    return found


def for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made from now on is for everyone to read."""
    usual = files.owner_only

    def open_to_all(*, inherited: bool = False) -> str:
        return usual(inherited=inherited) + FOR_ALL

    monkeypatch.setattr(files, "owner_only", open_to_all)


def test_what_is_asked_for_is_a_protected_list_of_the_owner_and_the_system(tmp_path: Path, asked: list[str]) -> None:
    """Asked for: wine keeps no flag that says that a list is protected."""
    generate_token(tmp_path / "new" / "token")
    me = own_sid()
    assert asked == [
        f"O:{me}D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;{me})",
        f"O:{me}D:P(A;;FA;;;SY)(A;;FA;;;{me})",
    ]


def test_a_token_file_is_private_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    token = generate_token(path)
    assert why_not_private(str(path)) is None
    assert why_not_private(str(path.parent)) is None
    assert read_token_file(path) == token
    assert token_from_environment({"POPPO_TOKEN_FILE": str(path)}) == token


def test_a_token_file_that_others_may_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for_all(monkeypatch)
    generate_token(tmp_path / "token")
    with pytest.raises(TokenFileError, match=r"token is open to .*Everyone.*; run: icacls"):
        read_token_file(tmp_path / "token")
    with pytest.raises(AuthenticationError, match=r"token is open to .*Everyone.*; run: icacls"):
        token_from_environment({"POPPO_TOKEN_FILE": str(tmp_path / "token")})


def test_a_state_directory_is_private_and_one_that_is_not_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private_directory(tmp_path / "a" / "state")
    assert why_not_private(str(tmp_path / "a" / "state")) is None
    private_directory(tmp_path / "a" / "state")
    for_all(monkeypatch)
    with pytest.raises(StoreError, match=r"open is open to .*Everyone.*; run: icacls"):
        private_directory(tmp_path / "open")


def test_a_file_or_directory_that_is_there_is_not_touched(tmp_path: Path) -> None:
    os.close(files.create_private_file(str(tmp_path / "file")))
    with pytest.raises(FileExistsError):
        files.create_private_file(str(tmp_path / "file"))
    with pytest.raises(FileExistsError):
        files.make_private_directory(str(tmp_path / "file"))
    with pytest.raises(NotADirectoryError):
        make_private_directory(str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError):
        files.create_private_file(str(tmp_path / "absent" / "file"))
    with pytest.raises(FileNotFoundError):
        files.open_to_others(str(tmp_path / "absent"))


def test_no_handle_is_left_to_a_child(tmp_path: Path) -> None:
    fd = files.create_private_file(str(tmp_path / "file"))
    try:
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)

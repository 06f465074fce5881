"""Files that hold a token: made whole and private, and refused where they are not."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from poppo_ipc.errors import DeclarationError
from poppo_ipc.server import Token, TokenAuth, TokenFileError, generate_token, read_token_file
from poppo_ipc.transport._private import create_private_file


def test_a_token_is_long_and_new() -> None:
    tokens = {generate_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) >= 43 for token in tokens)


def test_a_file_is_private_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    old = os.umask(0)
    try:
        token = generate_token(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_token_file(path) == token
    assert os.listdir(path.parent) == ["token"]


def test_a_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "token"
    first = generate_token(path)
    with pytest.raises(FileExistsError):
        generate_token(path)
    assert read_token_file(path) == first
    second = generate_token(path, replace=True)
    assert read_token_file(path) == second != first
    assert os.listdir(tmp_path) == ["token"]


def test_of_many_who_make_the_same_file_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "token"
    start = threading.Barrier(8)
    made: list[str] = []
    refused: list[FileExistsError] = []

    def make() -> None:
        start.wait()
        try:
            made.append(generate_token(path))
        except FileExistsError as error:
            refused.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [read_token_file(path)]
    assert len(refused) == 7
    assert os.listdir(tmp_path) == ["token"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    generate_token(path)
    path.chmod(mode)
    with pytest.raises(TokenFileError, match=rf"mode {mode:04o}.*chmod 600"):
        read_token_file(path)


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    path = tmp_path / "token"
    generate_token(path)
    os.chown(path, 12345, -1)
    with pytest.raises(TokenFileError, match=r"another user \(uid 12345\)"):
        read_token_file(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match=r"absent cannot be read: No such file"):
        read_token_file(tmp_path / "absent")


@pytest.mark.parametrize("content", [b"", b" \n\t\n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    os.close(create_private_file(str(path)))
    path.write_bytes(content)
    with pytest.raises(TokenFileError, match="is empty"):
        read_token_file(path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    os.close(create_private_file(str(path)))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TokenFileError, match="is not text"):
        read_token_file(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError):
        read_token_file(tmp_path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(TokenFileError, match="not a plain file"):
        read_token_file(pipe)


def test_white_space_around_a_token_is_not_of_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    os.close(create_private_file(str(path)))
    path.write_text("  secret \n\n")
    assert read_token_file(path) == "secret"


def test_where_a_token_may_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate_token(tmp_path / "token")
    TokenAuth.from_file(tmp_path / "token")
    monkeypatch.setenv("SOME_TOKEN", "x")
    TokenAuth.from_environment("SOME_TOKEN")
    monkeypatch.setenv("SOME_TOKEN", "")
    with pytest.raises(DeclarationError, match="SOME_TOKEN is not set"):
        TokenAuth.from_environment("SOME_TOKEN")


def test_tokens_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DeclarationError):
        TokenAuth()
    with pytest.raises(DeclarationError):
        Token("name", "")
    with pytest.raises(DeclarationError):
        TokenAuth(Token("name", "a"), Token("name", "b"))

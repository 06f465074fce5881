"""The token of the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from poppo_ipc.client import token_from_environment
from poppo_ipc.errors import AuthenticationError
from poppo_ipc.transport._private import create_private_file


def written(path: Path, content: bytes, mode: int = 0o600) -> dict[str, str]:
    path.unlink(missing_ok=True)
    with open(create_private_file(str(path)), "wb") as file:
        file.write(content)
    path.chmod(mode)
    return {"POPPO_TOKEN_FILE": str(path)}


def test_nothing_is_set() -> None:
    assert token_from_environment({}) is None
    assert token_from_environment({"POPPO_TOKEN": "", "POPPO_TOKEN_FILE": ""}) is None


def test_the_variable_goes_before_the_file(tmp_path: Path) -> None:
    environ = written(tmp_path / "t", b"from file\n")
    assert token_from_environment(environ) == "from file"
    assert token_from_environment({**environ, "POPPO_TOKEN": "direct"}) == "direct"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    environ = written(tmp_path / "t", b"secret", mode)
    with pytest.raises(AuthenticationError, match="chmod 600") as caught:
        token_from_environment(environ)
    assert f"{mode:04o}" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_no_token_file(tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError, match="No such file"):
        token_from_environment({"POPPO_TOKEN_FILE": str(tmp_path / "absent")})
    with pytest.raises(AuthenticationError, match="empty"):
        token_from_environment(written(tmp_path / "t", b" \n"))
    with pytest.raises(AuthenticationError, match="UTF-8"):
        token_from_environment(written(tmp_path / "t", b"\xff"))
    with pytest.raises(AuthenticationError, match="Permission denied" if os.name == "nt" else "not a regular file"):
        token_from_environment({"POPPO_TOKEN_FILE": str(tmp_path)})


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(AuthenticationError, match="not a regular file"):  # and does not hang
        token_from_environment({"POPPO_TOKEN_FILE": str(tmp_path / "pipe")})


def test_another_users_file_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    environ = written(tmp_path / "t", b"secret")
    os.chown(tmp_path / "t", 12345, -1)
    with pytest.raises(AuthenticationError, match="another user"):
        token_from_environment(environ)

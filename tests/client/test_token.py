"""The token of the environment."""

from __future__ import annotations

import os
import sys
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
    assert caught.value.token_file == str(tmp_path / "t")


def test_what_is_no_token_file(tmp_path: Path) -> None:
    other = "set POPPO_TOKEN_FILE to the daemon's token file"
    absent, file = tmp_path / "absent", tmp_path / "t"
    assert refusal({"POPPO_TOKEN_FILE": str(absent)}) == (
        f"Cannot read the token file {absent}: No such file or directory; {other}, or make one with poppo-ipc token new"
    )
    again = f"{other}, or make one with poppo-ipc token new --force"
    assert refusal(written(file, b" \n")) == f"The token file {file} is empty; {again}"
    assert refusal(written(file, b"\xff")) == f"The token file {file} is not UTF-8 text; {again}"
    text = refusal({"POPPO_TOKEN_FILE": str(tmp_path)})
    assert ("Permission denied" if os.name == "nt" else "is not a regular file") in text
    assert text.endswith(f"; {other}")


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(AuthenticationError) as caught:
        token_from_environment(environ)
    error = caught.value
    assert error.token_file == environ["POPPO_TOKEN_FILE"]
    assert str(error) == f"{error.what}; {error.remedy}"
    return str(error)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(AuthenticationError, match="not a regular file"):  # and does not hang
        token_from_environment({"POPPO_TOKEN_FILE": str(tmp_path / "pipe")})


def test_another_users_file_is_refused(tmp_path: Path) -> None:
    if sys.platform == "win32" or os.geteuid() != 0:
        pytest.skip("only root can give files away")
    environ = written(tmp_path / "t", b"secret")
    os.chown(tmp_path / "t", 12345, -1)
    with pytest.raises(AuthenticationError, match="another user"):
        token_from_environment(environ)

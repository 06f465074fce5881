"""Which program a command means on Windows, and what it gets of the daemon's environment anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from poppo_ipc.daemon.workers._program import BatchFile, base_environment, command_environment, program_of


def _make(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return str(path)


def test_programs_come_from_the_path_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.pathsep", ";")
    _make(tmp_path / "here" / "tool.exe")
    second = _make(tmp_path / "b" / "tool.exe")
    first = _make(tmp_path / "a" / "tool.exe")
    cwd = str(tmp_path / "here")
    environment = {"PATH": f"{tmp_path / 'a'};;{tmp_path / 'b'}"}
    assert program_of("tool", environment, cwd) == first
    assert program_of("tool.exe", environment, cwd) == first
    assert program_of("tool", {"PATH": str(tmp_path / "b")}, cwd) == second
    with pytest.raises(FileNotFoundError):
        program_of("tool", {"PATH": str(tmp_path)}, cwd)
    with pytest.raises(FileNotFoundError):
        program_of("tool", {}, cwd)


def test_a_name_with_a_directory_is_relative_to_the_commands_own(tmp_path: Path) -> None:
    inside = _make(tmp_path / "sub" / "tool.exe")
    assert Path(program_of("sub/tool", {}, str(tmp_path))) == tmp_path / "sub" / "tool.exe"
    assert program_of(inside, {}, "/elsewhere") == inside


@pytest.mark.parametrize("ending", [".bat", ".cmd", ".CMD"])
def test_a_batch_file_is_refused(tmp_path: Path, ending: str) -> None:
    _make(tmp_path / f"tool{ending}")
    environment = {"PATH": str(tmp_path)}
    with pytest.raises(BatchFile, match="tool"):
        program_of(f"tool{ending}", environment, "/")
    _make(tmp_path / "other.cmd")
    with pytest.raises(BatchFile):
        program_of("other", environment, "/")


def test_a_command_gets_no_secret_of_the_daemon() -> None:
    known = {"PATH": "/p", "HOME": "/h", "LC_ALL": "C", "POPPO_TOKEN": "secret", "SystemRoot": "C:\\Windows"}
    assert base_environment(known, "linux") == {"PATH": "/p", "HOME": "/h", "LC_ALL": "C"}
    assert base_environment({}, "darwin") == {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    assert base_environment(known, "win32") == {"PATH": "/p", "SYSTEMROOT": "C:\\Windows"}


def test_on_windows_the_case_of_a_variable_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/p")
    assert command_environment({"Path": "mine"}, "win32")["PATH"] == "mine"
    assert command_environment({"a": "b"}, "linux")["a"] == "b"

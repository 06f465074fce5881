"""The whole daemon for a test, in a thread and in a process."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from poppo_ipc import ConnectFailed, Context, SyncClient
from poppo_ipc.daemon import Daemon, DaemonConfig
from poppo_ipc.testing import RealDaemon

HELLO = [sys.executable, "-c", "print('hello')"]


@pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])
def test_its_state_is_its_own_and_outlives_a_restart(process: bool, tmp_path: Path) -> None:
    before = dict(os.environ)
    with RealDaemon(process=process, workers=0) as daemon:
        with SyncClient() as client:
            assert client.call("daemon.status")["config"]["maxProcesses"] == 0
            added = client.call("project.add", path=str(tmp_path), name="blog")["project"]
        daemon.restart()
        with daemon.client() as client:
            assert [project["id"] for project in client.call("project.list")["projects"]] == [added["id"]]
        assert daemon.state_dir.is_dir()
        home, address = daemon.home, daemon.address
    assert not home.exists()
    assert dict(os.environ) == before
    with pytest.raises(ConnectFailed), SyncClient(address, token=daemon.token):
        pass


def test_it_runs_tasks() -> None:
    with RealDaemon(), SyncClient() as client:
        task = client.call("task.submit", type="command", payload={"argv": HELLO})["taskId"]
        said = "".join(item["text"] for item in client.stream("task.output", taskId=task))
        assert said.splitlines() == ["hello"]


@pytest.mark.parametrize("with_auth", [True, False])
def test_one_of_the_authors_own_making(with_auth: bool) -> None:
    def make(config: DaemonConfig, auth: str | None = None) -> Daemon:
        daemon = Daemon(config, auth=auth, without={"workers"})

        @daemon.router.command("greet", idempotent=True)
        async def greet(ctx: Context, name: str) -> str:
            return f"Hello, {name}!"

        return daemon

    with RealDaemon(make if with_auth else lambda config: make(config)) as daemon, SyncClient() as client:
        assert client.call("greet", name="Ada") == "Hello, Ada!"
        assert isinstance(daemon.daemon, Daemon)


def test_a_killed_process_can_be_started_again(tmp_path: Path) -> None:
    with RealDaemon(process=True, workers=0) as daemon:
        with daemon.client() as client:
            client.call("project.add", path=str(tmp_path))
        daemon.kill()
        with pytest.raises(ConnectFailed), daemon.client():
            pass
        daemon.start()
        with daemon.client() as client:
            assert client.call("project.list")["count"] == 1


def test_what_excludes_one_another() -> None:
    with pytest.raises(TypeError, match="neither `make` nor `without`"):
        RealDaemon(process=True, without={"workers"})
    with pytest.raises(TypeError, match="either `make` or `without`"):
        RealDaemon(Daemon, without={"workers"})
    with RealDaemon(without={"workers"}, set_environment=False) as daemon:
        assert "POPPO_SOCKET" not in os.environ
        with pytest.raises(RuntimeError, match="runs already"):
            daemon.start()
        with pytest.raises(RuntimeError, match=r"only RealDaemon\(process=True\) can be killed"):
            daemon.kill()
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = daemon.home
    with pytest.raises(RuntimeError, match="no Daemon in this process"):
        _ = daemon.daemon


@pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])
def test_what_keeps_it_from_starting_is_told_and_leaves_nothing(process: bool) -> None:
    threads = set(threading.enumerate())
    daemon = RealDaemon(process=process, log_level="loud")
    with pytest.raises((RuntimeError, ValueError), match="loud"), daemon:
        pass
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = daemon.home
    # Some that tests before have left idle may have ended meanwhile.
    assert set(threading.enumerate()) <= threads
    assert "POPPO_SOCKET" not in os.environ

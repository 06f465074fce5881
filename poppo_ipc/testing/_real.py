"""The whole daemon on a state directory of its own, for tests against the real thing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from poppo_ipc.client import SyncClient
from poppo_ipc.server import generate_token
from poppo_ipc.testing._environment import Environment
from poppo_ipc.testing._place import Place
from poppo_ipc.testing._process import ServeProcess
from poppo_ipc.testing._thread import TrioThread
from poppo_ipc.transport import Address

if TYPE_CHECKING:
    from poppo_ipc.daemon import Daemon

__all__ = ["RealDaemon"]


class _Runner(Protocol):
    """Where a daemon runs."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class RealDaemon:
    """A whole `Daemon`: `with RealDaemon() as daemon:`, and the fixtures `real_daemon` and `real_daemon_session`.

    Its state, socket and token are in a temporary directory, which is deleted at the end; `POPPO_SOCKET` and
    `POPPO_TOKEN` lead to it meanwhile, unless `environment=False`. Needs `pip install 'poppo-ipc[daemon]'`, and for a
    process `poppo-ipc[cli]`.

    Args:
        make: makes the daemon of its settings, for one with commands and tasks of its own: `make(config)`, or
            `make(config, auth=token)` where it has such a parameter.
        process: run `poppo-ipc serve` in a process, and not a thread of this one.
        without: parts to leave out, as `Daemon` has them.
        set_environment: whether the environment leads to it.
        settings: single settings by their names, as `DaemonConfig` has them: `workers=2`, `log_level="debug"`. There is
            one worker, and no grace at the end, unless they say otherwise. In a process they are plain values.

    Raises TypeError for arguments that exclude one another.
    """

    def __init__(
        self,
        make: Callable[..., Daemon] | None = None,
        *,
        process: bool = False,
        without: Collection[str] = (),
        set_environment: bool = True,
        **settings: Any,
    ) -> None:
        if process and (make is not None or without):
            raise TypeError("a daemon in a process is that of `poppo-ipc serve`: give neither `make` nor `without`")
        if make is not None and without:
            raise TypeError("give either `make` or `without`: what makes the daemon leaves parts out itself")
        self.token = generate_token()
        self._make = make
        self._process = process
        self._without = tuple(without)
        self._set_environment = set_environment
        self._settings = {"workers": 1, "stop_grace": 0.0, "kill_grace": 0.5, **settings}
        self._place: Place | None = None
        self._runner: _Runner | None = None
        self._daemon: Daemon | None = None
        self._environment = Environment({})

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Run, on the state that there is; the first time there is none. Blocks until clients can connect.

        Raises what the daemon raises, or RuntimeError with the last lines of its log where it is a process.
        """
        if self._runner is not None:
            raise RuntimeError("this daemon runs already")
        if self._place is None:
            self._place = Place.new()
            if self._set_environment:
                self._environment = Environment(self.environment)
                self._environment.apply()
        self._runner = self._in_process() if self._process else self._in_thread()
        self._runner.start()
        return self

    def stop(self) -> None:
        """End the daemon in order; its state stays, for another `start`. Idempotent."""
        runner, self._runner, self._daemon = self._runner, None, None
        if runner is not None:
            runner.stop()

    def restart(self) -> None:
        """End it, and start another one on its state."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End it at once (by SIGKILL, or TerminateProcess), where it is a process.

        Raises RuntimeError where it is not, or does not run.
        """
        if not isinstance(self._runner, ServeProcess):
            raise RuntimeError("only RealDaemon(process=True) can be killed, while it runs")
        self._runner.kill()
        self._runner = None

    def close(self) -> None:
        """End it, delete its state and set the environment back. Idempotent."""
        self._environment.restore()
        try:
            self.stop()
        finally:
            place, self._place = self._place, None
            if place is not None:
                place.remove()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- where it is --------------------------------------------------------------------------------------------------

    @property
    def home(self) -> Path:
        """The directory that holds its socket (no pipe is in any) and its state."""
        return self._started.directory

    @property
    def state_dir(self) -> Path:
        """Where its state is."""
        return self.home / "state"

    @property
    def socket(self) -> str:
        """Where it listens, as `POPPO_SOCKET` has it: the path of its socket, or `npipe:NAME`."""
        return self._started.socket

    @property
    def address(self) -> Address:
        """The same as an address."""
        return self._started.address

    @property
    def _started(self) -> Place:
        if self._place is None:
            raise RuntimeError("this daemon has not been started: use it as `with RealDaemon() as daemon:`")
        return self._place

    @property
    def environment(self) -> dict[str, str | None]:
        """The variables that lead to it; None for those that must not be set."""
        return {"POPPO_SOCKET": self.socket, "POPPO_TOKEN": self.token, "POPPO_TOKEN_FILE": None}

    @property
    def daemon(self) -> Daemon:
        """The `Daemon`, where it runs in a thread. It belongs to that thread."""
        if self._daemon is None:
            raise RuntimeError("there is no Daemon in this process: it does not run, or in a process of its own")
        return self._daemon

    def client(self, **options: Any) -> SyncClient:
        """A client of it, with the options of `SyncClient`."""
        return SyncClient(self.address, token=self.token, **options)

    # -- where it runs --------------------------------------------------------------------------------------------

    def _in_process(self) -> _Runner:
        flags = ["--socket", self.socket, "--state-dir", str(self.state_dir)]
        for name, value in self._settings.items():
            flags += [f"--{name.replace('_', '-')}", str(value)]
        return ServeProcess(flags, self.token, self.client)

    def _in_thread(self) -> _Runner:
        from poppo_ipc.daemon import Daemon, DaemonConfig

        config = DaemonConfig(socket=self.socket, state_dir=self.state_dir, **self._settings)
        if self._make is None:
            self._daemon = Daemon(config, auth=self.token, without=self._without)
        else:
            takes_auth = "auth" in inspect.signature(self._make).parameters
            self._daemon = self._make(config, **({"auth": self.token} if takes_auth else {}))
        return _DaemonThread(self._daemon)


class _DaemonThread:
    """A daemon in a thread."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._thread = TrioThread(daemon.serve, "poppo-real-daemon")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop(self._daemon.stop_soon)

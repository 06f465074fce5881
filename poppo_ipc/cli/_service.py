"""`poppo-ipc service`: the daemon under a service manager."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from poppo_ipc.cli._connection import Invocation, waiting_options
from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._flags import setting_flags
from poppo_ipc.cli._output import Output
from poppo_ipc.cli._serve_command import serve_options, tell_problems
from poppo_ipc.cli._task_file import TASK_NAME, task_files
from poppo_ipc.cli._units import Service, launchd_files, systemd_files
from poppo_ipc.daemon._config_model import ConfigError
from poppo_ipc.transport import AddressKind

__all__ = ["command"]


_USUAL: Final = {"darwin": "launchd", "win32": "schtasks"}
_METAVAR: Final = "[--print] [--systemd | --launchd | --schtasks] [--config FILE] [--SETTING VALUE ...]"


@click.command("service", options_metavar=_METAVAR)
@click.option("--print", "only_print", is_flag=True, help="Print the files, and write none.")
@click.option("--systemd", "manager", flag_value="systemd", help="For systemd (the default, but on macOS and Windows).")
@click.option("--launchd", "manager", flag_value="launchd", help="For launchd (the default on macOS).")
@click.option(
    "--schtasks", "manager", flag_value="schtasks", help="For Windows' Task Scheduler (the default on Windows)."
)
@click.option("--config", metavar="FILE", envvar="POPPO_CONFIG", help="A TOML file with settings (POPPO_CONFIG).")
@waiting_options
@setting_flags
@click.pass_context
def command(ctx: click.Context, /, only_print: bool, manager: str | None, config: str | None, **settings: Any) -> int:
    """Write the files that let systemd, launchd or Windows' Task Scheduler run the daemon for this user.

    With the settings of serve that are given here; those of the environment do not get there. systemd starts it at the
    first connection, watches it, and restarts it when it fails; the others start it when the user logs on. Files that
    are there already are left alone.
    """
    invocation = ctx.ensure_object(Invocation)
    chosen = manager or _USUAL.get(sys.platform, "systemd")
    try:
        files = _files(chosen, ctx, config, settings)
    except ConfigError as error:
        return tell_problems(error)
    home = _home(chosen)
    if only_print:
        listed = [{"path": str(home / name), "text": text} for name, text in files.items()]
        # As it is in a pipe too: it is there to be put into a file.
        Output(as_json=invocation.json).show(listed, text=lambda *_: _shown(chosen, home, files))
        return ExitCode.DONE
    _write(home, files)
    todo = _next_step(chosen, home, files)
    result = {"written": [str(home / name) for name in files], "next": todo}
    invocation.output.show(result, text=lambda *_: "\n".join([*map(str, result["written"]), f"Next: {todo}"]))
    return ExitCode.DONE


def _files(manager: str, ctx: click.Context, config: str | None, settings: dict[str, Any]) -> dict[str, str]:
    from attrs import evolve

    from poppo_ipc.cli._started import forget_variables
    from poppo_ipc.cli._starting import address_of, flag_arguments

    options = serve_options(ctx, config, settings)
    options = evolve(options, environ=forget_variables(options.environ))
    loaded = options.load()
    flags = {name: value for name, value in options.flags.items() if name != "socket"}
    if flags.get("state_dir"):
        flags["state_dir"] = str(loaded.state_dir)
    if flags.get("token_file"):
        flags["token_file"] = str(loaded.token_file)
    named = [] if options.file is None else [f"--config={options.file.absolute()}"]
    address = address_of(loaded)
    if (address.kind is AddressKind.PIPE) != (manager == "schtasks"):
        what = f"{manager} runs no daemon at {address}"
        raise Failure(what, "Name a socket with --socket, or a pipe for --schtasks", ExitCode.USAGE)
    service = Service(
        command=[_interpreter(manager), "-m", "poppo_ipc", "serve"],
        arguments=[*named, *flag_arguments(flags)],
        socket=str(address) if address.kind is AddressKind.PIPE else address.name,
        stop_seconds=loaded.stop_grace + loaded.kill_grace,
    )
    if manager == "schtasks":
        return task_files(service, _windows_user())
    return systemd_files(service) if manager == "systemd" else launchd_files(service)


def _interpreter(manager: str) -> str:
    """The one that runs the daemon: on Windows that without a console, which would open a window."""
    if manager == "schtasks":
        windowless = Path(sys.executable).with_name("pythonw.exe")
        if windowless.exists():
            return str(windowless)
    return sys.executable


def _windows_user() -> str:
    name, domain = getpass.getuser(), os.environ.get("USERDOMAIN")
    return f"{domain}\\{name}" if domain else name


def _home(manager: str) -> Path:
    if manager == "schtasks":
        return Path("~/.poppobuilder").expanduser()
    if manager == "launchd":
        return Path("~/Library/LaunchAgents").expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "systemd" / "user"


def _write(home: Path, files: dict[str, str]) -> None:
    there = [home / name for name, text in files.items() if (home / name).exists() and _read(home / name) != text]
    if there:
        todo = "Look at what --print gives, and change or remove them first"
        raise Failure(f"There is already {' and '.join(map(str, there))}, and it says something else", todo)
    home.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (home / name).write_text(text, encoding="utf-8")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _next_step(manager: str, home: Path, files: dict[str, str]) -> str:
    if manager == "schtasks":
        return f'schtasks /Create /TN {TASK_NAME} /XML "{home / next(iter(files))}"'
    if manager == "launchd":
        return f"launchctl bootstrap gui/$(id -u) '{home / next(iter(files))}'"
    return "systemctl --user daemon-reload && systemctl --user enable --now poppo-ipc.socket"


def _shown(manager: str, home: Path, files: dict[str, str]) -> str:
    if manager != "systemd":
        return next(iter(files.values())).rstrip("\n")  # a comment before its first line would make it no XML
    return "\n".join(f"# {home / name}\n{text}" for name, text in files.items()).rstrip("\n")

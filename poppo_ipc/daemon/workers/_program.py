"""Which program a command means, and what it gets of the daemon's environment. The standard library only."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

__all__ = ["BatchFile", "base_environment", "command_environment", "program_of"]

#: What a command gets: what programs need to find their way, and no secret of the daemon.
_UNIX: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")
_UNIX_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_WINDOWS: Final = (
    "ALLUSERSPROFILE", "APPDATA", "COMMONPROGRAMFILES", "COMMONPROGRAMFILES(X86)", "COMPUTERNAME", "COMSPEC",
    "HOMEDRIVE", "HOMEPATH", "LANG", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS", "OS", "PATH", "PATHEXT",
    "PROCESSOR_ARCHITECTURE", "PROGRAMDATA", "PROGRAMFILES", "PROGRAMFILES(X86)", "PUBLIC", "SYSTEMDRIVE",
    "SYSTEMROOT", "TEMP", "TMP", "TZ", "USERDOMAIN", "USERNAME", "USERPROFILE", "WINDIR",
)  # fmt: skip

#: What Windows itself runs, and what it hands to its shell.
_PROGRAMS: Final = (".exe", ".com")
_BATCH_FILES: Final = (".bat", ".cmd")


class BatchFile(Exception):
    """The program is a batch file: a shell would run it, and read the arguments as its own language."""


def base_environment(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> dict[str, str]:
    """The environment of a command that asks for nothing. On Windows its names are in capitals."""
    if platform == "win32":
        known = {name.upper(): value for name, value in environment.items()}
        return {name: known[name] for name in _WINDOWS if name in known}
    found = {name: environment[name] for name in _UNIX if name in environment}
    found.update({name: value for name, value in environment.items() if name.startswith("LC_")})
    found.setdefault("PATH", _UNIX_PATH)
    return found


def command_environment(extra: Mapping[str, str], platform: str = sys.platform) -> dict[str, str]:
    """The environment of a command that asks for these variables. On Windows their case does not count."""
    if platform == "win32":
        extra = {name.upper(): value for name, value in extra.items()}
    return base_environment(platform=platform) | dict(extra)


def program_of(name: str, environment: Mapping[str, str], cwd: str) -> str:
    """The file that Windows is to start for the first word of a command, as Unix would find it.

    Windows itself would look into the directory of Python and the current one first. A name with a directory in it is
    relative to the command's own. Raises FileNotFoundError, BatchFile, and ValueError for a name that is none.
    """
    if "\0" in name:
        raise ValueError("embedded null byte")
    path = environment.get("PATH", "").split(os.pathsep)
    directories = [cwd] if os.path.dirname(name) else [entry for entry in path if entry]
    endings = ("",) if name.lower().endswith((*_PROGRAMS, *_BATCH_FILES)) else (*_PROGRAMS, *_BATCH_FILES, "")
    for directory in directories:
        for ending in endings:
            file = os.path.join(directory, name + ending)
            if os.path.isfile(file):
                # Windows does not see what stands behind the ending.
                if file.rstrip(". ").lower().endswith(_BATCH_FILES):
                    raise BatchFile(file)
                return file
    raise FileNotFoundError(name)

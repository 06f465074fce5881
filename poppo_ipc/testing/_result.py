"""What a run of a program came to, in a form that can be compared with a kept one."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

__all__ = ["CliResult", "normalized", "without_colours"]

_ANSI: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
_UUID: Final = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE)
_OWN_ID: Final = re.compile(r"(?<![\w-])[a-z]-[0-9a-hjkmnp-tv-z]{16}(?![\w-])")
_HEX_ID: Final = re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{16,}\b")
_TIME: Final = re.compile(
    r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?|\b\d\d:\d\d:\d\d(?:\.\d+)?\b"
)
_DURATION: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)? ?(?:ns|µs|us|ms|s|sec|seconds?|min|minutes?|hours?)\b")
#: The pipe of a daemon of a test, whose name is the end of its directory's path.
_PIPE: Final = re.compile(r"(npipe:|[\\/]{2}\.[\\/]pipe[\\/])poppo-[a-z0-9_]{8}(?![\w-])", re.IGNORECASE)
#: What is between the names of a path, twice where a text quotes it on Windows; and a name.
_SLASH: Final = r"\\/" if sys.platform == "win32" else "/"
_SEPARATOR: Final = f"[{_SLASH}]+"
_NAME: Final = rf"[^{_SLASH}\s'\",:)\]]+"
_FLAGS: Final = re.IGNORECASE if sys.platform == "win32" else re.NOFLAG
_PID: Final = re.compile(r"\b(pid\W{1,3})\d+\b", re.IGNORECASE)


def without_colours(text: str) -> str:
    """The text without what tells a terminal about colours and the like."""
    return _ANSI.sub("", text)


def normalized(text: str, replace: Mapping[str, str] | None = None) -> str:
    """The text without what is another in each run.

    Colours are left out; temporary directories become `<tmp>`, the working directory `<cwd>`, the home directory
    `<home>`, names of fake daemons' pipes `<pipe>`, times `<time>`, durations `<duration>`, process ids `<pid>`, and
    ids `<id-1>`, `<id-2>` and so on, the same for the same. On Windows, paths are found in either case and with either
    kind of slash. What `replace` names, as a path of the test, goes first.
    """
    return _Normalizer(replace or {}).text(text)


class _Normalizer:
    """Normalises several texts with the same names for the same ids."""

    def __init__(self, replace: Mapping[str, str]) -> None:
        # JSON, and whatever else quotes a text, has each backslash twice.
        quoted = {found.replace("\\", "\\\\"): standing for found, standing in replace.items()}
        self._replace = dict(sorted({**quoted, **replace}.items(), key=lambda pair: -len(pair[0])))
        self._ids: dict[str, str] = {}
        tops = (tempfile.gettempdir(),) if sys.platform == "win32" else (tempfile.gettempdir(), "/tmp")
        self._temporary = {_pattern(path) for each in tops for path in (Path(each), Path(each).resolve())}

    def text(self, text: str) -> str:
        text = without_colours(text).replace("\r\n", "\n")
        for found, standing in self._replace.items():
            text = text.replace(found, standing)
        # Before the temporary directories, as it may be in one; or after, where it is the one that they are all in.
        here = Path.cwd()
        if _pattern(here) not in self._temporary:
            text = _path(text, here, "<cwd>")
        # Up to the directory that is new in each run: those of pytest have one for the user and one for the run above.
        tops = "|".join(sorted(self._temporary, key=len, reverse=True))
        run = rf"pytest-of-{_NAME}{_SEPARATOR}pytest-\d+{_SEPARATOR}(?:popen-gw\d+{_SEPARATOR})?"
        text = re.sub(rf"(?:{tops}){_SEPARATOR}(?:{run})?{_NAME}", "<tmp>", text, flags=_FLAGS)
        text = _path(text, here, "<cwd>")
        text = _path(text, Path.home(), "<home>")
        text = _PIPE.sub(r"\1<pipe>", text)
        text = _TIME.sub("<time>", text)
        for pattern in (_UUID, _OWN_ID, _HEX_ID):
            text = pattern.sub(lambda match: self._id(match[0]), text)
        return _DURATION.sub("<duration>", _PID.sub(r"\1<pid>", text))

    def _id(self, text: str) -> str:
        return self._ids.setdefault(text, f"<id-{len(self._ids) + 1}>")


def _path(text: str, path: Path, standing: str) -> str:
    return text if path == path.parent else re.sub(rf"{_pattern(path)}(?![\w.-])", standing, text, flags=_FLAGS)


def _pattern(path: Path) -> str:
    """What finds the path, however it is written."""
    if sys.platform != "win32":
        return re.escape(str(path))
    return _SEPARATOR.join(re.escape(part.rstrip("\\")) for part in path.parts)


@attrs.frozen(kw_only=True)
class CliResult:
    """What a program came to. Equal to another, and shown, by its exit code and what it said."""

    exit_code: int
    """What it ended with; of a process that a signal ended, 128 and its number, as a shell has it."""

    stdout: str
    stderr: str
    output: str
    """Both, in the order in which they were written; of a process, in which their lines arrived."""

    exception: BaseException | None = attrs.field(default=None, eq=False, repr=False)
    """What a program in this process raised, besides `SystemExit`."""

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.exit_code == 0

    @property
    def json(self) -> Any:
        """What stdout holds as JSON. Raises ValueError where it is none."""
        return json.loads(self.stdout)

    @property
    def json_lines(self) -> list[Any]:
        """The same, line by line."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.strip()]

    def plain(self) -> CliResult:
        """The same without colours."""
        return self._with(without_colours)

    def normalized(self, replace: Mapping[str, str] | None = None) -> CliResult:
        """The same without what is another in each run, as the function `normalized` has it."""
        return self._with(_Normalizer(replace or {}).text)

    def check(self) -> CliResult:
        """This result where it ended with 0; raises AssertionError with all that it said where not."""
        __tracebackhide__ = True
        if not self.ok:
            raise AssertionError(f"the program failed: {self}") from self.exception
        return self

    def _with(self, change: Callable[[str], str]) -> CliResult:
        # The mix first: in it things come in the order in which they are counted.
        output = change(self.output)
        return attrs.evolve(self, output=output, stdout=change(self.stdout), stderr=change(self.stderr))

    def __str__(self) -> str:
        parts = [f"exit code {self.exit_code}"]
        parts += [f"--- {name}\n{text.rstrip()}" for name in ("stdout", "stderr") if (text := getattr(self, name))]
        return "\n".join(parts)

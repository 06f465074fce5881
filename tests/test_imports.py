"""Imports go one way. Read from the source, so that imports inside functions and for type checkers count too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import poppo_ipc

ROOT = Path(poppo_ipc.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))

BASE = {"errors", "limits"}
WIRE = BASE | {"protocol", "commands"}
#: What each part may import besides itself. `_groups`, `_lazy` and `_version` are free to all, and the names of the
#: package itself to nobody.
MAY_IMPORT = {
    "_exits": set(),
    "_groups": set(),
    "_lazy": set(),
    "_version": set(),
    "_win32": set(),
    "errors": set(),
    "limits": set(),
    "protocol": BASE,
    "commands": BASE | {"protocol"},
    "transport": BASE | {"_win32"},
    "server": WIRE | {"transport"},
    "client": WIRE | {"_exits", "_win32", "transport"},
    "daemon": WIRE | {"_exits", "_win32", "transport", "server"},
    "cli": WIRE | {"_win32", "transport", "server", "client", "daemon", "testing"},
    "testing": WIRE | {"transport", "server", "client", "daemon"},
    "__main__": {"cli"},
    "__init__": WIRE | {"transport", "server", "client"},
}
#: Who may name what is heavy, or bound to one event loop.
MAY_NAME = {
    # The transport: for Windows' named pipes, which anyio does not know. In files of their own, see below.
    "trio": {"transport", "server", "daemon", "cli", "testing"},
    "anyio": {"transport", "client", "server", "daemon", "cli", "testing"},
    "asyncio": {"transport", "daemon", "cli"},
    "click": {"cli", "testing"},
    "rich": {"cli"},
    "textual": {"cli"},
    "structlog": {"cli", "daemon"},
    "sqlite3": {"daemon"},
    "pytest": {"testing"},
}


def part_of(path: Path) -> str:
    """The part that a source file belongs to: its package, or itself."""
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """The full names of all modules that a source file imports anything from.

    Of the package itself, also what is taken out of it: `poppo_ipc.Router`.
    """
    package = ("poppo_ipc", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*start, *([node.module] if node.module else [])))
            if module == "poppo_ipc":
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "poppo_ipc":
            yield f"poppo_ipc.{node.attr}"


def test_every_part_has_a_rule() -> None:
    assert {part_of(path) for path in SOURCES} == set(MAY_IMPORT)


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    allowed = MAY_IMPORT[part] | {part, "_groups", "_lazy", "_version"}
    # The package's own attributes, such as where its files are, are no part of it.
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in SOURCES
        if part_of(path) == part
        for module in imports(path)
        if module.startswith("poppo_ipc.")
        and module.split(".")[1] not in allowed
        and not module.startswith("poppo_ipc.__")
    ]
    assert wrong == []


@pytest.mark.parametrize("library", MAY_NAME)
def test_a_library_is_named_only_where_it_belongs(library: str) -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if part_of(path) not in MAY_NAME[library] and library in {module.split(".")[0] for module in imports(path)}
    ]
    assert wrong == []


def test_the_transport_names_an_event_loop_only_in_its_file_for_that() -> None:
    loops = {path.name: {"trio", "asyncio"} & set(imports(path)) for path in (ROOT / "transport").glob("*.py")}
    assert {name: found for name, found in loops.items() if found} == {
        "_pipe_trio.py": {"trio"},
        "_pipe_asyncio.py": {"asyncio"},
    }


def test_the_command_line_names_asyncio_only_where_textual_runs_on_it() -> None:
    naming = [path for path in (ROOT / "cli").rglob("*.py") if "asyncio" in set(imports(path))]
    assert {path.parent.relative_to(ROOT).as_posix() for path in naming} == {"cli/top"}


@pytest.mark.parametrize("statement", ["import poppo_ipc", "from poppo_ipc import SyncClient", "import poppo_ipc.cli"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    script = f"{statement}\nimport sys\nprint(sorted({set(MAY_NAME)!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_reader_sees_every_form_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "from ..errors import A\nfrom . import x\nfrom .y import z\nimport trio.abc\nimport poppo_ipc\n"
        "def f():\n    from poppo_ipc.client import C\n    from poppo_ipc import server, Router\n"
        "    from .. import cli\n    return poppo_ipc.connect\n"
    )
    (tmp_path / "server").mkdir()
    path = tmp_path / "server" / "it.py"
    path.write_text(source)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert sorted(imports(path)) == [
        "poppo_ipc", "poppo_ipc.Router", "poppo_ipc.cli", "poppo_ipc.client", "poppo_ipc.connect", "poppo_ipc.errors",
        "poppo_ipc.server", "poppo_ipc.server", "poppo_ipc.server.y", "trio.abc",
    ]  # fmt: skip

"""What the package exports, and what importing it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from poppo_ipc import transport
from poppo_ipc.errors import TransportUnsupported
from poppo_ipc.transport import Address, AddressKind, connect, connect_blocking, listen
from poppo_ipc.transport._kinds import KINDS

SOURCE = Path(transport.__file__)


def test_the_three_lists_of_names_agree() -> None:
    tree = ast.parse(SOURCE.read_text())
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        alias.asname: node.module for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == transport._HOMES
    assert set(imported) == set(transport.__all__) <= set(dir(transport))


@pytest.mark.parametrize("name", transport.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    assert getattr(transport, name).__doc__


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        transport.nonsense  # noqa: B018


def test_a_synchronous_program_loads_no_event_loop() -> None:
    program = """
import sys
from poppo_ipc.transport import OWN_AND_ROOT, Address, AddressKind, PeerCredentials, check_path_length, connect_blocking
loaded = {"asyncio", "anyio", "trio", "poppo_ipc.transport._kinds"} & set(sys.modules)
assert not loaded, loaded
import poppo_ipc.transport._blocking, poppo_ipc.transport._borders
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=SOURCE.parents[2], timeout=30)


@pytest.mark.parametrize("path", sorted(SOURCE.parent.glob("*.py")), ids=lambda path: path.name)
def test_files_have_one_job_and_a_sentence_about_it(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 400


def test_every_kind_of_address_is_served() -> None:
    assert set(KINDS) == set(AddressKind)


@pytest.mark.anyio
async def test_what_the_platform_lacks_is_refused_in_words() -> None:
    lacking, remedy = ("unix:/x", "use npipe:NAME") if sys.platform == "win32" else ("npipe:x", "use unix:/path")
    for refused in (connect, listen):
        with pytest.raises(TransportUnsupported, match=f"{Address.parse(lacking)} .*{remedy}".replace("\\", "\\\\")):
            await refused(lacking)
    with pytest.raises(TransportUnsupported, match=remedy):
        connect_blocking(lacking, 1)

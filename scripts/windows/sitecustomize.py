"""For tests alone: lets trio start under wine, and lets each Python there start sooner.

Wine 8 answers WSAIoctl(SIO_BSP_HANDLE_SELECT) and its like with WSAEOPNOTSUPP. Trio asks them only to see through
layered service providers, which wine does not have: the base handle is the right answer. On Windows nothing changes.

What bundle.py has put into one file is imported from there: a module takes a millisecond then, not eight.

Every Python there imports this first, so it imports next to nothing: `importlib.abc` alone is most of a bare start.
"""

from __future__ import annotations

import importlib.machinery
import marshal
import mmap
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_MODULE = "trio._core._io_windows"
_WSAEOPNOTSUPP = 10045
_BUNDLES = ("library.bundle", "site.bundle", "tree.bundle")


def _patch(module: Any) -> None:
    asked = module._get_underlying_socket
    base = module.WSAIoctls.SIO_BASE_HANDLE

    def _get_underlying_socket(sock: Any, *, which: Any = base) -> Any:
        try:
            return asked(sock, which=which)
        except OSError as error:
            if sys.platform != "win32" or error.winerror != _WSAEOPNOTSUPP or which == base:
                raise
            return asked(sock, which=base)

    module._get_underlying_socket = _get_underlying_socket


class _Finder:
    """Patches the module when something imports it, and imports nothing before."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _patch(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign] # of this one loader
        return spec


class _Bundle:
    """The modules in one file that bundle.py has written, all but their code as if found one by one."""

    def __init__(self, file: str) -> None:
        with open(file, "rb", buffering=0) as opened:  # pathlib is a third of a bare start
            self._data = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
        self._codes = 8 + int.from_bytes(self._data[:8], "little")
        self._index: dict[str, tuple[str, bool, int, int]] = marshal.loads(self._data[8 : self._codes])

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        entry = self._index.get(fullname)
        if entry is None:
            return None
        file, is_package, begin, end = entry
        directory = os.path.dirname(file)
        # Another package has modules of its own, though its name be the same: a copy of the tree, say.
        if (os.path.dirname(directory) if is_package else directory) not in (sys.path if path is None else path):
            return None
        code = self._data[self._codes + begin : self._codes + end]
        loader = (_Source if file.endswith(".py") else _Compiled)(fullname, file)
        loader.get_code = lambda fullname: marshal.loads(code)  # type: ignore[method-assign] # of this one loader
        spec = importlib.machinery.ModuleSpec(fullname, loader, origin=file, is_package=is_package)
        spec.has_location = True
        if is_package and spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(directory)
        return spec


_Source = importlib.machinery.SourceFileLoader
_Compiled = importlib.machinery.SourcelessFileLoader

if sys.platform == "win32":
    _library = os.path.dirname(os.__file__)
    _bundles = [_Bundle(file) for name in _BUNDLES if os.path.exists(file := os.path.join(_library, name))]
    sys.meta_path[-1:-1] = _bundles
    sys.meta_path.insert(0, _Finder())

"""For tests alone: lets trio start under wine.

Wine 8 answers WSAIoctl(SIO_BSP_HANDLE_SELECT) and its like with WSAEOPNOTSUPP. Trio asks them only to see through
layered service providers, which wine does not have: the base handle is the right answer. On Windows nothing changes.

Every Python there imports this first, so it imports next to nothing: `importlib.abc` alone is most of a bare start.
"""

from __future__ import annotations

import importlib.machinery
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

_MODULE = "trio._core._io_windows"
_WSAEOPNOTSUPP = 10045


def _patch(module: Any) -> None:
    asked = module._get_underlying_socket
    base = module.WSAIoctls.SIO_BASE_HANDLE

    def _get_underlying_socket(sock: Any, *, which: Any = base) -> Any:
        try:
            return asked(sock, which=which)
        except OSError as error:
            if error.winerror != _WSAEOPNOTSUPP or which == base:
                raise
            return asked(sock, which=base)

    module._get_underlying_socket = _get_underlying_socket


class _Finder:
    """Patches the module when something imports it, and imports nothing before."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
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


if sys.platform == "win32":
    sys.meta_path.insert(0, _Finder())

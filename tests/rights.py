"""Files and directories that everyone can read, to be refused."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["REMEDY", "open_to_everyone"]

if sys.platform == "win32":
    import ctypes

    from poppo_ipc._win32.security import Descriptor
    from poppo_ipc.transport._private_windows import owner_only

    #: The program that people are told to run against it.
    REMEDY = "icacls"
    _DACL = 0x4
    _FOR_ALL = "(A;;0x1200a9;;;WD)"

    _SetFileSecurity = ctypes.WinDLL("advapi32", use_last_error=True).SetFileSecurityW
    _SetFileSecurity.argtypes = (ctypes.c_wchar_p, ctypes.c_uint32, ctypes.c_void_p)

    def open_to_everyone(path: Path) -> None:
        """Let everyone read it."""
        descriptor = Descriptor(owner_only() + _FOR_ALL)
        if not _SetFileSecurity(str(path), _DACL, descriptor.attributes.lpSecurityDescriptor):
            raise ctypes.WinError(ctypes.get_last_error())

else:
    #: The program that people are told to run against it.
    REMEDY = "chmod"

    def open_to_everyone(path: Path) -> None:
        """Let everyone read it."""
        path.chmod(0o755 if path.is_dir() else 0o644)

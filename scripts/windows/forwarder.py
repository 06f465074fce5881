"""Writes a DLL that only passes on to another: `forwarder.py DIRECTORY`.

What Rust builds for Windows (rpds for jsonschema, pydantic) takes its random numbers from ProcessPrng in
bcryptprimitives.dll, which wine 8 does not have. SystemFunction036 of advapi32 (RtlGenRandom) takes the same arguments.
A forwarded export has no code: https://learn.microsoft.com/windows/win32/debug/pe-format#export-address-table
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

_BASE = 0x1000  # the address of the one section
_ALIGNED = 0x200  # in the file


def forwarder(dll: str, name: str, target: str) -> bytes:
    """A DLL for 64-bit Windows whose one export `name` is `target`, as in `advapi32.SystemFunction036`."""
    exports = _exports(dll.encode() + b"\0", name.encode() + b"\0", target.encode() + b"\0")
    size = len(exports)
    exports = exports.ljust(-size % _ALIGNED + size, b"\0")
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    # AMD64, one section, no symbols; an executable image, aware of large addresses, a DLL.
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x2022)
    # PE32+: no code and no entry point; system version 6.0, the console's subsystem, movable.
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 0, len(exports), 0, 0, _BASE)
    optional += struct.pack("<QII", 0x180000000, 0x1000, _ALIGNED)
    optional += struct.pack("<HHHHHHI", 6, 0, 0, 0, 6, 0, 0)
    optional += struct.pack("<IIIHH", 2 * _BASE, _ALIGNED, 0, 3, 0x0140)
    optional += struct.pack("<QQQQII", 0x100000, 0x1000, 0x100000, 0x1000, 0, 16)
    optional += struct.pack("<II", _BASE, size).ljust(16 * 8, b"\0")
    section = struct.pack("<8sIIIIIIHHI", b".edata", size, _BASE, len(exports), _ALIGNED, 0, 0, 0, 0, 0x40000040)
    return (dos + b"PE\0\0" + coff + optional + section).ljust(_ALIGNED, b"\0") + exports


def _exports(dll: bytes, name: bytes, target: bytes) -> bytes:
    """The export directory with its tables of one entry each, and the strings behind them."""
    functions = _BASE + 40
    names, ordinals, strings = functions + 4, functions + 8, functions + 10
    directory = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, strings, 1, 1, 1, functions, names, ordinals)
    name_at = strings + len(dll)
    return directory + struct.pack("<IIH", name_at + len(name), name_at, 0) + dll + name + target


if __name__ == "__main__":
    library = Path(sys.argv[1]) / "bcryptprimitives.dll"
    library.write_bytes(forwarder(library.name, "ProcessPrng", "advapi32.SystemFunction036"))

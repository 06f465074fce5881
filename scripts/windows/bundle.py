"""Puts all that this Python can import from its library into one file, for sitecustomize.py: `bundle.py [DIRECTORY]`.

To look at a file costs about a millisecond under wine, and an import looks at half a dozen of them. With DIRECTORY the
packages in it are added, from their source as it is now; without it the installed ones are.
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Iterator
from pathlib import Path

_LIBRARY = Path(sys.executable).parent / "Lib"
_SITE = _LIBRARY / "site-packages"
#: The header of a compiled file: https://peps.python.org/pep-0552/
_HEADER = 16


def modules(directory: Path, within: str = "") -> Iterator[tuple[str, Path]]:
    """Name and file of each module below a directory that is on the path of imports."""
    for place in sorted(directory.iterdir()):
        if place.is_dir():
            if place.name.isidentifier():
                yield from modules(place, f"{within}{place.name}.")
        elif place.suffix in {".py", ".pyc"}:
            name = within.rstrip(".") if place.stem == "__init__" else within + place.stem
            if name and name != "sitecustomize":
                yield name, place


def compiled(file: Path) -> bytes | None:
    """The module's code as marshal writes it, or None of a template and what else is no Python."""
    data = file.read_bytes()
    if file.suffix == ".pyc":
        return data[_HEADER:]
    try:
        return marshal.dumps(compile(data, str(file), "exec", dont_inherit=True))
    except (SyntaxError, ValueError):
        return None


def write(target: Path, found: Iterator[tuple[str, Path]]) -> None:
    """A length of eight bytes, an index of that length, and the code behind it."""
    index: dict[str, tuple[str, bool, int, int]] = {}
    codes: list[bytes] = []
    offset = 0
    for name, file in found:
        code = compiled(file)
        if code is not None and name not in index:
            index[name] = (str(file), file.stem == "__init__", offset, offset + len(code))
            codes.append(code)
            offset += len(code)
    head = marshal.dumps(index)
    target.write_bytes(b"".join([len(head).to_bytes(8, "little"), head, *codes]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(_LIBRARY / "tree.bundle", modules(Path(sys.argv[1]), f"{Path(sys.argv[1]).name}."))
    else:
        write(_LIBRARY / "library.bundle", modules(_LIBRARY))
        write(_LIBRARY / "site.bundle", modules(_SITE))

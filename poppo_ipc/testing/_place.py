"""A place for a daemon of a test: a private directory, and an address that no other has."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Self

from poppo_ipc.client._beside import forget
from poppo_ipc.errors import AddressError
from poppo_ipc.transport import Address, AddressKind, check_path_length

__all__ = ["Place"]


class Place:
    """Made by `new`, and deleted by `remove`. A socket is in the directory; a pipe has the directory's name."""

    def __init__(self, directory: Path, address: Address) -> None:
        self.directory = directory
        self.address = address

    @classmethod
    def new(cls) -> Self:
        """A new one. Raises OSError."""
        directory = Path(tempfile.mkdtemp(prefix="poppo-"))
        if os.name == "nt":
            return cls(directory, Address(AddressKind.PIPE, directory.name))
        try:
            check_path_length(directory / "sock.aside")
        except AddressError:
            directory.rmdir()
            directory = Path(tempfile.mkdtemp(prefix="poppo-", dir="/tmp"))
        return cls(directory, Address(AddressKind.UNIX, str(directory / "sock")))

    @property
    def socket(self) -> str:
        """The address as `POPPO_SOCKET` has it: the path of the socket, or `npipe:NAME`."""
        return self.address.name if self.address.kind is AddressKind.UNIX else str(self.address)

    def remove(self) -> None:
        """Delete the directory, or what of it can be deleted, and what is kept beside a pipe. Idempotent."""
        shutil.rmtree(self.directory, ignore_errors=True)
        forget(self.address)

"""What the runner and the random check need of Windows: folders of their own, and one file that is open."""

import secrets
from typing import Final

from s3mount.selftest.windows_api import (
    DIRECTORY,
    GENERIC_READ,
    GENERIC_WRITE,
    NORMAL,
    OPEN_ALWAYS,
    OPEN_EXISTING,
    SHARE_ALL,
    WindowsApi,
    verbatim,
)

FOLDER_PREFIX: Final = "s3mount-selftest-"


class WindowsFolders:
    """FolderCalls of runner.py."""

    def __init__(self, calls: WindowsApi) -> None:
        self.calls = calls

    def make_own_folder(self, drive: str) -> str:
        folder = f"{drive}{FOLDER_PREFIX}{secrets.token_hex(4)}"
        self.calls.make_directory(folder)
        return folder

    def make_folder(self, folder: str, name: str) -> str:
        path = f"{folder}\\{name}"
        self.calls.make_directory(path)
        return path

    def remove_all(self, folder: str) -> None:
        below = verbatim(folder)
        for entry in self.calls.find(f"{below}\\*"):
            path = f"{below}\\{entry.name}"
            if entry.attributes & DIRECTORY:
                self.remove_all(path)
            else:
                self.calls.set_attributes(path, NORMAL)
                self.calls.delete(path)
        self.calls.remove_directory(below)


class WindowsFile:
    """RandomFile of random_io.py."""

    def __init__(self, calls: WindowsApi, path: str) -> None:
        self._calls, self._path = calls, path
        self.can_map = calls.can_map
        self._handle = self._open(OPEN_ALWAYS)

    def _open(self, disposition: int) -> int:
        return self._calls.create(self._path, GENERIC_READ | GENERIC_WRITE, SHARE_ALL, disposition, NORMAL)

    def read(self, offset: int, size: int) -> bytes:
        return self._calls.read(self._handle, offset, size)

    def write(self, offset: int, data: bytes) -> None:
        self._calls.write(self._handle, offset, data)

    def truncate(self, size: int) -> None:
        self._calls.set_size(self._handle, size)

    def size(self) -> int:
        return self._calls.size(self._handle)

    def flush(self) -> None:
        self._calls.flush(self._handle)

    def reopen(self) -> None:
        self.close()
        self._handle = self._open(OPEN_EXISTING)

    def map_read(self, offset: int, size: int) -> bytes:
        return self._calls.map_read(self._path, offset, size)

    def map_write(self, offset: int, data: bytes) -> None:
        self._calls.map_write(self._path, offset, data)

    def close(self) -> None:
        self._calls.close(self._handle)

"""The body of a request as awscrt reads it: all at once, from a thread of its own, with the interpreter's lock free.

io.BytesIO would hold that lock while it copies, which takes milliseconds for a part of 8 MiB; every file operation
would wait for it.
"""

import ctypes
import io
import sys

from s3mount.store.base import Body

# For fewer bytes it costs more to give up the interpreter's lock than to copy them.
FREE_BYTES_MIN = 64 << 10

# A function of a CDLL runs without the interpreter's lock, as ctypes.memmove does not.
_memmove = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None).memmove
_memmove.restype = ctypes.c_void_p
_memmove.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class BodyStream:
    """What awscrt.io.InputStream asks of a stream. `bytes` are shared and the rest is copied, so a request that is
    given up cannot read a reused buffer."""

    def __init__(self, body: Body) -> None:
        self._data = body if isinstance(body, bytes) else bytes(body)
        # Good for as long as the bytes are held.
        self._address = ctypes.cast(ctypes.c_char_p(self._data), ctypes.c_void_p).value or 0
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        end = len(self._data) if size < 0 else min(len(self._data), self._at + size)
        found, self._at = self._data[self._at : end], end
        return found

    def readinto1(self, target: memoryview) -> int:
        """0 at the end."""
        size = min(len(target), len(self._data) - self._at)
        if size >= FREE_BYTES_MIN:
            _memmove(ctypes.addressof(ctypes.c_char.from_buffer(target)), self._address + self._at, size)
        elif size:
            target[:size] = self._data[self._at : self._at + size]
        self._at += size
        return size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, min(len(self._data), base + offset))
        return self._at

"""Checksums of multipart uploads: which kind this server takes, and the sum of the whole from those of its parts.

Used by S3Store, from many threads; one leaf lock. Sends nothing. An upload that was begun with CRC64NVME for the full
object has its parts and the finished object checked by it; one of a server that does not take that, or that was begun
by an earlier process, has its parts checked by Content-MD5, which every server knows.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import base64
import hashlib
import threading
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from awscrt import checksums
from cachetools import LRUCache

from s3mount.store.base import Body

UPLOADS_MAX: Final = 1024
FULL_OBJECT: Final = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}

Sum = tuple[int, int]  # checksum, length


class PartChecksum(Enum):
    CRC64NVME = "crc64nvme"
    MD5 = "md5"


class PartSums:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kind = PartChecksum.CRC64NVME
        self._sums: LRUCache[str, dict[int, Sum | None]] = LRUCache(UPLOADS_MAX)

    @property
    def kind(self) -> PartChecksum:
        """What the next upload is begun with: CRC64NVME until the server was found not to take it."""
        return self._kind

    def fall_back(self) -> None:
        """The server does not take CRC64NVME for full objects."""
        self._kind = PartChecksum.MD5

    def begin(self, upload_id: str) -> None:
        """This upload was begun with CRC64NVME."""
        with self._lock:
            self._sums[upload_id] = {}

    def end(self, upload_id: str) -> None:
        with self._lock:
            self._sums.pop(upload_id, None)

    def part_header(self, upload_id: str, number: int, body: Body) -> tuple[str, str]:
        """The header that lets the server check this part."""
        with self._lock:
            is_known = upload_id in self._sums
        if not is_known:
            digest = hashlib.md5(body, usedforsecurity=False).digest()
            return "Content-MD5", base64.b64encode(digest).decode()
        crc = checksums.crc64nvme(body)
        self._note(upload_id, number, (crc, len(body)))
        return "x-amz-checksum-crc64nvme", _encoded(crc)

    def copied(self, upload_id: str, number: int, size: int, checksum: str | None) -> None:
        """Part `number` was copied inside S3, which said its checksum, or did not."""
        known = None if checksum is None else (int.from_bytes(base64.b64decode(checksum), "big"), size)
        self._note(upload_id, number, known)

    def _note(self, upload_id: str, number: int, known: Sum | None) -> None:
        with self._lock:
            if upload_id in self._sums:
                self._sums[upload_id][number] = known

    def whole_arguments(self, upload_id: str, count: int) -> Mapping[str, Any]:
        """The arguments that let the server check the finished object; {} when not all of its parts are known."""
        with self._lock:
            sums = self._sums.get(upload_id, {})
            parts = [sums.get(number) for number in range(1, count + 1)]
        total = 0
        for part in parts:
            if part is None:
                return {}
            total = checksums.combine_crc64nvme(total, *part)
        return {"ChecksumCRC64NVME": _encoded(total), "ChecksumType": "FULL_OBJECT"} if parts else {}


def _encoded(crc: int) -> str:
    return base64.b64encode(crc.to_bytes(8, "big")).decode()

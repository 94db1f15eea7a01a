"""winfsp.dll as released, for the driver of winfsp_driver.py: requests as the kernel posts them (winfsp_device.py)."""

import ctypes
import time
from collections.abc import Callable
from ctypes import wintypes
from functools import cache
from typing import Any

from tests.support import winfsp_driver as nt
from tests.support import winfsp_wire as wire
from tests.support.winfsp_device import KernelVolume, the_device
from tests.support.winfsp_driver import Facts, Info, NtError, Opened

SECURITY = "O:BAG:BAD:P(A;;FA;;;WD)"
OWNER, GROUP, DACL = 0x1, 0x2, 0x4
ENTRY_BYTES = nt.DIR_INFO_BYTES + 2 * 255
# A request has room for a path of 1024 characters; what is longer the kernel refuses itself.
NAME_TOO_LONG, PATH_BYTES_MAX = 0xC0000106, 2048

Fill = Callable[[Any, int], None]


def _nothing(asked: Any, place: int) -> None:
    """No fields to fill in."""


class Answer:
    def __init__(self, raw: bytes) -> None:
        self.head = wire.Response.from_buffer_copy(raw)
        self._after = raw[ctypes.sizeof(wire.Response) :]

    def bytes_at(self, place: wire.Buffer) -> bytes:
        return self._after[place.offset : place.offset + place.size]

    @property
    def info(self) -> Info:
        return self.head.answered.info.told()


class RealDll:
    """A volume that winfspy has made; `context` is the file system's, one for each open."""

    def __init__(self, volume: KernelVolume) -> None:
        self._volume = volume
        self.notices = volume.notices

    def facts(self) -> Facts:
        params, flags = self._volume.params, self._volume.params.flags
        letters = [letter for letter, name in the_device().letters.items() if name == self._volume.name]
        root = f"{self._volume.name}\\"
        folders = [folder for folder, target in the_device().junctions.targets.items() if target == root]
        return Facts(
            self._volume.device, "".join(letters + folders), wire.text_of(params.prefix),
            wire.text_of(params.file_system_name),
            bool(flags & wire.CASE_SENSITIVE), bool(flags & wire.KEEPS_CASE), bool(flags & wire.CONTEXT_PER_OPEN),
            bool(flags & wire.CLEANS_UP_WHEN_MODIFIED), bool(flags & wire.READ_ONLY),
        )  # fmt: skip

    def threads(self) -> int:
        """Each of them starts the next: all are there when none has come for a while."""
        before = -1
        while before != len(self._volume.threads):
            before = len(self._volume.threads)
            time.sleep(0.5)
        return before

    def _ask(self, kind: int, fill: Fill = _nothing, name: str | None = None, more: bytes = b"") -> Answer:
        """`fill` gets the union of the request and where `more` will be."""
        request = wire.Request()
        request.kind = kind
        text = b"" if name is None else wire.wide(name)
        if len(text) > PATH_BYTES_MAX:
            raise NtError(NAME_TOO_LONG)
        request.name.size = len(text)
        text += b"\0" * (-len(text) % 8)
        fill(request.asked, len(text))
        answer = Answer(self._volume.ask(request, text + more))
        if answer.head.status >= 0x80000000:
            raise NtError(answer.head.status)
        return answer

    # -- opening --

    def create(self, path: str, disposition: int, options: int, access: int, attributes: int, share: int) -> Opened:
        return self._create(path, disposition << 24 | options, access, attributes, share, 0)

    def open_parent(self, path: str) -> int:
        flags = wire.OPEN_TARGET_DIRECTORY
        context: int = self._create(path, nt.OPEN << 24, nt.WRITE_DATA, 0, nt.SHARE_ALL, flags).context
        return context

    def _create(self, path: str, options: int, access: int, attributes: int, share: int, flags: int) -> Opened:
        def fill(asked: Any, _: int) -> None:
            create = asked.create
            create.options, create.attributes, create.desired, create.share = options, attributes, access, share
            create.token, create.flags = _token(), wire.USER_MODE | wire.HAS_TRAVERSE | flags

        answer = self._ask(wire.CREATE_KIND, fill, path)
        opened = answer.head.answered.opened
        name = answer.bytes_at(opened.name)
        # Without a name of the file system's the driver goes on in upper case (sys/create.c).
        shown = name.decode("utf-16-le", "surrogatepass") if name else path.upper()
        return Opened(answer.head.information, opened.context.open, opened.granted, opened.info.told(), shown)

    # -- an open file --

    def overwrite(self, context: int, attributes: int, supersedes: bool) -> Info:
        def fill(asked: Any, _: int) -> None:
            asked.overwrite.context.open = context
            asked.overwrite.attributes, asked.overwrite.supersedes = attributes, supersedes

        return self._ask(wire.OVERWRITE_KIND, fill).info

    def cleanup(self, context: int, path: str | None, flags: int) -> None:
        def fill(asked: Any, _: int) -> None:
            asked.cleanup.context.open = context
            asked.cleanup.flags = sum(bit for flag, bit in wire.CLEANUPS.items() if flags & flag)

        self._ask(wire.CLEANUP_KIND, fill, path)

    def close(self, context: int) -> None:
        self._ask(wire.CLOSE_KIND, _of(context))

    def read(self, context: int, offset: int, size: int) -> bytes:
        buffer = ctypes.create_string_buffer(size)
        answer = self._ask(wire.READ_KIND, _transfer(context, buffer, offset, size))
        return buffer.raw[: answer.head.information]

    def write(self, context: int, offset: int | None, data: bytes, is_constrained: bool) -> tuple[int, Info]:
        buffer = ctypes.create_string_buffer(data, len(data))
        place = (1 << 64) - 1 if offset is None else offset
        answer = self._ask(wire.WRITE_KIND, _transfer(context, buffer, place, len(data), is_constrained))
        return int(answer.head.information), answer.info

    def flush(self, context: int | None) -> None:
        self._ask(wire.FLUSH_KIND, _of(context or 0))

    # -- information --

    def info(self, context: int) -> Info:
        return self._ask(wire.QUERY_INFORMATION_KIND, _of(context)).info

    def _set(self, context: int, kind: int, fill: Fill, name: str | None = None, more: bytes = b"") -> Info:
        def fill_all(asked: Any, place: int) -> None:
            asked.set_information.context.open, asked.set_information.kind = context, kind
            fill(asked.set_information.wanted, place)

        return self._ask(wire.SET_INFORMATION_KIND, fill_all, name, more).info

    def set_basic(self, context: int, attributes: int, created: int, accessed: int, written: int) -> Info:
        def fill(wanted: Any, _: int) -> None:
            wanted.basic = wire.Basic(attributes, created, accessed, written, 0)

        return self._set(context, wire.BASIC_CLASS, fill)

    def set_size(self, context: int, size: int, is_allocation: bool) -> Info:
        def fill(wanted: Any, _: int) -> None:
            wanted.size = size

        return self._set(context, wire.ALLOCATION_CLASS if is_allocation else wire.END_OF_FILE_CLASS, fill)

    def set_delete(self, context: int, path: str, wanted: bool) -> None:
        def fill(information: Any, _: int) -> None:
            information.deletes = wanted

        self._set(context, wire.DISPOSITION_CLASS, fill, path)

    def rename(self, context: int, old: str, new: str, replaces: bool) -> None:
        text = wire.wide(new)

        def fill(wanted: Any, place: int) -> None:
            wanted.rename.name = wire.Buffer(place, len(text))
            wanted.rename.token = _token() if replaces else 0

        self._set(context, wire.RENAME_CLASS, fill, old, text)

    # -- directories --

    def entries(self, context: int, marker: str | None, size: int) -> tuple[list[tuple[str, Info]], bool]:
        return self._query(context, size, marker=marker)

    def entry(self, context: int, name: str) -> tuple[str, Info] | None:
        found, is_end = self._query(context, 2 * ENTRY_BYTES, pattern=name)
        assert is_end
        return found[0] if found else None

    def _query(
        self, context: int, size: int, *, marker: str | None = None, pattern: str | None = None
    ) -> tuple[list[tuple[str, Info]], bool]:
        buffer = ctypes.create_string_buffer(size)
        text = marker if pattern is None else pattern
        after = b"" if text is None else wire.wide(text)

        def fill(asked: Any, place: int) -> None:
            query = asked.query_directory
            query.context.open, query.address, query.length = context, ctypes.addressof(buffer), size
            if pattern is None:
                query.marker = wire.Buffer(place, len(after))
            else:
                query.pattern, query.flags = wire.Buffer(place, len(after)), wire.PATTERN_IS_NAME

        count = self._ask(wire.QUERY_DIRECTORY_KIND, fill, more=after).head.information
        return _entries(buffer.raw[:count])

    # -- the volume --

    def volume(self) -> tuple[int, int, str]:
        found = self._ask(wire.QUERY_VOLUME_KIND).head.answered.volume
        return found.total, found.free, wire.text_of(found.label, found.label_size // 2)

    def set_label(self, label: str) -> None:
        def fill(asked: Any, _: int) -> None:
            asked.set_volume.kind = wire.LABEL_CLASS

        self._ask(wire.SET_VOLUME_KIND, fill, label)

    def security(self, context: int) -> str:
        answer = self._ask(wire.QUERY_SECURITY_KIND, _of(context))
        return _text_of_security(answer.bytes_at(answer.head.answered.buffer))

    def set_security(self, context: int) -> None:
        descriptor = _security_of_text(SECURITY)

        def fill(asked: Any, place: int) -> None:
            asked.set_security.context.open, asked.set_security.which = context, DACL
            asked.set_security.security = wire.Buffer(place, len(descriptor))

        self._ask(wire.SET_SECURITY_KIND, fill, more=descriptor)


def _of(context: int) -> Fill:
    def fill(asked: Any, _: int) -> None:
        asked.context.open = context

    return fill


def _transfer(context: int, buffer: Any, offset: int, size: int, is_constrained: bool = False) -> Fill:
    def fill(asked: Any, _: int) -> None:
        transfer = asked.transfer
        transfer.context.open, transfer.address = context, ctypes.addressof(buffer)
        transfer.offset, transfer.length, transfer.constrained = offset, size, is_constrained

    return fill


def _entries(raw: bytes) -> tuple[list[tuple[str, Info]], bool]:
    """Those of a buffer of FSP_FSCTL_DIR_INFO, and whether the mark of the end comes after them."""
    found: list[tuple[str, Info]] = []
    place = 0
    while place + 2 <= len(raw):
        size = int.from_bytes(raw[place : place + 2], "little")
        if size < nt.DIR_INFO_BYTES:
            return found, True
        info = wire.FileInfo.from_buffer_copy(raw, place + 8).told()
        name = raw[place + nt.DIR_INFO_BYTES : place + size].decode("utf-16-le", "surrogatepass")
        found.append((name, info))
        place += (size + 7) & ~7
    return found, False


# -- who asks, and security descriptors: Windows' own functions --


@cache
def _advapi() -> Any:
    return ctypes.WinDLL("advapi32", use_last_error=True)  # type: ignore[attr-defined]


@cache
def _token() -> int:
    """Of this process, for the access check: one that may be impersonated."""
    own, copied = wintypes.HANDLE(), wintypes.HANDLE()
    process = wintypes.HANDLE(-1)
    query_and_duplicate, identification = 0xE, 2
    assert _advapi().OpenProcessToken(process, query_and_duplicate, ctypes.byref(own))
    assert _advapi().DuplicateToken(own, identification, ctypes.byref(copied))
    return int(copied.value or 0)


def _text_of_security(descriptor: bytes) -> str:
    text = ctypes.c_wchar_p()
    convert = _advapi().ConvertSecurityDescriptorToStringSecurityDescriptorW
    assert convert(descriptor, 1, OWNER | GROUP | DACL, ctypes.byref(text), None)
    return text.value or ""


def _security_of_text(text: str) -> bytes:
    descriptor, size = ctypes.c_void_p(), ctypes.c_ulong()
    convert = _advapi().ConvertStringSecurityDescriptorToSecurityDescriptorW
    assert convert(text, 1, ctypes.byref(descriptor), ctypes.byref(size))
    return ctypes.string_at(descriptor.value, size.value)

"""An editor's way to save, under readers."""

import hashlib
import os
import threading
from pathlib import Path

from tests.programs.running import DEADLINE_S


def test_an_editors_save_is_never_seen_half(folder: Path) -> None:
    """Written beside, synced, renamed over: a reader sees the old text or the new one, and it is always there."""
    text, draft = folder / "text", folder / ".text.swp"
    ended = threading.Event()
    seen: list[int] = []
    wrong: list[str] = []

    def version(number: int) -> bytes:
        body = f"{number}\n".encode() * (2000 + number * 37)
        return hashlib.sha256(body).hexdigest().encode() + body

    def save(number: int) -> None:
        with draft.open("wb") as file:
            file.write(version(number))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(text)

    def read() -> None:
        while not ended.is_set():
            try:
                found = text.read_bytes()
            except OSError as error:
                wrong.append(repr(error))
                continue
            number = int(found[64:].split(b"\n", 1)[0] or b"0") if len(found) > 64 else -1
            seen.append(number)
            if found != version(number):
                wrong.append(f"version {number} with {len(found)} bytes")

    save(0)
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 150):
        save(number)
    ended.set()
    for reader in readers:
        reader.join(DEADLINE_S)
    assert not wrong, wrong[:3]
    assert len(set(seen)) > 5, "the readers saw nothing of the saving"
    assert text.read_bytes() == version(149)
    assert os.listdir(folder) == ["text"]

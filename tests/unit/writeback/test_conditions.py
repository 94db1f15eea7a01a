"""writeback/conditions.py on stores that honour, ignore or refuse the conditions of a write (P6)."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from s3mount.drive import Drive, DriveOptions
from s3mount.errors import PreconditionFailed, Rejected, StoreError, Throttled
from s3mount.model import Caller, ETag, ObjectInfo, ObjectKey
from s3mount.remote.defaults import Defaults
from s3mount.store.base import ANY, Body, Condition, ConditionKind
from s3mount.vfs.paths import PathFileSystem
from s3mount.writeback.conditions import Support
from tests.support.memory_store import MemoryStore


class IgnoringStore(MemoryStore):
    """Writes whatever is there, as many emulators do."""

    def put(
        self, key: ObjectKey, body: Body, *, metadata: Mapping[str, str], content_type: str, condition: Condition = ANY
    ) -> ETag:
        return super().put(key, body, metadata=metadata, content_type=content_type)


class TreeStore(MemoryStore):
    """Shows directories that nobody made, and lets nobody make or delete them on a condition, as SeaweedFS does."""

    def _is_implicit(self, key: ObjectKey) -> bool:
        return key.endswith("/") and key not in self._objects and any(k.startswith(key) for k in self._objects)

    def put(
        self, key: ObjectKey, body: Body, *, metadata: Mapping[str, str], content_type: str, condition: Condition = ANY
    ) -> ETag:
        if condition.kind is not ConditionKind.ANY and self._is_implicit(key):
            self._count("PutObject")
            raise PreconditionFailed("a directory is there")
        return super().put(key, body, metadata=metadata, content_type=content_type, condition=condition)

    def head(self, key: ObjectKey) -> ObjectInfo:
        if self._is_implicit(key):
            self._count("HeadObject")
            return ObjectInfo(key, 0, ETag("d41d8cd98f00b204e9800998ecf8427e-0"), 0, {})
        return super().head(key)

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        refused = {key for key, etag in versions.items() if etag and self._is_implicit(key)}
        error = PreconditionFailed("a directory is there")
        rest = {key: etag for key, etag in versions.items() if key not in refused}
        return {**super().delete(rest), **dict.fromkeys(refused, error)}


class RefusingStore(MemoryStore):
    """Refuses If-Match whether the version is right or not, as Ceph's gateway 16 does."""

    def put(
        self, key: ObjectKey, body: Body, *, metadata: Mapping[str, str], content_type: str, condition: Condition = ANY
    ) -> ETag:
        if condition.kind is ConditionKind.MATCHES:
            raise PreconditionFailed("no If-Match here")
        return super().put(key, body, metadata=metadata, content_type=content_type, condition=condition)


class RejectingDeletes(MemoryStore):
    """Refuses a whole request for the ETag in it, as a server that checks the XML does."""

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        if any(versions.values()):
            raise Rejected("MalformedXML")
        return super().delete(versions)


class NeverMatchingDeletes(MemoryStore):
    """Takes no ETag for the right one."""

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        return super().delete({key: etag and ETag(f"not {etag}") for key, etag in versions.items()})


class IgnoringDeletes(IgnoringStore):
    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        return super().delete(dict.fromkeys(versions))


class BusyStore(MemoryStore):
    """Asks for the first delete of each key to be sent again, as S3 does when another request is at that key."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[ObjectKey] = set()

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        busy = versions.keys() - self.asked
        self.asked |= busy
        super().delete({key: etag for key, etag in versions.items() if key not in busy})
        return {key: Throttled("ConditionalRequestConflict") for key in busy}


class LockedStore(MemoryStore):
    """Refuses every delete, and not for an ETag."""

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        return dict.fromkeys(versions, Rejected("locked"))


def make_drive(store: MemoryStore, folder: Path) -> Drive:
    folder.mkdir(exist_ok=True)
    options = DriveOptions(
        defaults=Defaults(0, 0, 0o022), cache_limit_bytes=1 << 26, write_back_delay_s=0.02, may_probe=True
    )
    return Drive(store, folder, options)


def paths(drive: Drive) -> PathFileSystem:
    return PathFileSystem(drive.filesystem)


def write(drive: Drive, path: str, content: bytes) -> None:
    fh = paths(drive).create(path, 0o644, os.O_WRONLY | os.O_TRUNC, Caller(0, 0))
    paths(drive).write(fh, 0, content)
    paths(drive).flush(fh)
    paths(drive).release(fh)


def drain(drive: Drive) -> None:
    assert drive.drain(20, lambda _: None) == []


def body(store: MemoryStore, key: str) -> bytes:
    return store.objects()[ObjectKey(key)].body


@pytest.mark.parametrize(("store", "support"), [(MemoryStore(), Support.HONOURED), (IgnoringStore(), Support.IGNORED)])
def test_found_out_at_the_first_mount_and_kept(store: MemoryStore, support: Support, tmp_path: Path) -> None:
    drive = make_drive(store, tmp_path / "state")
    drive.close()  # waits for the recovery thread, which probes
    assert drive.writeback.conditional_writes is support
    assert store.objects() == {}
    requests = store.request_counts()["PutObject"]
    drive = make_drive(store, tmp_path / "state")
    assert drive.writeback.conditional_writes is support
    drive.close()
    assert store.request_counts()["PutObject"] == requests


def test_both_sides_are_kept_on_a_store_that_ignores_conditions(tmp_path: Path) -> None:
    store = IgnoringStore()
    make_drive(store, tmp_path / "state").close()
    drive = make_drive(store, tmp_path / "state")
    write(drive, "/file", b"first")
    drain(drive)
    store.foreign_put("file", b"foreign")
    write(drive, "/file", b"second")
    drain(drive)
    drive.close()
    assert body(store, "file") == b"foreign"
    (copy,) = [key for key in store.objects() if "(conflict" in key]
    assert body(store, copy) == b"second"


def test_files_are_overwritten_on_a_store_that_refuses_if_match(tmp_path: Path) -> None:
    store = RefusingStore()
    drive = make_drive(store, tmp_path / "state")
    for content in (b"first", b"second", b"third"):
        write(drive, "/file", content)
        drain(drive)
        assert body(store, "file") == content
    assert drive.writeback.conditional_writes is Support.REFUSED
    store.foreign_put("file", b"foreign")
    write(drive, "/file", b"fourth")
    drain(drive)
    drive.close()
    assert body(store, "file") == b"foreign"
    assert len(store.objects()) == 2


@pytest.mark.parametrize("kind", [IgnoringStore, RefusingStore])
def test_a_marker_is_not_written_over_content_on_a_store_without_conditions(
    kind: type[MemoryStore], tmp_path: Path
) -> None:
    store = kind()
    make_drive(store, tmp_path / "state").close()
    drive = make_drive(store, tmp_path / "state")
    for mode in (0o700, 0o755):
        paths(drive).mkdir(f"/d{mode}", mode, Caller(0, 0))
        drain(drive)
        paths(drive).chmod(f"/d{mode}", 0o711)
        drain(drive)
        assert store.objects()[ObjectKey(f"d{mode}/")].metadata["mode"] == str(0o40711)
    store.foreign_put("d448/", b"foreign")
    paths(drive).chmod("/d448", 0o700)
    drain(drive)
    assert body(store, "d448/") == b"foreign"
    paths(drive).unlink("/d448/%key")
    paths(drive).rmdir("/d448")
    paths(drive).rmdir("/d493")
    drain(drive)
    drive.close()
    assert store.objects() == {}


def test_directories_that_a_store_makes_by_itself_cost_no_further_requests(tmp_path: Path) -> None:
    store = TreeStore()
    for number in range(20):
        store.foreign_put(f"{number}/x", b"x")
    drive = make_drive(store, tmp_path / "state")
    for number in range(20):
        paths(drive).readdir(paths(drive).opendir(f"/{number}"))
        paths(drive).chmod(f"/{number}", 0o700)
        drain(drive)
    drive.close()
    counts = store.request_counts()
    assert counts["PutObject"] <= 20 + 1 + 1, "a marker each, the probe, and the first marker once more"
    drive = make_drive(store, tmp_path / "state")
    for number in range(20):
        paths(drive).unlink(f"/{number}/x")
        paths(drive).rmdir(f"/{number}")
    drain(drive)
    drive.close()
    assert store.objects() == {}
    assert store.request_counts()["PutObject"] == counts["PutObject"]


@pytest.mark.parametrize("kind", [RejectingDeletes, NeverMatchingDeletes, IgnoringDeletes])
def test_deletes_spare_a_foreign_version_on_a_store_without_conditional_ones(
    kind: type[MemoryStore], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = kind()
    make_drive(store, tmp_path / "state").close()  # waits for the probe
    drive = make_drive(store, tmp_path / "state")
    for number in range(10):
        write(drive, f"/{number}", b"ours")
    drain(drive)
    store.foreign_put("3", b"foreign")
    for number in range(10):
        paths(drive).unlink(f"/{number}")
    drain(drive)
    assert set(store.objects()) == {"3"}
    write(drive, "/more", b"ours")
    drain(drive)
    paths(drive).unlink("/more")
    drain(drive)
    drive.close()
    assert set(store.objects()) == {"3"}
    told = [record for record in caplog.records if "refuses ETags in deletes" in record.message]
    assert len(told) == (kind is not IgnoringDeletes)


def test_a_delete_refused_for_another_reason_is_shown_and_tries_little(tmp_path: Path) -> None:
    store = LockedStore()
    drive = make_drive(store, tmp_path / "state")
    for number in range(10):
        write(drive, f"/{number}", b"ours")
    drain(drive)
    for number in range(10):
        paths(drive).unlink(f"/{number}")
    left = drive.drain(5, lambda _: None)
    drive.close()
    assert {entry.path for entry in left} == {f"/{number}" for number in range(10)}
    assert all("locked" in entry.cause for entry in left)
    assert store.request_counts()["HeadObject"] < 5


def test_a_delete_that_is_to_be_sent_again_is_not_called_refused(tmp_path: Path) -> None:
    store = BusyStore()
    drive = make_drive(store, tmp_path / "state")
    write(drive, "/file", b"ours")
    drain(drive)
    paths(drive).unlink("/file")
    drain(drive)
    drive.close()
    assert store.objects() == {}
    assert store.asked == {"file"}

"""A tree written by s3mount looks the same through the real s3fs and rclone, and one written by them, or by s3cmd, the
same through s3mount: content, modes, owners, times, links."""

import json
import os
import stat
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from tests.acceptance.watching import keys_of
from tests.support import s3_programs
from tests.support.cli_mount import CliMount
from tests.support.s3_server import SEAWEEDFS, S3Server

NS = 10**9
MODES = {"plain": 0o644, "private": 0o600, "run me": 0o755, "none": 0o000, "üñí": 0o640}
# s3fs 1.90 reads the digits behind the point as a number, rclone as a fraction: nine digits are the same to both.
TIMES_NS = [1_700_000_000 * NS, 1_700_000_001 * NS + 5, 1_600_000_000 * NS + 120_000_000, 1_000_000_000 * NS + NS - 1]

Look = tuple[str, int, int, int, int, bytes]


@pytest.fixture(params=["seaweed", "ministack"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


def make_tree(root: Path, *, has_dir_attributes: bool = True) -> None:
    for number, (name, mode) in enumerate(MODES.items()):
        path = root / name
        path.write_bytes(name.encode() * (number + 1))
        os.chown(path, 1000 + number, 2000 + number)
        path.chmod(mode)
        time_ns = TIMES_NS[number % len(TIMES_NS)]
        os.utime(path, ns=(time_ns, time_ns))
    (root / "dir").mkdir()
    (root / "dir/below").write_bytes(b"below")
    os.utime(root / "dir/below", ns=(TIMES_NS[1], TIMES_NS[1]))
    (root / "dir/empty").mkdir()
    (root / "link").symlink_to("dir/below")
    os.chown(root / "link", 5, 6, follow_symlinks=False)
    if has_dir_attributes:
        (root / "dir").chmod(0o750)
        os.chown(root / "dir", 7, 8)


def look(root: Path, *, has_dir_attributes: bool) -> dict[str, Look]:
    """What lstat and read say of each path. Times of links and directories are left out: the programs do not keep
    them alike."""
    found: dict[str, Look] = {}
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        kind = stat.filemode(state.st_mode)[0]
        mode, owner, group, mtime_ns = state.st_mode, state.st_uid, state.st_gid, state.st_mtime_ns
        content = os.fsencode(os.readlink(path)) if kind == "l" else b"" if kind == "d" else path.read_bytes()
        if kind != "-":
            mtime_ns = 0
        if kind == "d" and not has_dir_attributes:
            mode = owner = group = 0
        found[str(path.relative_to(root))] = (kind, mode, owner, group, mtime_ns, content)
    return found


def test_s3fs_reads_what_s3mount_wrote_and_the_other_way_round(server: S3Server, tmp_path: Path) -> None:
    has_dirs = server.name != SEAWEEDFS
    local = tmp_path / "local"
    local.mkdir()
    make_tree(local)
    wanted = look(local, has_dir_attributes=has_dirs)

    bucket = server.make_bucket()
    with CliMount(server, bucket, tmp_path / "ours") as drive:
        drive.mount()
        subprocess.run(["cp", "-a", f"{local}/.", drive.mountpoint], check=True)
        drive.drain()
        with s3_programs.s3fs(server, bucket, tmp_path / "theirs") as root:
            assert look(root, has_dir_attributes=has_dirs) == wanted
            (root / "plain").chmod(0o604)
            os.chown(root / "private", 77, 78)
            (root / "dir/below").write_bytes(b"written by s3fs")
            os.utime(root / "dir/below", ns=(TIMES_NS[2], TIMES_NS[2]))
            (root / "link").unlink()
            (root / "link").symlink_to("../ elsewhere")
            theirs = look(root, has_dir_attributes=has_dirs)
    assert theirs != wanted
    with CliMount(server, bucket, tmp_path / "again") as drive:
        drive.mount()
        assert look(drive.mountpoint, has_dir_attributes=has_dirs) == theirs

    bucket = server.make_bucket()
    with s3_programs.s3fs(server, bucket, tmp_path / "first") as root:
        make_tree(root, has_dir_attributes=has_dirs)
        theirs = look(root, has_dir_attributes=has_dirs)
    assert theirs == wanted
    with CliMount(server, bucket, tmp_path / "then") as drive:
        drive.mount()
        assert look(drive.mountpoint, has_dir_attributes=has_dirs) == wanted


def test_rclone_reads_what_s3mount_wrote(server: S3Server, tmp_path: Path) -> None:
    """Content and times, to the nanosecond. A link is a file with its target as content to rclone."""
    bucket = server.make_bucket()
    with CliMount(server, bucket, tmp_path) as drive:
        drive.mount()
        make_tree(drive.mountpoint)
        drive.drain()
    copy = tmp_path / "copy"
    s3_programs.rclone(server, "copy", f"it:{bucket}", str(copy))
    for number, name in enumerate(MODES):
        assert (copy / name).read_bytes() == name.encode() * (number + 1)
        assert (copy / name).stat().st_mtime_ns == TIMES_NS[number % len(TIMES_NS)]
    assert (copy / "dir/below").stat().st_mtime_ns == TIMES_NS[1]
    assert (copy / "link").read_text() == "dir/below"
    listed = {entry["Path"]: entry for entry in json.loads(s3_programs.rclone(server, "lsjson", "-R", f"it:{bucket}"))}
    assert set(listed) >= {*MODES, "dir", "dir/below", "link"}
    assert datetime.fromisoformat(listed["plain"]["ModTime"]).timestamp() == TIMES_NS[0] / NS


@pytest.mark.parametrize("options", [[], ["--metadata"], ["--links"]], ids=["plain", "metadata", "links"])
def test_s3mount_reads_what_rclone_wrote(server: S3Server, tmp_path: Path, options: list[str]) -> None:
    local, bucket = tmp_path / "local", server.make_bucket()
    local.mkdir()
    make_tree(local)
    s3_programs.rclone(server, "copy", *options, str(local), f"it:{bucket}")
    wanted = {path: seen for path, seen in look(local, has_dir_attributes=False).items() if seen[0] == "-"}
    with CliMount(server, bucket, tmp_path) as drive:
        drive.mount()
        found = look(drive.mountpoint, has_dir_attributes=False)
        if options == ["--links"]:
            # As they are to rclone itself when it is not asked for links.
            assert found.pop("link.rclonelink")[-1] == b"dir/below"
        if options != ["--metadata"]:
            wanted = {path: (kind, 0, 0, 0, *rest) for path, (kind, _, _, _, *rest) in wanted.items()}  # type: ignore[misc]
            found = {path: (kind, 0, 0, 0, *rest) for path, (kind, _, _, _, *rest) in found.items()}  # type: ignore[misc]
        assert {path: seen for path, seen in found.items() if seen[0] == "-"} == wanted
        # A change here keeps what is known, in the forms that s3mount writes.
        os.chmod(drive.mountpoint / "plain", 0o611)
        drive.drain()
    again = tmp_path / "again"
    s3_programs.rclone(server, "copy", f"it:{bucket}", str(again))
    assert (again / "plain").stat().st_mtime_ns == TIMES_NS[0]


def test_s3mount_reads_what_s3cmd_wrote(server: S3Server, tmp_path: Path) -> None:
    local, bucket = tmp_path / "local", server.make_bucket()
    local.mkdir()
    make_tree(local)
    s3_programs.s3cmd(server, tmp_path, "sync", "--preserve", "--no-progress", f"{local}/", f"s3://{bucket}/")
    assert "plain" in keys_of(server, bucket)
    with CliMount(server, bucket, tmp_path) as drive:
        drive.mount()
        found = look(drive.mountpoint, has_dir_attributes=False)
        for path, (kind, mode, owner, group, mtime_ns, content) in look(local, has_dir_attributes=False).items():
            if kind == "-" and path != "none":
                # s3cmd keeps whole seconds.
                assert found[path] == (kind, mode, owner, group, mtime_ns // NS * NS, content)


def test_links_of_geesefs(ministack: S3Server, tmp_path: Path) -> None:
    """No package carries it: an object as its source code says that it writes one."""
    bucket = ministack.make_bucket()
    ministack.client.put_object(
        Bucket=bucket, Key="link", Body=b"", Metadata={"--symlink-target": "to/100%25", "mtime": "1700000000"}
    )
    with CliMount(ministack, bucket, tmp_path) as drive:
        drive.mount()
        assert os.readlink(drive.mountpoint / "link") == "to/100%"
        assert (drive.mountpoint / "link").lstat().st_size == len("to/100%")
        (drive.mountpoint / "link").rename(drive.mountpoint / "moved")
        drive.drain()
    with CliMount(ministack, bucket, tmp_path / "empty") as drive:
        drive.mount()
        assert os.readlink(drive.mountpoint / "moved") == "to/100%"

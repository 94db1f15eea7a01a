"""Who may do what on a mount: nobody but its user without --allow-other; with it, what owner and mode say."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.test_commands import mount_options_of
from tests.security.others import SECOND_STRANGER, STRANGER, STRANGERS_GROUP, run_as
from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server


@contextmanager
def mounted(server: S3Server, tmp_path: Path, *options: str) -> Iterator[CliMount]:
    bucket = server.make_bucket()
    server.client.put_object(Bucket=bucket, Key="foreign", Body=b"body")
    program = {"mode": str(0o106755), "uid": "0", "gid": "0"}
    server.client.put_object(Bucket=bucket, Key="program", Body=Path("/usr/bin/id").read_bytes(), Metadata=program)
    device = {"mode": str(0o020666), "uid": "0", "gid": "0", "rdev": str(os.makedev(1, 5))}
    server.client.put_object(Bucket=bucket, Key="device", Body=b"", Metadata=device)
    with CliMount(server, bucket, tmp_path, "--write-back-delay=50ms", expected_log=["DENIED"]) as drive:
        drive.mount(*options)
        yield drive


def test_other_users_are_kept_out_by_default(seaweed: S3Server, tmp_path: Path) -> None:
    """Root among them, were the mount another's; the folders above are opened here so that the mount itself answers."""
    with mounted(seaweed, tmp_path) as drive:
        assert "allow_other" not in mount_options_of(drive)
        folder = drive.mountpoint
        folder.chmod(0o777)
        for attempt in (
            "os.listdir('.')",
            "open('foreign')",
            "os.stat('foreign')",
            "open('new', 'w')",
            "os.mkdir('d')",
        ):
            assert run_as(folder.parent, f"os.chdir({folder.name!r}); {attempt}") in ("EACCES", "EPERM"), attempt
            assert run_as(folder, attempt) in ("EACCES", "EPERM"), attempt
        assert sorted(os.listdir(folder)) == ["device", "foreign", "program"]


@pytest.fixture(scope="module")
def shared(seaweed: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliMount]:
    """One mount for all that follows, each test in a folder of its own. `suid` and `dev` are asked for."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user: NOT TESTED: security")
    with mounted(seaweed, tmp_path_factory.mktemp("shared"), "--allow-other", "-o", "suid,dev") as drive:
        drive.mountpoint.chmod(0o755)
        yield drive


@pytest.fixture
def folder(shared: CliMount, request: pytest.FixtureRequest) -> Path:
    folder = shared.mountpoint / str(request.node.name)
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_a_private_file_is_its_owners(folder: Path) -> None:
    assert run_as(folder, "open('f', 'w').write('mine'); os.chmod('f', 0o600)") == ""
    assert (folder / "f").stat().st_uid == STRANGER
    for attempt in ("open('f')", "open('f', 'a')", "os.truncate('f', 0)"):
        assert run_as(folder, attempt, SECOND_STRANGER) == "EACCES", attempt
    for attempt in ("os.chmod('f', 0o666)", "os.utime('f', (1, 1))", f"os.chown('f', {SECOND_STRANGER}, -1)"):
        assert run_as(folder, attempt, SECOND_STRANGER) == "EPERM", attempt
    assert run_as(folder, "print(open('f').read())") == "mine"


def test_group_bits_count_for_the_group_alone(folder: Path) -> None:
    for name, mode in (("group", 0o640), ("others", 0o604)):
        (folder / name).write_text("x")
        (folder / name).chmod(mode)
        os.chown(folder / name, 0, STRANGERS_GROUP)
    assert run_as(folder, "print(open('group').read())") == "x"
    assert run_as(folder, "open('group', 'a')") == "EACCES"
    # A member of the group gets what the group gets, even where others get more.
    assert run_as(folder, "open('others')") == "EACCES"


def test_a_directorys_bits(folder: Path) -> None:
    for name, mode in (("closed", 0o700), ("pass", 0o711), ("look", 0o744), ("shown", 0o755)):
        (folder / name).mkdir()
        (folder / name / "f").write_text("x")
        (folder / name).chmod(mode)
    assert run_as(folder, "os.listdir('closed')") == "EACCES"
    assert run_as(folder, "os.stat('closed/f')") == "EACCES"
    assert run_as(folder, "os.listdir('pass')") == "EACCES"
    assert run_as(folder, "print(open('pass/f').read())") == "x"
    assert run_as(folder, "print(os.listdir('look'))") == "['f']"
    assert run_as(folder, "open('look/f')") == "EACCES"
    for attempt in (
        "open('shown/new', 'w')",
        "os.remove('shown/f')",
        "os.rename('shown/f', 'f')",
        "os.mkdir('shown/d')",
    ):
        assert run_as(folder, attempt) == "EACCES", attempt


def test_a_sticky_directory(folder: Path) -> None:
    folder.chmod(0o1777)
    assert run_as(folder, "open('f', 'w').close(); os.mkdir('d')") == ""
    for attempt in ("os.remove('f')", "os.rename('f', 'g')", "os.rmdir('d')"):
        assert run_as(folder, attempt, SECOND_STRANGER) in ("EPERM", "EACCES"), attempt
    assert run_as(folder, "open('own', 'w').close(); os.rename('own', 'f')", SECOND_STRANGER) in ("EPERM", "EACCES")
    assert run_as(folder, "os.rename('f', 'g'); os.remove('g'); os.rmdir('d')") == ""


def test_only_root_gives_files_away(folder: Path) -> None:
    assert run_as(folder, "open('f', 'w').close()") == ""
    for attempt in (f"os.chown('f', {SECOND_STRANGER}, -1)", "os.chown('f', 0, 0)", "os.chown('f', -1, 0)"):
        assert run_as(folder, attempt) == "EPERM", attempt
    os.chown(folder / "f", SECOND_STRANGER, STRANGERS_GROUP)
    assert run_as(folder, "os.chmod('f', 0o777)") == "EPERM"
    assert run_as(folder, "os.chmod('f', 0o600)", SECOND_STRANGER) == ""


def test_a_setuid_program_gives_no_rights(shared: CliMount, folder: Path) -> None:
    """Made here, or with metadata that somebody else put; the mount is nosuid whatever -o says."""
    assert {"nosuid", "nodev"} <= set(mount_options_of(shared))
    shutil.copy("/usr/bin/id", folder / "id")
    (folder / "id").chmod(0o6755)
    ask = "os.execv('{}', ['id', '-u'])"
    assert run_as(folder, ask.format("./id")) == str(STRANGER)
    foreign = shared.mountpoint / "program"
    assert (foreign.stat().st_mode & 0o7777, foreign.stat().st_uid) == (0o6755, 0)
    assert run_as(shared.mountpoint, ask.format("./program")) == str(STRANGER)


def test_a_device_of_the_bucket_gives_nobody_a_device(shared: CliMount) -> None:
    """It is shown, so that backups keep it; the mount is nodev, for root as well."""
    device = shared.mountpoint / "device"
    assert stat.S_ISCHR(device.stat().st_mode)
    assert run_as(shared.mountpoint, "print(open('device', 'rb').read(1))") == "EACCES"
    with pytest.raises(PermissionError):
        device.open("rb")


def test_a_link_is_followed_with_the_callers_rights(shared: CliMount, tmp_path: Path) -> None:
    """Never with those of the mount's process, which here is root's."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    link = shared.mountpoint / "link"
    link.symlink_to(secret)
    assert run_as(shared.mountpoint, "open('link')") == "EACCES"
    assert run_as(shared.mountpoint, "open('link', 'w')") == "EACCES"
    assert link.read_text() == "x"

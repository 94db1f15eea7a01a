"""The control channels from end to end: ControlClient asks a ControlServer over fake handlers."""

import contextlib
import json
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from s3mount.control import client as client_module
from s3mount.control import server as server_module
from s3mount.control.channel import Channel, channel_at
from s3mount.control.client import ControlClient
from s3mount.control.loopback_channel import LoopbackChannel
from s3mount.control.protocol import (
    PROGRESS_INTERVAL_S,
    ControlRefused,
    ControlUnreachable,
    DrainProgress,
    OwedFile,
    encode,
)
from s3mount.control.server import ControlServer
from s3mount.errors import MountError
from tests.unit.control.fake_mount import FakeHandlers


@pytest.fixture
def handlers() -> FakeHandlers:
    return FakeHandlers()


@pytest.fixture(params=["this system's", "loopback"])
def channel(request: pytest.FixtureRequest, tmp_path: Path) -> Channel:
    path = tmp_path / "socket"
    return LoopbackChannel(path) if request.param == "loopback" else channel_at(path)


@pytest.fixture
def server(channel: Channel, handlers: FakeHandlers) -> Iterator[ControlServer]:
    server = ControlServer(channel, handlers)
    server.start()
    yield server
    server.close()


@pytest.fixture
def client(channel: Channel, server: ControlServer) -> ControlClient:
    return ControlClient(channel, answer_deadline_s=5)


def test_status_comes_through_whole(client: ControlClient, handlers: FakeHandlers) -> None:
    handlers.extra = {"errors": [{"path": "a/ü\udc80", "cause": "403", "since": 1}], "requests": {"PutObject": 3}}
    assert client.status() == handlers.status()


def test_drain_streams_progress_and_returns_what_is_owed(client: ControlClient, handlers: FakeHandlers) -> None:
    handlers.drain_steps = [DrainProgress(3, 100, 2), DrainProgress(1, 10, 1, errors=1)]
    handlers.owed = [OwedFile("a b/ü", "403 Forbidden")]
    seen: list[DrainProgress] = []
    assert client.drain(deadline_s=2.5, progress=seen.append) == handlers.owed
    assert seen == handlers.drain_steps
    assert handlers.drains == [2.5]


def test_drain_without_a_deadline_hands_on_none(client: ControlClient, handlers: FakeHandlers) -> None:
    assert client.drain(deadline_s=None) == []
    assert handlers.drains == [None]


def test_stop_hands_on_whether_to_drain(client: ControlClient, handlers: FakeHandlers) -> None:
    client.stop(drain=False)
    client.stop(drain=True)
    assert handlers.stops == [False, True]


def test_detach_is_handed_on(client: ControlClient, handlers: FakeHandlers) -> None:
    client.detach()
    assert handlers.detached == 1


def test_refresh_hands_on_the_path(client: ControlClient, handlers: FakeHandlers) -> None:
    path = "/" + "ü\udc80" * 500
    assert client.refresh(path, recursive=True) == 1
    assert handlers.refreshes == [(path, True)]


def test_followers_learn_what_is_owed_when_the_process_ends(client: ControlClient, server: ControlServer) -> None:
    owed = [OwedFile("left", "no network")]
    with client.follow() as farewell:
        threading.Timer(0.05, server.close, [owed]).start()
        assert farewell.wait(5) == owed


class EndlessDrain(FakeHandlers):
    """Goes on draining until the asker is gone, and takes its time to end."""

    def __init__(self) -> None:
        super().__init__()
        self.is_draining = threading.Event()
        self.has_ended = False

    def drain(self, deadline_s: float | None, progress: Callable[[DrainProgress], None]) -> list[OwedFile]:
        try:
            while True:
                progress(DrainProgress(1, 10, 1))
                self.is_draining.set()
                time.sleep(0.01)
        finally:
            time.sleep(0.1)
            self.has_ended = True


def test_a_conclusion_ends_the_drain_in_flight_before_it_returns(channel: Channel) -> None:
    handlers, owed, answers = EndlessDrain(), [OwedFile("left", "no network")], []
    server = ControlServer(channel, handlers)
    server.start()
    client = ControlClient(channel, answer_deadline_s=5)
    asker = threading.Thread(target=lambda: answers.append(client.drain(deadline_s=None)))
    asker.start()
    assert handlers.is_draining.wait(5)
    server.conclude(owed)
    assert handlers.has_ended
    asker.join(5)
    assert answers == [owed]
    server.close(owed)


def test_after_the_conclusion_no_handler_is_asked(
    client: ControlClient, server: ControlServer, handlers: FakeHandlers
) -> None:
    handlers.extra = {"state": "draining"}
    server.conclude([OwedFile("left", "no network")])
    handlers.status_error = RuntimeError("the drive is closed")
    assert client.status()["state"] == "draining"
    assert client.drain(deadline_s=1) == [OwedFile("left", "no network")]
    assert handlers.drains == []
    with client.follow() as farewell:
        assert farewell.wait(PROGRESS_INTERVAL_S * 1.5) is None


def test_follow_gives_none_when_the_deadline_passes_first(client: ControlClient) -> None:
    with client.follow() as farewell:
        assert farewell.wait(0.05) is None


def test_the_deadline_passes_also_by_a_clock_that_lags(client: ControlClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows' moves every 16 ms."""
    with client.follow() as farewell:
        now = time.monotonic()
        monkeypatch.setattr(client_module.time, "monotonic", lambda: now)
        assert farewell.wait(0.05) is None
        monkeypatch.undo()


def test_follow_of_a_process_that_dies_is_an_error(channel: Channel) -> None:
    with channel.listen() as listener:
        listener.settimeout(5)

        def die() -> None:
            connection = listener.accept()[0]
            connection.settimeout(5)
            with connection:
                assert channel.admits(connection)

        process = threading.Thread(target=die)
        process.start()
        with ControlClient(channel).follow() as farewell:
            process.join()
            with pytest.raises(ControlUnreachable, match=r"ended without an answer|broke off"):
                farewell.wait(5)


def test_an_error_of_a_handler_is_told_in_one_line(client: ControlClient, handlers: FakeHandlers) -> None:
    handlers.status_error = MountError("the index is broken")
    with pytest.raises(ControlRefused, match="the index is broken"):
        client.status()
    handlers.status_error = FileNotFoundError("cache/17")
    with pytest.raises(ControlRefused, match=r"status failed: FileNotFoundError"):
        client.status()
    handlers.status_error = None
    assert client.status()["state"] == "mounted"


def test_nobody_listening_is_unreachable(channel: Channel) -> None:
    with pytest.raises(ControlUnreachable):
        ControlClient(channel).status()


def test_a_process_that_is_gone_is_unreachable(channel: Channel) -> None:
    channel.listen().close()
    with pytest.raises(ControlUnreachable, match="does not answer"):
        ControlClient(channel).status()


def test_a_silent_process_is_unreachable_after_the_deadline(
    channel: Channel, server: ControlServer, handlers: FakeHandlers
) -> None:
    handlers.release_status.clear()
    start = time.monotonic()
    with pytest.raises(ControlUnreachable, match="silent"):
        ControlClient(channel, answer_deadline_s=1.0).status()
    assert time.monotonic() - start < 3
    handlers.release_status.set()


@pytest.mark.parametrize("line", [b"not json\n", b"[]\n", b'{"op": "format"}\n', b"x" * 20_000])
def test_a_request_that_makes_no_sense_is_refused(channel: Channel, server: ControlServer, line: bytes) -> None:
    with channel.connect(5) as asker:
        asker.sendall(line)
        assert b"not understood" in asker.recv(4096)


def test_connections_are_bounded(channel: Channel, handlers: FakeHandlers) -> None:
    server = ControlServer(channel, handlers, connections_max=1)
    server.start()
    client = ControlClient(channel)
    with client.follow():
        while True:
            try:
                client.status()
            except ControlRefused as error:
                assert "too many" in str(error)  # noqa: PT017 - the first question may come before the follower's
                break
    server.close()


def test_other_users_are_refused(
    client: ControlClient, channel: Channel, handlers: FakeHandlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    admits = channel.admits
    monkeypatch.setattr(channel, "admits", lambda connection: admits(connection) and False)
    with pytest.raises(ControlRefused, match="another user"):
        client.status()


def test_a_refusal_ends_in_good_order_whatever_was_asked(
    client: ControlClient, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is closed on unread words is reset, and on Windows the reset takes the refusal with it."""

    def refuse_late(connection: socket.socket) -> bool:
        admits(connection)
        time.sleep(0.2)
        return False

    admits = channel.admits
    monkeypatch.setattr(channel, "admits", refuse_late)
    with channel.connect(5.0) as connection:
        connection.sendall(encode({"op": "status"}))
        answer = b""
        while piece := connection.recv(1 << 10):
            answer += piece
    assert b"another user" in answer


def test_a_refusal_may_come_before_the_question(
    client: ControlClient, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encoded_late(request: Mapping[str, object]) -> bytes:
        time.sleep(0.3)
        return encode(request)

    admits = channel.admits
    monkeypatch.setattr(channel, "admits", lambda connection: admits(connection) and False)
    monkeypatch.setattr(client_module, "encode", encoded_late)
    with pytest.raises(ControlRefused, match="another user"):
        client.status()


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the system does not name the peer")
def test_the_peer_is_judged_by_its_uid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = channel_at(tmp_path / "socket")
    left, right = socket.socketpair()
    with left, right:
        assert channel.admits(left)
        own_uid = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: own_uid + 1)
        assert channel.admits(left) == (own_uid == 0)


def test_the_socket_is_private_and_gone_after_close(tmp_path: Path, channel: Channel, handlers: FakeHandlers) -> None:
    server = ControlServer(channel, handlers)
    server.start()
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600
    server.close()
    assert not (tmp_path / "socket").exists()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_path_too_long_for_a_socket_works(tmp_path: Path, handlers: FakeHandlers) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    server = ControlServer(channel_at(folder / "socket"), handlers)
    server.start()
    assert ControlClient(channel_at(folder / "socket")).status()["bucket"] == "fake"
    server.close()


# -- the secret of a loopback port -------------------------------------------------------------------------------


@pytest.fixture
def loopback(tmp_path: Path, handlers: FakeHandlers) -> Iterator[Path]:
    path = tmp_path / "secret"
    server = ControlServer(LoopbackChannel(path), handlers)
    server.start()
    yield path
    server.close()


def changed(path: Path, **fields: object) -> Path:
    other = path.with_name("other")
    other.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return other


def test_who_does_not_know_the_secret_is_told_nothing_and_tells_nothing(loopback: Path, handlers: FakeHandlers) -> None:
    with pytest.raises(ControlUnreachable, match="not the mount process"):
        ControlClient(LoopbackChannel(changed(loopback, secret="00" * 32))).detach()
    assert handlers.detached == 0


@pytest.mark.parametrize("proof", [b"\n", b"00" * 32 + b"\n", b"\xff" * 64 + b"\n", b'{"op":"detach"}\n', b"x" * 5000])
def test_a_wrong_proof_is_refused(loopback: Path, handlers: FakeHandlers, proof: bytes) -> None:
    port = json.loads(loopback.read_text())["port"]
    with socket.create_connection(("127.0.0.1", port), 5) as asker:
        asker.sendall(b"ab" * 32 + b"\n")
        told = asker.recv(4096)
        assert json.loads(loopback.read_text())["secret"].encode() not in told
        asker.sendall(proof + b'{"op":"detach"}\n')
        with contextlib.suppress(ConnectionError):  # closed while words were unread
            assert b"another user" in asker.recv(4096)
    assert handlers.detached == 0


def test_a_proof_is_good_for_one_conversation(loopback: Path, handlers: FakeHandlers) -> None:
    """Whoever saw one cannot say it again, nor give the process' own proof back to it."""
    port = json.loads(loopback.read_text())["port"]
    asked = b"ab" * 32 + b"\n"
    with socket.create_connection(("127.0.0.1", port), 5) as asker:
        asker.sendall(asked)
        proof = json.loads(asker.recv(4096))["proof"].encode()
        asker.sendall(proof + b"\n")
        assert b"another user" in asker.recv(4096)
    assert handlers.detached == 0


def test_an_imposter_at_the_port_of_a_dead_process_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    LoopbackChannel(path).listen().close()
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as imposter:

        def answer() -> None:
            connection, _ = imposter.accept()
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(json.dumps({"nonce": "00", "proof": "00"}).encode() + b"\n")
                heard.append(connection.recv(4096))

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ControlUnreachable, match="not the mount process"):
            ControlClient(LoopbackChannel(changed(path, port=imposter.getsockname()[1]))).stop(drain=False)
        thread.join(5)
    assert len(heard[0]) == 65
    assert heard[1:] == [b""]


def test_a_slow_asker_is_given_up_as_a_whole(loopback: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "REQUEST_DEADLINE_S", 0.3)
    port = json.loads(loopback.read_text())["port"]
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 5) as asker, contextlib.suppress(ConnectionError):
        while time.monotonic() - start < 5:
            asker.sendall(b"a")
            time.sleep(0.1)
    assert time.monotonic() - start < 3


def test_a_file_that_is_no_secret_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    with pytest.raises(ControlUnreachable, match="does not say"):
        ControlClient(LoopbackChannel(tmp_path / "secret")).status()

"""Asking a mount process something: the commands' end of the control socket.

Used by cli/ and demo/. One connection for each request, one thread; every wait has a deadline. Raises
ControlUnreachable when the process is gone, silent or breaks off, ControlRefused when it says no.
"""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from s3mount.control.channel import Channel
from s3mount.control.protocol import (
    ANSWER_BYTES_MAX,
    ControlRefused,
    ControlUnreachable,
    DrainProgress,
    Operation,
    OwedFile,
    decode,
    decode_owed,
    encode,
)

ANSWER_DEADLINE_S: Final = 15.0

ProgressCallback = Callable[[DrainProgress], None]


def _ignore_progress(_now: DrainProgress) -> None:
    pass


class ControlClient:
    def __init__(self, channel: Channel, *, answer_deadline_s: float = ANSWER_DEADLINE_S) -> None:
        """`answer_deadline_s`: how long the process may stay silent before it counts as not answering."""
        self._channel = channel
        self._answer_deadline_s = answer_deadline_s

    def status(self) -> dict[str, object]:
        """The status fields of docs/commands.md."""
        with self._ask({"op": Operation.STATUS.value}) as answer:
            result = answer.result(None, _ignore_progress)
        if not isinstance(result, dict):
            raise ControlUnreachable("the mount process gave an answer that makes no sense")
        return result

    def drain(self, *, deadline_s: float | None, progress: ProgressCallback = _ignore_progress) -> list[OwedFile]:
        """Wait until the bucket holds everything, at most `deadline_s` seconds (None: no limit). Returns what is
        still owed; empty: all that was written before the call is in the bucket."""
        with self._ask({"op": Operation.DRAIN.value, "deadline_s": deadline_s}) as answer:
            return _owed(answer.result(None, progress))

    def check(self, *, repair: bool) -> list[dict[str, str]]:
        """What `s3mount check --json` prints of this mount."""
        with self._ask({"op": Operation.CHECK.value, "repair": repair}) as answer:
            result = answer.result(None, _ignore_progress)
        if not isinstance(result, list) or not all(isinstance(found, dict) for found in result):
            raise ControlUnreachable("the mount process gave an answer that makes no sense")
        return result

    def refresh(self, path: str, *, recursive: bool) -> int:
        """Show what others changed at `path`, absolute within the mount; returns how many directories were listed."""
        with self._ask({"op": Operation.REFRESH.value, "path": path, "recursive": recursive}) as answer:
            result = answer.result(None, _ignore_progress)
        if not isinstance(result, int):
            raise ControlUnreachable("the mount process gave an answer that makes no sense")
        return result

    def stop(self, *, drain: bool) -> None:
        """Set whether the process drains before it ends, once the mount is detached."""
        with self._ask({"op": Operation.STOP.value, "drain": drain}) as answer:
            answer.result(None, _ignore_progress)

    def detach(self) -> None:
        """Have the process let go of its mount point, where only it can (Windows). Returns before it has."""
        with self._ask({"op": Operation.DETACH.value}) as answer:
            answer.result(None, _ignore_progress)

    @contextmanager
    def follow(self) -> Iterator["Farewell"]:
        """Be told what is still owed when the process ends. Enter before detaching: then no end goes unnoticed."""
        with self._ask({"op": Operation.FOLLOW.value}) as answer:
            yield Farewell(answer)

    @contextmanager
    def _ask(self, request: Mapping[str, object]) -> Iterator["_Answer"]:
        try:
            connection = self._channel.connect(self._answer_deadline_s)
        except OSError as error:
            raise ControlUnreachable(f"the mount process does not answer: {error}") from error
        with connection:
            try:
                with suppress(BrokenPipeError):  # refused before it was asked: the answer says why
                    connection.sendall(encode(request))
            except OSError as error:
                raise ControlUnreachable(f"the mount process does not answer: {error}") from error
            yield _Answer(connection, self._answer_deadline_s)


class Farewell:
    """The open question of `follow`."""

    def __init__(self, answer: "_Answer") -> None:
        self._answer = answer

    def wait(self, deadline_s: float | None, progress: ProgressCallback = _ignore_progress) -> list[OwedFile] | None:
        """Wait until the process ends; returns what was still owed then, or None when `deadline_s` seconds passed
        first. Raises ControlUnreachable when the process ended without a word (it crashed or was killed)."""
        result = self._answer.result(deadline_s, progress)
        return None if result is _DEADLINE_PASSED else _owed(result)


_DEADLINE_PASSED: Final = object()


class _Answer:
    def __init__(self, connection: socket.socket, silence_s_max: float) -> None:
        self._connection = connection
        self._silence_s_max = silence_s_max
        self._buffer = bytearray()

    def result(self, deadline_s: float | None, progress: ProgressCallback) -> object:
        """The result line, after handing on every progress line; _DEADLINE_PASSED when that came first."""
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        while True:
            line = self._line(deadline)
            if line is None:
                return _DEADLINE_PASSED
            try:
                message = decode(line)
                if "progress" not in message:
                    break
                update = DrainProgress(**message["progress"])  # type: ignore[arg-type]
            except (ValueError, TypeError) as error:
                raise ControlUnreachable(f"the mount process gave an answer that makes no sense: {error}") from error
            progress(update)
        if "error" in message:
            raise ControlRefused(str(message["error"]))
        return message.get("result")

    def _line(self, deadline: float | None) -> bytes | None:
        silent_until = time.monotonic() + self._silence_s_max
        while b"\n" not in self._buffer:
            until = silent_until if deadline is None else min(silent_until, deadline)
            try:
                self._connection.settimeout(max(0.001, until - time.monotonic()))
                piece = self._connection.recv(1 << 16)
            except TimeoutError as error:
                # Not by the clock: Windows' lags behind what was waited for.
                if deadline is not None and deadline <= silent_until:
                    return None
                raise ControlUnreachable(f"the mount process was silent for {self._silence_s_max:.0f} s") from error
            except OSError as error:
                raise ControlUnreachable(f"the mount process broke off: {error}") from error
            if not piece:
                raise ControlUnreachable("the mount process ended without an answer")
            self._buffer += piece
            if len(self._buffer) > ANSWER_BYTES_MAX:
                raise ControlUnreachable("the mount process gave an answer without end")
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        return line


def _owed(result: object) -> list[OwedFile]:
    try:
        return decode_owed(result)
    except (ValueError, TypeError, KeyError) as error:
        raise ControlUnreachable(f"the mount process gave an answer that makes no sense: {error}") from error

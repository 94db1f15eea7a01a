"""What a check is, how it says that something is wrong, and what comes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

Api = TypeVar("Api")
R = TypeVar("R")


class Verdict(Enum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Mismatch(Exception):
    """The drive did something else than it must; the text says what of which."""


class NotHere(Exception):
    """This system, or this drive by its options, has no such thing."""


@dataclass(frozen=True, slots=True)
class Ground(Generic[Api]):
    """Where a check works: an empty folder of its own (an absolute path), the calls, and what random checks need."""

    api: Api
    folder: str
    seed: int
    steps: int


@dataclass(frozen=True, slots=True)
class Check(Generic[Api]):
    name: str
    run: Callable[[Ground[Api]], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    verdict: Verdict
    detail: str
    seconds: float


def expect(what: str, found: object, wanted: object) -> None:
    """Raises Mismatch."""
    if found != wanted:
        raise Mismatch(f"{what}: {_shown(found)}, not {_shown(wanted)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}… ({len(text)} characters)"

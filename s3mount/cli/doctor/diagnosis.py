"""One line of `s3mount doctor`: what was looked at, what it is like, and what to do. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from s3mount.cli.progress import plain_text
from s3mount.errors import MountError


class Verdict(Enum):
    FINE = "fine"
    NOTE = "note"  # a mount works, with something a person should know
    WRONG = "wrong"  # a mount would fail
    SKIPPED = "skipped"  # not looked at


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`exit_code`: of the command when this is the first that is wrong; 0 unless it is."""

    subject: str
    verdict: Verdict
    detail: str
    exit_code: int = 0

    def as_json(self) -> dict[str, object]:
        return {"check": self.subject, "verdict": self.verdict.value, "detail": self.detail}

    def as_line(self) -> str:
        return f"{self.verdict.value:<8}{self.subject}: {plain_text(self.detail)}"


def fine(subject: str, detail: str) -> Diagnosis:
    return Diagnosis(subject, Verdict.FINE, detail)


def note(subject: str, detail: str) -> Diagnosis:
    return Diagnosis(subject, Verdict.NOTE, detail)


def skipped(subject: str, detail: str) -> Diagnosis:
    return Diagnosis(subject, Verdict.SKIPPED, detail)


def wrong(subject: str, error: MountError) -> Diagnosis:
    return Diagnosis(subject, Verdict.WRONG, str(error), error.exit_code)


def judged(subject: str, ask: Callable[[], str]) -> Diagnosis:
    """Fine, with what `ask` returns; or wrong, with the MountError that it raises."""
    try:
        return fine(subject, ask())
    except MountError as error:
        return wrong(subject, error)


def exit_code_of(diagnoses: Iterable[Diagnosis]) -> int:
    """That of the first that is wrong, 0 when none is."""
    return next((found.exit_code for found in diagnoses if found.verdict is Verdict.WRONG), 0)

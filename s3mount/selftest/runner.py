"""Runs checks one after the other on a drive, each in a folder of its own, and removes what they made.

A check that gets no answer from the drive cannot be interrupted: it is left behind after a deadline, and nothing more
is asked of the drive then.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from s3mount.selftest.checks import Check, Ground, Mismatch, NotHere, Outcome, Verdict

CHECK_DEADLINE_S = 120.0
CLEARED = "leaves nothing behind"


class FolderCalls(Protocol):
    def make_own_folder(self, drive: str) -> str:
        """A new folder at the top of the drive; its path. Raises OSError."""

    def make_folder(self, folder: str, name: str) -> str: ...

    def remove_all(self, folder: str) -> None:
        """With everything in it, also what is read-only. Raises OSError."""


Api = TypeVar("Api", bound=FolderCalls)


def run_checks(
    drive: str,
    api: Api,
    checks: Sequence[Check[Api]],
    *,
    seed: int,
    steps: int,
    report: Callable[[Outcome], None],
    deadline_s: float = CHECK_DEADLINE_S,
) -> list[Outcome]:
    """`report` hears of each outcome as soon as it is known. Raises OSError when no folder can be made on the drive."""
    own = api.make_own_folder(drive)
    outcomes: list[Outcome] = []

    def attempt(name: str, run: Callable[[], None]) -> bool:
        outcome = _outcome(name, run, deadline_s)
        outcomes.append(outcome or Outcome(name, Verdict.FAILED, f"no answer for {deadline_s:g} s", deadline_s))
        report(outcomes[-1])
        return outcome is not None

    def clear() -> bool:
        return attempt(CLEARED, lambda: api.remove_all(own))

    try:
        for number, check in enumerate(checks, 1):

            def run(number: int = number, check: Check[Api] = check) -> None:
                check.run(Ground(api, api.make_folder(own, f"{number:02}"), seed, steps))

            if not attempt(check.name, run):
                outcomes.append(Outcome(CLEARED, Verdict.FAILED, f"the drive does not answer: {own} is left", 0.0))
                report(outcomes[-1])
                return outcomes
    except KeyboardInterrupt:
        clear()
        raise
    clear()
    return outcomes


def _outcome(name: str, run: Callable[[], None], deadline_s: float) -> Outcome | None:
    """None when it did not come to an end."""
    found: list[tuple[Verdict, str]] = []

    def attempt() -> None:
        try:
            run()
        except Mismatch as error:
            found.append((Verdict.FAILED, str(error)))
        except NotHere as error:
            found.append((Verdict.SKIPPED, str(error)))
        except OSError as error:
            found.append((Verdict.FAILED, f"the drive refused: {error}"))
        except Exception as error:  # noqa: BLE001 - the other checks go on, and this one has not passed
            found.append((Verdict.FAILED, f"{type(error).__name__}: {error}"))
        else:
            found.append((Verdict.PASSED, ""))

    begun_s = time.monotonic()
    thread = threading.Thread(target=attempt, name=f"check {name}", daemon=True)
    thread.start()
    thread.join(deadline_s)
    if not found:
        return None
    verdict, detail = found[0]
    return Outcome(name, verdict, detail, time.monotonic() - begun_s)

"""Both file systems that the machine compares, and the processes that use them."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from tests.differential.served import ServedDrive
from tests.differential.worker import Outcome, Worker

STRANGER = 54_321


class Where:
    """A path of an example, to be put below each side's root."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return repr(self.path)


class Slot:
    """A handle; each side has its own under this name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


class Sides:
    """Both file systems and the processes that use them; for all examples."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.drive = ServedDrive(folder)
        self.local = folder / "local"
        self.local.mkdir()
        stranger = STRANGER if os.geteuid() == 0 else None
        self.workers = [Worker(), Worker(), Worker(stranger)]
        self.numbers = itertools.count()

    def ask(self, who: int, roots: Sequence[Path], name: str, *args: object) -> list[Outcome]:
        """The outcome of each side. A Where is put below the side's root, a Slot is marked with the side."""
        outcomes: list[Outcome] = []
        for side, root in enumerate(roots):
            told = [f"{root}/{a.path}" if isinstance(a, Where) else a for a in args]
            told = [f"{a.name}:{side}" if isinstance(a, Slot) else a for a in told]
            outcomes.append(self.workers[who].call(name, *told))
        return outcomes

    def end(self) -> None:
        try:
            for worker in self.workers:
                worker.end()
        finally:
            self.drive.end()

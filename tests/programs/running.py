"""Runs the programs of tests/programs with no setting of this account, each with a deadline."""

import os
import subprocess
from pathlib import Path

DEADLINE_S = 60.0


def environment(home: Path) -> dict[str, str]:
    """What a program sees: its settings and caches lie in `home`."""
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.com",
        "RESTIC_PASSWORD": "secret",
        "RESTIC_CACHE_DIR": str(home / "restic-cache"),
        "BORG_PASSPHRASE": "secret",
        "BORG_BASE_DIR": str(home),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }


class Programs:
    """`run` fails on any exit code but 0 and returns what was printed; `noisy_run` takes any exit code."""

    def __init__(self, home: Path) -> None:
        self.environment = environment(home)

    def run(self, *words: str | Path, cwd: Path | None = None) -> str:
        done = self.noisy_run(*words, cwd=cwd)
        assert done.returncode == 0, f"{words}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def noisy_run(self, *words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in words], cwd=cwd, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip

    def start(self, *words: str | Path) -> "subprocess.Popen[str]":
        """Left running; the caller ends it."""
        return subprocess.Popen(
            [str(word) for word in words], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

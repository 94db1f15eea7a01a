"""The command line. `main` is the entry point of the s3mount command."""

from s3mount.cli.group import main

__all__ = ["main"]

"""python -m s3mount: the same as the s3mount command."""

from s3mount.cli import main

main()

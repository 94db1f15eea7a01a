"""What a drive must do, tried on a drive that is mounted, through the calls that programs use: `s3mount selftest`.

Called by cli/selftest.py. Knows nothing of s3mount's other rooms: it sees what any program sees, and needs the standard
library alone. It works in a folder of its own on the drive, and removes it.
"""

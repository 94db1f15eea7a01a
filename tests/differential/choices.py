"""What the machine's calls choose from."""

import os
import struct

from hypothesis import strategies as st

from tests.differential.sides import STRANGER
from tests.support.linux import FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE
from tests.support.os_like import NOW

# Few names and shallow paths, so that calls meet each other.
NAMES = st.sampled_from(["a", "b", "c", "é%+#?"])
PATHS = st.one_of(
    NAMES,
    NAMES,
    st.lists(NAMES, min_size=2, max_size=3).map("/".join),
    st.sampled_from(["a/b", "a/c", "a/b", "a/", "b/", "a/.", "a/../b", "a/b/..", "n" * 256]),
)
TARGETS = st.one_of(NAMES, st.sampled_from(["../a", "a/b", ".", "..", "gone", "t" * 4095]))
MODES = st.sampled_from([0o600, 0o644, 0o755, 0o777, 0o4755, 0o2775, 0o1777, 0o000, 0o6711])
OWNERS = st.sampled_from([-1, 0, STRANGER, 1000])
TIMES = st.one_of(st.none(), st.just(NOW), st.integers(-(10**18), 15 * 10**17))
OFFSETS = st.one_of(st.integers(0, 40), st.sampled_from([4095, 4096, 65_536, 131_071, 200_000]))
DATA = st.one_of(
    st.binary(max_size=20), st.builds(lambda byte, size: byte * size, st.binary(min_size=1, max_size=1), OFFSETS)
)
ACCESS = st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
EXTRAS = st.lists(
    st.sampled_from([os.O_CREAT, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_NOFOLLOW, os.O_DIRECTORY,
                     os.O_SYNC]),
    max_size=3,
)  # fmt: skip
WHO = st.sampled_from([0, 0, 1, 2])
ALLOCATIONS = st.sampled_from(
    [
        None,
        0,
        FALLOC_KEEP_SIZE,
        FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE,
        FALLOC_ZERO_RANGE,
        FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE,
    ]
)


def access_list(user: int, group: int, other: int, mask: int, named: int) -> bytes:
    """As linux/posix_acl_xattr.h has it: the version, then tag, permissions and id of each entry."""
    entries = [(0x01, user, -1), (0x02, named, STRANGER), (0x04, group, -1), (0x10, mask, -1), (0x20, other, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


RIGHTS = st.integers(0, 7)
ACCESS_LISTS = st.one_of(
    st.builds(access_list, RIGHTS, RIGHTS, RIGHTS, RIGHTS, RIGHTS),
    st.builds(lambda u, g, o: struct.pack("<IHHiHHiHHi", 2, 1, u, -1, 4, g, -1, 32, o, -1), RIGHTS, RIGHTS, RIGHTS),
    st.sampled_from([b"", b"\x02\0\0\0", b"\x01\0\0\0", b"nonsense"]),
)
REMOUNTS = st.sampled_from([None, None, None, None, None, None, None, None, False, False, True])
SLOT = st.integers(0, 6)

"""Extended attributes as s3fs writes them."""

import json
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from s3mount import xattr_format

NAMES = (
    st.binary(min_size=1, max_size=40).filter(lambda b: 0 not in b).map(lambda b: b.decode("utf-8", "surrogateescape"))
)
XATTRS = st.dictionaries(NAMES, st.binary(max_size=60), max_size=5)


@given(XATTRS)
def test_round_trip(xattrs: dict[str, bytes]) -> None:
    packed = xattr_format.pack(xattrs)
    assert xattr_format.unpack(packed) == xattrs
    if packed is None:
        assert not xattrs
        return
    header = xattr_format.to_header(packed)
    assert header.isascii()
    assert header.isprintable()
    if len(header) <= xattr_format.HEADER_CHARS_MAX:
        assert xattr_format.to_json(header) == packed


def test_what_s3fs_writes_and_reads() -> None:
    # build_xattrs of s3fs: no spaces, names as they are, all but ".-_~" and alphanumerics percent-encoded
    header = "%7B%22user.a%22%3A%22aGVsbG8%3D%22%2C%22user.%C3%A4%22%3A%22%22%7D"
    packed = xattr_format.to_json(header)
    assert xattr_format.unpack(packed) == {"user.a": b"hello", "user.ä": b""}
    assert packed is not None
    assert xattr_format.to_header(packed) == header
    assert json.loads(unquote(header)) == {"user.a": "aGVsbG8=", "user.ä": ""}


def test_a_quote_that_s3fs_does_not_escape() -> None:
    assert xattr_format.unpack('{"user.a"b":"aGk=","user.c":"aGk="}') == {'user.a"b': b"hi", "user.c": b"hi"}


@given(st.text(max_size=80))
def test_garbage_never_raises(text: str) -> None:
    xattr_format.to_json(text)
    xattr_format.unpack(text)


def test_garbage_is_passed_over() -> None:
    assert xattr_format.to_json("[1]") is None
    assert xattr_format.to_json("%7B%22user.a%22%3A%22!%22%7D") is None
    assert xattr_format.to_json('{"user.a":1,"user.b":"aGk="}') == '{"user.b":"aGk="}'
    assert xattr_format.to_json("{" * 3000) is None

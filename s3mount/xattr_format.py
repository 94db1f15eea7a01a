"""Extended attributes as text: JSON, name -> base64 of the value, in the index; percent-encoded in an object. Pure.

Called by metadata.py (the object's header), index/migrations.py and vfs/xattrs.py, from any thread. The header is that
of s3fs (build_xattrs and parse_xattrs in its s3fs.cpp): `xattr`: the JSON with everything but letters, digits and
"-._~" percent-encoded. s3fs splits that JSON at its commas and colons, so it reads names with these in them wrong;
everything else it reads as it is.

Names are what the kernel hands over: bytes, as text with surrogates for those that are not UTF-8.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from urllib.parse import quote, unquote

HEADER_CHARS_MAX = 2048


def pack(xattrs: Mapping[str, bytes]) -> str | None:
    """The JSON for the index; None for none."""
    if not xattrs:
        return None
    texts = {name: base64.b64encode(value).decode("ascii") for name, value in sorted(xattrs.items())}
    return json.dumps(texts, ensure_ascii=True, separators=(",", ":"))


def unpack(packed: str | None) -> dict[str, bytes]:
    """The way back from `pack`. Of anything else, what makes sense."""
    if packed is None:
        return {}
    try:
        texts = json.loads(packed)
    except ValueError:
        texts = _split_like_s3fs(packed)
    found: dict[str, bytes] = {}
    for name, text in texts.items() if isinstance(texts, dict) else ():
        try:
            found[name] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError, TypeError):
            continue
    return found


def _split_like_s3fs(text: str) -> dict[str, str]:
    """s3fs escapes nothing in a name, so a quote or a backslash in one makes JSON that is none."""
    start, end = text.find("{"), text.rfind("}")
    pairs = (pair.partition(":") for pair in text[start + 1 : max(end, 0)].split(","))
    return {name.strip().strip('"'): value.strip().strip('"') for name, colon, value in pairs if colon}


def to_header(packed: str) -> str:
    """What `pack` made, as the value of the object's metadata `xattr`: ASCII."""
    # The names go as they are, not as JSON escapes: s3fs knows none.
    plain = json.dumps(json.loads(packed), ensure_ascii=False, separators=(",", ":"))
    return quote(plain, safe="", errors="surrogateescape")


def to_json(header: str | None) -> str | None:
    """The way back from `to_header`, also of what s3fs wrote. None for none, and for what makes no sense."""
    if header is None or len(header) > HEADER_CHARS_MAX:
        return None
    return pack(unpack(unquote(header, errors="surrogateescape")))

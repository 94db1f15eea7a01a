"""How the components of keys are shown as names, and names stored as components: one reversible encoding. Pure.

Used by keys.py and by the index (dentries.py), which keeps the component of each name that does not tell it. Most
texts are both, and stand for themselves. The others are percent-encoded and carry a mark at their end:

    …%key     a name, of a component that is none: "" of "a//b", ".", "..", one with NUL, or of over 255 bytes;
              or whose own name the directory beside it has. "..": "%2E%2E%key"; object "a" beside "a/b": "a%key"
    …%~HASH%key    the same, too long to be written out: its beginning, and 32 digits of its SHA-256
    …%name    a component, of a name that is no UTF-8: b"caf\\xe9" is stored as "caf%E9%name"

What looks like one of these and is not is encoded in turn: a component "a%key" is shown as "a%25key%key", a name
"a%key" made here is stored as "a%25key%name". So no two texts meet, and `component_of` undoes `shown`, but for hashes;
`shown` undoes `component_of` always. Bytes that are not UTF-8 are in a `str` as surrogates (PEP 383).
"""

import hashlib
import itertools
import re
from collections.abc import Iterator

NAME_BYTES_MAX = 255  # NAME_MAX, Linux limits.h

_SHOWN = "%key"
_STORED = "%name"
_HASHED = re.compile(r"%~[0-9a-f]{32}%key\Z")
_HASH_DIGITS = 32
_ROOM_BEFORE_HASH = NAME_BYTES_MAX - len("%~" + _SHOWN) - _HASH_DIGITS
_ESCAPED_IN_SHOWN = re.compile(r"[%\x00-\x1f\x7f]")
_ESCAPED_IN_STORED = re.compile("[%\udc80-\udcff]")
_HALF_ESCAPE = re.compile(rb"%[0-9A-F]?\Z")


def to_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def from_bytes(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def is_name(text: str) -> bool:
    """Whether Linux takes it for a file name."""
    return (
        bool(text)
        and text not in (".", "..")
        and "/" not in text
        and "\0" not in text
        and (len(text) * 4 <= NAME_BYTES_MAX or len(to_bytes(text)) <= NAME_BYTES_MAX)
    )


def is_utf8(text: str) -> bool:
    return text.isascii() or not re.search("[\ud800-\udfff]", text)


def shown(component: str, *, is_dir: bool) -> str:
    """The name that stands for a component of a key in its directory."""
    if "%" not in component and is_name(component):
        return component
    name = _name_stored_as(component, is_dir=is_dir)
    if name is not None:
        return name
    return _marked(component) if _has_no_name(component) else component


def candidates(component: str, *, is_dir: bool) -> Iterator[str]:
    """Names for a component, the first that is not taken is to be used: `shown`'s, the same encoded, hashes."""
    yield shown(component, is_dir=is_dir)
    yield _marked(component)
    for attempt in itertools.count():
        yield _hashed(component, attempt)


def component_of(name: str, *, is_dir: bool) -> str:
    """The component that a new entry of this (legal) name is stored under."""
    if "%" not in name and is_utf8(name):
        return name
    component = _component_marked(name)
    # No new file gets the empty one: until it had content, its object "dir/" would be the directory's marker.
    if component is not None and _has_no_name(component) and (component or is_dir):
        return component
    if not is_utf8(name) or _looks_marked(name) or _name_stored_as(name, is_dir=is_dir) is not None:
        return _ESCAPED_IN_STORED.sub(_escape, name) + _STORED
    return name


def beside(name: str) -> str | None:
    """Of a name like "a%key": "a", the directory beside which the object "a" has this name; else None."""
    component = _component_marked(name)
    return None if component is None or _has_no_name(component) else component


def is_hashed(name: str) -> bool:
    """Whether a name does not tell its component, which only who has seen it knows."""
    return _HASHED.search(name) is not None


def _has_no_name(component: str) -> bool:
    return not is_name(component) or _looks_marked(component)


def _looks_marked(text: str) -> bool:
    return text.endswith(_SHOWN) and (is_hashed(text) or _component_marked(text) is not None)


def _marked(component: str) -> str:
    name = _escaped(component) + _SHOWN
    return name if len(name.encode()) <= NAME_BYTES_MAX else _hashed(component, 0)


def _escaped(component: str) -> str:
    if component in (".", ".."):
        return component.replace(".", "%2E")
    return _ESCAPED_IN_SHOWN.sub(_escape, component)


def _component_marked(name: str) -> str | None:
    """What `_marked` made `name` of; None for a hash, and for any other text."""
    if not name.endswith(_SHOWN):
        return None
    component = _unescaped(name[: -len(_SHOWN)])
    is_one = is_utf8(component) and "/" not in component and _escaped(component) + _SHOWN == name
    return component if is_one else None


def _hashed(component: str, attempt: int) -> str:
    digits = hashlib.sha256(f"{attempt}/{component}".encode()).hexdigest()[:_HASH_DIGITS]
    beginning = _HALF_ESCAPE.sub(b"", _escaped(component).encode()[:_ROOM_BEFORE_HASH]).decode("utf-8", "ignore")
    return f"{beginning}%~{digits}{_SHOWN}"


def _name_stored_as(component: str, *, is_dir: bool) -> str | None:
    """The name whose `component_of` this is, when it carries the mark of such."""
    if not component.endswith(_STORED):
        return None
    name = _unescaped(component[: -len(_STORED)])
    if is_name(name) and component_of(name, is_dir=is_dir) == component:
        return name
    return None


def _escape(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in to_bytes(found.group()))


def _unescaped(text: str) -> str:
    raw = re.sub(rb"%([0-9A-F]{2})", lambda found: bytes.fromhex(found.group(1).decode()), to_bytes(text))
    return from_bytes(raw)

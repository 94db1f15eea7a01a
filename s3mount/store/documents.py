"""The XML documents that S3's requests and replies carry, to and from our values. Pure.

Used by S3Store for what it sends through awscrt; botocore has its own. Some servers put the elements in a namespace and
some do not.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

from botocore.utils import parse_timestamp

from s3mount.errors import Corrupt, Unreachable
from s3mount.model import ETag, ObjectInfo, ObjectKey
from s3mount.store import wire
from s3mount.store.base import ListPage

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

# A parser makes a line feed of what is not escaped.
LINE_ENDS: Mapping[str, str] = {"\r": "&#xD;", "\n": "&#xA;"}


class Refused(NamedTuple):
    """What S3 answered instead of doing it. `key`: in a reply about many keys, the one that is meant."""

    code: str
    message: str
    key: str = ""


class Document:
    """One reply."""

    def __init__(self, body: bytes) -> None:
        """Raises Unreachable: what cannot be understood comes from something in between that is not S3."""
        try:
            self._root = ElementTree.fromstring(body)
        except ElementTree.ParseError as error:
            raise Unreachable(f"the reply is no XML: {error}") from error
        self._namespace = self._root.tag[: self._root.tag.find("}") + 1]

    def refusal(self) -> Refused | None:
        """S3 begins some replies with 200 before it knows how the work ends."""
        is_error = self._root.tag.removeprefix(self._namespace) == "Error"
        return self._refused(self._root) if is_error else None

    def listing(self, prefix: str) -> ListPage:
        """Of ListObjectsV2. `prefix`: the mounted one, which keys are shown without. Raises Corrupt."""
        skip = len(prefix)
        is_encoded = self._text(self._root, "EncodingType") == "url"

        def key(element: ElementTree.Element, name: str) -> ObjectKey:
            text = self._text(element, name)
            return ObjectKey((unquote_plus(text) if is_encoded else text)[skip:])

        try:
            objects = [
                ObjectInfo(
                    key(found, "Key"),
                    int(self._text(found, "Size")),
                    wire.shown_etag(self._text(found, "ETag")),
                    wire.time_ns(_parse_time(self._text(found, "LastModified"))),
                )
                for found in self._all("Contents")
            ]
        except ValueError as error:
            raise Corrupt(f"the reply to LIST makes no sense: {error}") from error
        prefixes = [key(found, "Prefix") for found in self._all("CommonPrefixes")]
        token = self._text(self._root, "NextContinuationToken")
        return ListPage(objects, prefixes, token if self._text(self._root, "IsTruncated") == "true" else None)

    def copied(self) -> tuple[ETag, str | None]:
        """The ETag and the checksum of what CopyObject or UploadPartCopy has made. Raises Corrupt."""
        etag = wire.written_etag(self._text(self._root, "ETag"))
        return etag, self._text(self._root, "ChecksumCRC64NVME") or None

    def not_deleted(self) -> Iterator[Refused]:
        """Of DeleteObjects."""
        return map(self._refused, self._all("Error"))

    def _refused(self, element: ElementTree.Element) -> Refused:
        return Refused(*(self._text(element, name) for name in ("Code", "Message", "Key")))

    def _all(self, name: str) -> list[ElementTree.Element]:
        return self._root.findall(self._namespace + name)

    def _text(self, element: ElementTree.Element, name: str) -> str:
        return element.findtext(self._namespace + name) or ""


def deletion(prefix: str, versions: Mapping[ObjectKey, ETag | None]) -> bytes:
    """The body of DeleteObjects. `prefix`: the mounted one."""
    listed: list[str] = []
    for key, etag in versions.items():
        # Without quotes, as S3's own examples of this element have it.
        version = "" if etag is None else f"<ETag>{escape(etag)}</ETag>"
        listed.append(f"<Object><Key>{escape(prefix + key, LINE_ENDS)}</Key>{version}</Object>")
    return f'<Delete xmlns="{NAMESPACE}"><Quiet>true</Quiet>{"".join(listed)}</Delete>'.encode()


def _parse_time(text: str) -> datetime:
    """botocore's own parser goes through every format it knows, which would be most of the cost of a listing."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        found: datetime = parse_timestamp(text)
        return found

"""How our values look in S3's requests and replies: ETags, metadata, conditions, objects. Pure.

Used by S3Store. An ETag is kept without the quotes it travels in.
"""

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from awscrt import checksums

from s3mount.errors import Corrupt, Rejected
from s3mount.model import ETag, ObjectInfo, ObjectKey
from s3mount.store.base import Body, Condition, ConditionKind, PartInfo, UploadInfo

METADATA_HEADER = "x-amz-meta-"

LIST_KEYS_MAX = 1000

# XML 1.0 has no way to write these, so a key with one cannot be named in a DeleteObjects request.
NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def shown_etag(text: str | None) -> ETag:
    """Of an object that was looked at: empty where a store shows a directory without an object as one."""
    return ETag((text or "").strip('"'))


def written_etag(text: str | None) -> ETag:
    """Of an object or part that was written. Raises Corrupt when the reply does not say."""
    etag = shown_etag(text)
    if not etag:
        raise Corrupt("the reply to a write has no ETag")
    return etag


def quoted(etag: ETag) -> str:
    return f'"{etag}"'


def condition_headers(condition: Condition) -> dict[str, str]:
    """{} for ANY. https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html"""
    if condition.kind is ConditionKind.ABSENT:
        return {"If-None-Match": "*"}
    if condition.kind is ConditionKind.MATCHES:
        if condition.etag is None:
            raise Rejected("a condition on an ETag without the ETag")
        return {"If-Match": quoted(condition.etag)}
    return {}


def condition_arguments(condition: Condition) -> dict[str, str]:
    """The same as arguments of a botocore call."""
    return {name.replace("-", ""): value for name, value in condition_headers(condition).items()}


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise Rejected when the metadata cannot travel in HTTP headers as it is."""
    for name, value in metadata.items():
        for text in (name, value):
            if not (text.isascii() and text.isprintable()):
                raise Rejected(f"metadata must be printable ASCII: {name!r}: {value!r}")


def object_headers(
    metadata: Mapping[str, str], content_type: str, condition: Condition, storage_class: str | None
) -> list[tuple[str, str]]:
    """What a request says of the object that it makes."""
    headers = [
        ("Content-Type", content_type),
        *((METADATA_HEADER + name, value) for name, value in metadata.items()),
        *condition_headers(condition).items(),
    ]
    if storage_class:
        headers.append(("x-amz-storage-class", storage_class))
    return headers


def time_ns(moment: datetime) -> int:
    """S3 shows whole seconds or milliseconds; counted in microseconds, since a float would round."""
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


@lru_cache(1000)  # what was written together has the same, which has whole seconds
def _http_date_ns(text: str) -> int:
    return time_ns(parsedate_to_datetime(text))


def object_info(key: ObjectKey, headers: Mapping[str, str]) -> ObjectInfo:
    """What HEAD's reply says, its header names in lower case. Raises Corrupt when something needed is not there."""
    try:
        return ObjectInfo(
            key=key,
            size=int(headers["content-length"]),
            etag=shown_etag(headers.get("etag")),
            last_modified_ns=_http_date_ns(headers["last-modified"]),
            metadata={
                name.removeprefix(METADATA_HEADER): value
                for name, value in headers.items()
                if name.startswith(METADATA_HEADER)
            },
        )
    except (KeyError, ValueError) as error:
        raise Corrupt(f"the reply to HEAD makes no sense: {error}") from error


def check_body(key: ObjectKey, data: Body, checksum: str | None) -> None:
    """Raise Corrupt when the whole object's CRC64NVME, as S3 told it, is not that of its bytes."""
    if checksum is not None and base64.b64decode(checksum) != checksums.crc64nvme(data).to_bytes(8, "big"):
        raise Corrupt(f"the bytes that came are not those of {key!r}: their checksum is another")


def list_query(prefix: str, *, delimiter: str, token: str | None, after: str | None) -> str:
    """Of ListObjectsV2. Keys are asked for URL-encoded: not all of them could be written in XML."""
    fields = {"list-type": "2", "encoding-type": "url", "max-keys": str(LIST_KEYS_MAX), "prefix": prefix}
    if delimiter:
        fields["delimiter"] = delimiter
    if token is not None:
        fields["continuation-token"] = token
    elif after is not None:
        fields["start-after"] = after
    return urlencode(fields, quote_via=quote, safe="~")


def copy_source_headers(bucket: str, key: str, etag: ETag) -> list[tuple[str, str]]:
    """What is copied, and only while it is that version."""
    source = quote(f"{bucket}/{key}", safe="/~")
    return [("x-amz-copy-source", source), ("x-amz-copy-source-if-match", quoted(etag))]


def part_query(upload_id: str, number: int) -> str:
    return f"partNumber={number}&uploadId={quote(upload_id, safe='~')}"


def parts_page(reply: Mapping[str, Any]) -> tuple[list[PartInfo], tuple[int, str] | None]:
    """The parts of one ListParts reply, and where the next page begins."""
    parts = [PartInfo(part["PartNumber"], part["Size"], shown_etag(part["ETag"])) for part in reply.get("Parts", ())]
    return parts, (int(reply["NextPartNumberMarker"]), "") if reply.get("IsTruncated") else None


def uploads_page(reply: Mapping[str, Any], prefix: str) -> tuple[list[UploadInfo], tuple[str, str] | None]:
    """The uploads of one ListMultipartUploads reply, and where the next page begins. `prefix`: the mounted one."""
    uploads = [
        UploadInfo(ObjectKey(found["Key"].removeprefix(prefix)), found["UploadId"], time_ns(found["Initiated"]))
        for found in reply.get("Uploads", ())
        if "Initiated" in found
    ]
    if not reply.get("IsTruncated"):
        return uploads, None
    return uploads, (reply.get("NextKeyMarker", ""), reply.get("NextUploadIdMarker", ""))


def upload_markers(token: tuple[str, str]) -> dict[str, Any]:
    """Arguments of ListMultipartUploads for the page that begins at `token`; {} for the first."""
    return {name: marker for name, marker in zip(("KeyMarker", "UploadIdMarker"), token, strict=True) if marker}

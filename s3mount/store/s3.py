"""ObjectStore over any S3: the contract of store/base.py, method by method.

Made by open_store for the composition root; used by the cache, the write-back loop and the listing code from many
threads. Requests with small replies go through awscrt; GET, which botocore is faster at, and what is rare through
botocore. Keeps no copy of what it reads.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from s3mount.errors import Corrupt, Missing, Rejected, StoreError
from s3mount.model import ETag, ObjectInfo, ObjectKey
from s3mount.store import access, s3_client, wire
from s3mount.store.base import (
    ANY,
    Body,
    Condition,
    GiveHeads,
    GivePuts,
    ListPage,
    PartInfo,
    Put,
    Source,
    StoreProperties,
    TakeKeys,
    TakePuts,
    UploadInfo,
)
from s3mount.store.crt import CrtReply
from s3mount.store.deletions import Deletions
from s3mount.store.documents import Document
from s3mount.store.gets import Gets
from s3mount.store.heads import Heads
from s3mount.store.part_sums import FULL_OBJECT, PartChecksum, PartSums
from s3mount.store.puts import Puts
from s3mount.store.request_counter import RequestCounter
from s3mount.store.s3_errors import ErrorContext, absent_fails, archived_is_explained
from s3mount.store.sender import REQUEST_ERRORS, Sender
from s3mount.store.settings import StoreSettings

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PAGES_MAX = 10_000


def open_store(settings: StoreSettings, *, on_strain: Callable[[], None] = lambda: None) -> "S3Store":
    """A store for one bucket; sends no S3 request. `on_strain` is called, from any thread, for each try that S3 was too
    busy for: it asked to slow down, or did not answer in time. Raises StoreError or UsageError when the configuration
    cannot be used."""
    counter = RequestCounter()
    context = ErrorContext(settings.bucket, settings.endpoint_url or "S3")
    try:
        boto = s3_client.build(settings, counter.add)
    except REQUEST_ERRORS as error:
        raise context.translate(error, "opening the store") from error
    return S3Store(settings, boto, counter, on_strain)


class S3Store:
    def __init__(
        self, settings: StoreSettings, boto: s3_client.Boto, counter: RequestCounter, on_strain: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._client = boto.client
        self._bucket = settings.bucket
        self._prefix = settings.prefix
        self._counter = counter
        self._context = ErrorContext(settings.bucket, boto.client.meta.endpoint_url)
        self._properties = StoreProperties(has_root_key=bool(settings.prefix))
        self._storage_class = {"StorageClass": settings.storage_class} if settings.storage_class else {}
        self._part_sums = PartSums()
        self._sender = Sender(settings, boto, counter, self._context, on_strain)
        self._heads = Heads(settings, boto, self._sender)
        self._puts = Puts(settings, self._sender)
        self._gets = Gets(settings, boto, self._sender)
        self._deletions = Deletions(self._prefix, self._sender, self._context)

    @property
    def properties(self) -> StoreProperties:
        return self._properties

    @property
    def location(self) -> str:
        """Where the objects are, as one word: the endpoint that configuration led to, bucket and prefix."""
        return f"s3://{self._bucket}/{self._prefix} at {self._client.meta.endpoint_url}"

    def request_counts(self) -> Mapping[str, int]:
        return self._counter.counts()

    def check_access(self) -> None:
        access.check_access(self._client, self._settings, self._context)

    def list_page(
        self, prefix: ObjectKey, *, delimiter: str = "/", token: str | None = None, after: ObjectKey | None = None
    ) -> ListPage:
        query = wire.list_query(
            self._prefix + prefix,
            delimiter=delimiter,
            token=token,
            after=None if after is None else self._prefix + after,
        )

        def request(timeout_s: float) -> ListPage:
            reply = self._sender.hot().send("ListObjectsV2", "GET", "", query=query, timeout_s=timeout_s)
            return self._sender.document("ListObjectsV2", reply).listing(self._prefix)

        return self._sender.ask("ListObjectsV2", request)

    def head(self, key: ObjectKey) -> ObjectInfo:
        return self._heads.one(key)

    def head_many(self, take: TakeKeys, give: GiveHeads) -> None:
        self._heads.many(take, give)

    def get(self, key: ObjectKey, *, start: int, end: int, if_match: ETag) -> Body:
        return self._gets.part(key, start, end, if_match) if start < end else b""

    def get_whole(self, key: ObjectKey, *, size: int, if_match: ETag) -> tuple[ObjectInfo, Body]:
        return self._gets.whole(key, size, if_match)

    def put(
        self, key: ObjectKey, body: Body, *, metadata: Mapping[str, str], content_type: str, condition: Condition = ANY
    ) -> ETag:
        return self._puts.one(Put(key, body, metadata, content_type, condition))

    def put_many(self, take: TakePuts, give: GivePuts) -> None:
        self._puts.many(take, give)

    def copy(
        self,
        source: ObjectKey,
        target: ObjectKey,
        *,
        source_etag: ETag,
        metadata: Mapping[str, str],
        content_type: str,
        condition: Condition = ANY,
    ) -> ETag:
        return self._puts.one(Put(target, b"", metadata, content_type, condition, Source(source, source_etag)))

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        return self._deletions.delete(versions)

    def create_multipart(
        self, key: ObjectKey, *, metadata: Mapping[str, str], content_type: str, is_mostly_copied: bool = False
    ) -> str:
        wire.check_metadata(metadata)
        arguments: dict[str, Any] = {"Metadata": metadata, "ContentType": content_type, **self._storage_class}
        if self._part_sums.kind is PartChecksum.CRC64NVME and not is_mostly_copied:
            try:
                upload_id, checksum_type = self._create_multipart(key, arguments | FULL_OBJECT)
            except Rejected as error:
                log.info("multipart uploads have their parts checked by MD5 alone: %s", error)
            else:
                if checksum_type == FULL_OBJECT["ChecksumType"]:
                    self._part_sums.begin(upload_id)
                    return upload_id
                # Some servers ignore what they do not know, and would refuse the checksum of the whole.
                self.abort_multipart(key, upload_id)
        upload_id, _ = self._create_multipart(key, arguments)
        if not is_mostly_copied:
            self._part_sums.fall_back()
        return upload_id

    def _create_multipart(self, key: ObjectKey, arguments: Mapping[str, Any]) -> tuple[str, str | None]:
        reply = self._sender.send(
            "CreateMultipartUpload",
            lambda: self._client.create_multipart_upload(Bucket=self._bucket, Key=self._prefix + key, **arguments),
        )
        return reply["UploadId"], reply.get("ChecksumType")

    def upload_part(self, key: ObjectKey, upload_id: str, number: int, body: Body) -> ETag:
        headers = [self._part_sums.part_header(upload_id, number, body)]
        query = wire.part_query(upload_id, number)

        def request(timeout_s: float) -> CrtReply:
            return self._sender.hot().send(
                "UploadPart", "PUT", self._prefix + key, headers=headers, query=query, body=body, timeout_s=timeout_s
            )

        return wire.written_etag(self._sender.send_hot("UploadPart", len(body), request).headers.get("etag"))

    def copy_part(
        self, key: ObjectKey, upload_id: str, number: int, *, source: ObjectKey, source_etag: ETag, start: int, end: int
    ) -> ETag:
        headers = [("x-amz-copy-source-range", f"bytes={start}-{end - 1}")]
        headers += wire.copy_source_headers(self._bucket, self._prefix + source, source_etag)
        query = wire.part_query(upload_id, number)

        def request(timeout_s: float) -> Document:
            reply = self._sender.hot().send(
                "UploadPartCopy", "PUT", self._prefix + key, headers=headers, query=query, timeout_s=timeout_s
            )
            return self._sender.document("UploadPartCopy", reply)

        with archived_is_explained(self._bucket, self._prefix + source):
            etag, checksum = self._sender.send_copy("UploadPartCopy", request).copied()
        self._part_sums.copied(upload_id, number, end - start, checksum)
        return etag

    def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[PartInfo]:
        return self._all_pages(
            "ListParts",
            lambda token: wire.parts_page(
                self._client.list_parts(
                    Bucket=self._bucket, Key=self._prefix + key, UploadId=upload_id, PartNumberMarker=token[0]
                )
            ),
            (0, ""),
        )

    def list_multiparts(self, prefix: ObjectKey) -> Sequence[UploadInfo]:
        return self._all_pages(
            "ListMultipartUploads",
            lambda token: wire.uploads_page(
                self._client.list_multipart_uploads(
                    Bucket=self._bucket, Prefix=self._prefix + prefix, **wire.upload_markers(token)
                ),
                self._prefix,
            ),
            ("", ""),
        )

    def _all_pages(
        self, operation: str, page: Callable[[Any], tuple[list[Result], Any]], first: tuple[object, str]
    ) -> list[Result]:
        """What `page` returns for the first token and for each that it names, as long as it names another."""
        found: list[Result] = []
        token: Any = first
        for _ in range(PAGES_MAX):
            items, following = self._sender.send(operation, lambda at=token: page(at))  # type: ignore[misc]
            found += items
            if following is None or following == token:
                return found
            token = following
        raise Corrupt(f"the listing does not end ({operation})")

    def complete_multipart(
        self, key: ObjectKey, upload_id: str, parts: Sequence[ETag], *, condition: Condition = ANY
    ) -> ETag:
        arguments: dict[str, Any] = {
            "UploadId": upload_id,
            "MultipartUpload": {
                "Parts": [{"PartNumber": i, "ETag": wire.quoted(etag)} for i, etag in enumerate(parts, start=1)]
            },
            **self._part_sums.whole_arguments(upload_id, len(parts)),
            **wire.condition_arguments(condition),
        }
        with absent_fails(condition), self._whole_is_checked(key):
            reply = self._sender.send(
                "CompleteMultipartUpload",
                lambda: self._client.complete_multipart_upload(
                    Bucket=self._bucket, Key=self._prefix + key, **arguments
                ),
            )
        self._part_sums.end(upload_id)
        return wire.written_etag(reply.get("ETag"))

    @contextlib.contextmanager
    def _whole_is_checked(self, key: ObjectKey) -> Iterator[None]:
        """A refused checksum of the whole means other bytes, or a server that gets it wrong: the next attempt has its
        parts checked only, so that such a server does not refuse for ever."""
        try:
            yield
        except Corrupt as error:
            log.warning("%r: S3 put the parts together otherwise than they were sent: %s", key, error)
            self._part_sums.fall_back()
            raise

    def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        self._part_sums.end(upload_id)
        with contextlib.suppress(Missing):
            self._sender.send(
                "AbortMultipartUpload",
                lambda: self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._prefix + key, UploadId=upload_id
                ),
            )

    def close(self) -> None:
        self._heads.close()
        self._sender.close()

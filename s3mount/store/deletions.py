"""How S3Store deletes: a thousand keys a request, each with the version that is meant.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
"""

import base64
import contextlib
import hashlib
from collections.abc import Mapping
from itertools import islice

from s3mount.errors import Missing, StoreError
from s3mount.model import ETag, ObjectKey
from s3mount.store import documents, wire
from s3mount.store.crt import CrtReply
from s3mount.store.documents import Document
from s3mount.store.s3_errors import ErrorContext
from s3mount.store.sender import Sender

DELETE_KEYS_MAX = 1000


class Deletions:
    def __init__(self, prefix: str, sender: Sender, context: ErrorContext) -> None:
        self._prefix = prefix
        self._sender = sender
        self._context = context

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> dict[ObjectKey, StoreError]:
        failed: dict[ObjectKey, StoreError] = {}
        remaining = iter(versions.items())
        while batch := dict(islice(remaining, DELETE_KEYS_MAX)):
            in_xml = {key: etag for key, etag in batch.items() if not wire.NOT_IN_XML.search(key)}
            if in_xml:
                failed |= self._delete_batch(in_xml)
            for key in batch.keys() - in_xml.keys():
                try:
                    self._delete_one(key, batch[key])
                except StoreError as error:
                    failed[key] = error
        return failed

    def _delete_batch(self, versions: Mapping[ObjectKey, ETag | None]) -> dict[ObjectKey, StoreError]:
        body = documents.deletion(self._prefix, versions)
        # S3 refuses the request without a checksum, and this is the one that every server knows.
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        headers = [("Content-MD5", base64.b64encode(digest).decode()), ("Content-Type", "application/xml")]

        def request(timeout_s: float) -> Document:
            reply = self._sender.hot().send(
                "DeleteObjects", "POST", "", headers=headers, query="delete=", body=body, timeout_s=timeout_s
            )
            return self._sender.document("DeleteObjects", reply)

        failed: dict[ObjectKey, StoreError] = {}
        for refused in self._sender.send_hot("DeleteObjects", len(body), request).not_deleted():
            error = self._context.refusal("DeleteObjects", refused.code, None, refused.message)
            if not isinstance(error, Missing):
                failed[ObjectKey(refused.key[len(self._prefix) :])] = error
        return failed

    def _delete_one(self, key: ObjectKey, etag: ETag | None) -> None:
        headers = [] if etag is None else [("If-Match", wire.quoted(etag))]

        def request(timeout_s: float) -> CrtReply:
            hot = self._sender.hot()
            return hot.send("DeleteObject", "DELETE", self._prefix + key, headers=headers, timeout_s=timeout_s)

        with contextlib.suppress(Missing):
            self._sender.send_hot("DeleteObject", 0, request)

"""How S3Store deletes: a thousand keys a request, each with the version that is meant.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
"""

import contextlib
from collections.abc import Mapping
from itertools import islice
from typing import Any

from s3mount.errors import Missing, StoreError
from s3mount.model import ETag, ObjectKey
from s3mount.store import wire
from s3mount.store.s3_errors import ErrorContext
from s3mount.store.sender import Sender

DELETE_KEYS_MAX = 1000


class Deletions:
    def __init__(self, client: Any, bucket: str, prefix: str, sender: Sender, context: ErrorContext) -> None:
        self._client = client
        self._bucket = bucket
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
        # Without quotes, as S3's own examples of this element have it.
        listed = [
            {"Key": self._prefix + key} | ({} if etag is None else {"ETag": etag}) for key, etag in versions.items()
        ]
        reply = self._sender.send(
            "DeleteObjects",
            lambda: self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": listed, "Quiet": True}),
        )
        failed: dict[ObjectKey, StoreError] = {}
        for refused in reply.get("Errors", ()):
            error = self._context.refusal("DeleteObjects", refused.get("Code", ""), None, refused.get("Message", ""))
            if not isinstance(error, Missing):
                failed[ObjectKey(refused.get("Key", "")[len(self._prefix) :])] = error
        return failed

    def _delete_one(self, key: ObjectKey, etag: ETag | None) -> None:
        condition = {} if etag is None else {"IfMatch": wire.quoted(etag)}
        with contextlib.suppress(Missing):
            self._sender.send(
                "DeleteObject",
                lambda: self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key, **condition),
            )

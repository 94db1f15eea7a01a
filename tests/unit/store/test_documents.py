"""What S3's XML says, with and without a namespace, and what ours says to S3."""

import xml.etree.ElementTree as ElementTree

import pytest

from s3mount.errors import Corrupt, Unreachable
from s3mount.model import ETag, ObjectKey
from s3mount.store.documents import NAMESPACE, Document, deletion

XMLNS = f' xmlns="{NAMESPACE}"'


@pytest.mark.parametrize("namespace", ["", XMLNS])
def test_a_copy_and_its_checksum(namespace: str) -> None:
    fields = "<ETag>&quot;e&quot;</ETag><ChecksumCRC64NVME>c=</ChecksumCRC64NVME>"
    body = f"<CopyPartResult{namespace}>{fields}</CopyPartResult>"
    document = Document(body.encode())
    assert document.refusal() is None
    assert document.copied() == ("e", "c=")


@pytest.mark.parametrize("namespace", ["", XMLNS])
def test_an_error_is_not_taken_for_a_result(namespace: str) -> None:
    refused = Document(f"<Error{namespace}><Code>SlowDown</Code><Message>m</Message></Error>".encode()).refusal()
    assert refused is not None
    assert (refused.code, refused.message) == ("SlowDown", "m")


def test_a_copy_without_an_etag_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        Document(b"<CopyObjectResult/>").copied()


def test_a_page_of_a_proxy_is_not_s3() -> None:
    with pytest.raises(Unreachable):
        Document(b"<html><p>Sign in")


@pytest.mark.parametrize("field", ["<Size>many</Size>", "<Size>1</Size><LastModified>soon</LastModified>"])
def test_a_listing_that_makes_no_sense_is_corrupt(field: str) -> None:
    with pytest.raises(Corrupt):
        Document(f"<ListBucketResult><Contents><Key>k</Key>{field}</Contents></ListBucketResult>".encode()).listing("")


def test_keys_are_as_they_are_where_the_server_does_not_encode_them() -> None:
    body = "<ListBucketResult><CommonPrefixes><Prefix>p/a%2B+/</Prefix></CommonPrefixes></ListBucketResult>"
    page = Document(body.encode()).listing("p/")
    assert (list(page.prefixes), page.next_token) == (["a%2B+/"], None)


def test_every_key_that_xml_can_write_comes_back() -> None:
    keys = ["a&b<c>'\"", "line\nfeed", "carriage\rreturn", "é☃", "]]>"]
    body = deletion("p/", {ObjectKey(key): ETag("e&") for key in keys})
    found = ElementTree.fromstring(body).iter(f"{{{NAMESPACE}}}Object")
    assert [[part.text for part in one] for one in found] == [[f"p/{key}", "e&"] for key in keys]

"""Where requests go: scheme, host and path by bucket, region and endpoint, as botocore decides."""

import json
import os
from pathlib import Path
from typing import Any

import botocore.loaders
import botocore.session
import pytest

from s3mount.store import s3_client
from s3mount.store.settings import StoreSettings
from tests.unit.store.conftest import Endpoint


@pytest.mark.parametrize(
    ("settings", "base_url"),
    [
        (StoreSettings("photos"), "https://photos.s3.amazonaws.com/"),
        (StoreSettings("photos", region="eu-west-1"), "https://photos.s3.eu-west-1.amazonaws.com/"),
        (StoreSettings("my.photos", region="eu-west-1"), "https://s3.eu-west-1.amazonaws.com/my.photos/"),
        (
            StoreSettings("photos", region="eu-west-1", addressing_style="path"),
            "https://s3.eu-west-1.amazonaws.com/photos/",
        ),
        (StoreSettings("photos", endpoint_url="http://127.0.0.1:9000"), "http://127.0.0.1:9000/photos/"),
        (
            StoreSettings("photos", endpoint_url="https://s3.example.com", addressing_style="virtual"),
            "https://photos.s3.example.com/",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_base_url(endpoint: Endpoint, settings: StoreSettings, base_url: str) -> None:
    sent: list[str] = []
    boto = s3_client.build(settings, sent.append)
    try:
        assert boto.base_url == base_url
        assert boto.region == (settings.region or "us-east-1")
    finally:
        boto.close()
    assert sent == []


def test_without_credentials_the_client_is_made_all_the_same(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    boto = s3_client.build(StoreSettings("photos"), lambda _: None)
    boto.close()
    assert boto.credentials is None
    assert boto.base_url == "https://photos.s3.amazonaws.com/"


def test_descriptions_of_other_services_are_not_looked_for(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))  # a search path that was not read yet
    looked_into: list[str] = []
    listdir = os.listdir

    def note(folder: str) -> list[str]:
        looked_into.append(folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", note)
    boto = s3_client.build(StoreSettings("photos"), lambda _: None)
    boto.close()
    assert any(folder.endswith("s3") for folder in looked_into)
    assert len(looked_into) < 10


def test_descriptions_are_read_once_for_all_clients(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        boto = s3_client.build(StoreSettings("photos"), lambda _: None)
        boto.client.close()
        boto.asker.close()
        monkeypatch.delattr(botocore.loaders.JSONFileLoader, "load_file", raising=False)


def test_a_description_of_s3_in_the_configured_folder_counts(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It may come with a store that has calls of its own."""
    version = tmp_path / "s3" / "2006-03-01"
    version.mkdir(parents=True)
    own = botocore.session.Session().get_service_data("s3") | {"documentation": "of this store"}
    (version / "service-2.json").write_text(json.dumps(own))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    boto = s3_client.build(StoreSettings("photos"), lambda _: None)
    boto.close()
    assert boto.client.meta.service_model.documentation == "of this store"


def test_the_second_client_is_made_when_it_is_asked_for(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start would pay for it, and few mounts use it."""
    made: list[object] = []
    create_client = botocore.session.Session.create_client

    def note(self: botocore.session.Session, *arguments: Any, **keywords: Any) -> Any:
        made.append(create_client(self, *arguments, **keywords))
        return made[-1]

    monkeypatch.setattr(botocore.session.Session, "create_client", note)
    boto = s3_client.build(StoreSettings("photos"), lambda _: None)
    try:
        assert made == [boto.client]
        assert boto.asker is boto.asker
        assert made == [boto.client, boto.asker]
        assert boto.asker.meta.config.read_timeout < boto.client.meta.config.read_timeout
    finally:
        boto.close()

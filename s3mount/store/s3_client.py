"""Builds the botocore clients of a store: configuration, credentials, time-outs, request counting.

Called once by open_store. The clients are used from many threads; they do not retry (store/retry.py does). boto3 makes
the same; its own helpers for files would take as long to load as a tenth of all this.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

from s3mount.errors import UsageError
from s3mount.store.credentials import RereadCredentials, RereadProvider
from s3mount.store.settings import StoreSettings

DEFAULT_REGION = "us-east-1"


class Boto:
    """Two clients that differ in their time-outs, and where their parts came from. `credentials` None: none were found,
    every request will say so. `base_url`: what an object's URL begins with, up to the key."""

    def __init__(
        self,
        client: "S3Client",
        make_asker: Callable[[], "S3Client"],
        *,
        base_url: str,
        credentials: RereadCredentials | None,
        region: str,
        ca_bundle: str | None,
    ) -> None:
        self.client = client
        self.base_url = base_url
        self.credentials = credentials
        self.region = region
        self.ca_bundle = ca_bundle
        self._make_asker = make_asker
        self._asker: S3Client | None = None
        self._lock = threading.Lock()

    @property
    def asker(self) -> "S3Client":
        """For requests that change nothing and that somebody waits for. Made at its first use, which is rare."""
        with self._lock:
            if self._asker is None:
                self._asker = self._make_asker()
            return self._asker

    def close(self) -> None:
        self.client.close()
        with self._lock:
            if self._asker is not None:
                self._asker.close()


def find_credentials(profile: str | None) -> Credentials | None:
    """What the standard AWS chain leads to now. Raises botocore's exceptions; may take a few seconds, as `build`."""
    return botocore.session.Session(profile=profile).get_credentials()


def build(settings: StoreSettings, count: Callable[[str], None]) -> Boto:
    """Make the client. Raises botocore's exceptions, e.g. for an unknown profile, and UsageError for its endpoint.
    Finding credentials may ask the instance metadata service, for a few seconds when there is none."""
    core = botocore.session.Session(profile=settings.profile)
    # Not core.get_credentials, which would keep what it found, and sign with that for good.
    found = core.get_component("credential_provider").load_credentials()
    provider = RereadProvider(found, lambda: find_credentials(settings.profile))
    core.register_component("credential_provider", provider)
    core.register_component("data_loader", _loader(tuple(core.get_component("data_loader").search_paths)))
    region = settings.region or core.get_config_variable("region") or DEFAULT_REGION
    config = Config(
        signature_version="s3v4",
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        retries={"total_max_attempts": 1},
        max_pool_connections=settings.connections,
        tcp_keepalive=True,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": settings.addressing_style, "payload_signing_enabled": False},
    )
    impatient = Config(
        connect_timeout=min(settings.connect_timeout_s, settings.asking_deadline_s / 4),
        # Half the deadline, so that one more try fits in.
        read_timeout=settings.asking_deadline_s / 2,
    )

    def count_request(event_name: str, **_: Any) -> None:
        # The event is "before-send.s3.GetObject"; it comes again when botocore follows a redirect.
        count(event_name.rpartition(".")[2])

    def make(config: Config) -> Any:
        made: Any = core.create_client("s3", region_name=region, endpoint_url=settings.endpoint_url, config=config)
        made.meta.events.register("before-send.s3", count_request)
        return made

    with _endpoint_judged():
        client = make(config)
    if "@" in urlsplit(client.meta.endpoint_url).netloc:
        # Errors show the address and the index keeps it; the command line's was looked at before.
        raise UsageError("the endpoint of the AWS configuration holds a user name or password: give keys instead")

    return Boto(
        client,
        lambda: make(config.merge(impatient)),
        base_url=_find_base_url(client, settings.bucket),
        credentials=provider.current,
        region=region,
        ca_bundle=core.get_config_variable("ca_bundle"),
    )


@lru_cache(maxsize=1)
def _loader(folders: tuple[str, ...]) -> "_S3Loader":
    """One for all clients of the process, as it keeps what it read: reading is two thirds of what making one costs, and
    `doctor` makes four."""
    return _S3Loader(list(folders), include_default_search_paths=False)


class _S3Loader(Loader):
    """Of botocore's descriptions of services. Its own looks into the folders of all 400 before it reads that of S3, for
    the text of an error: a fifth of what making a client costs."""

    def list_available_services(self, type_name: str) -> list[str]:
        return ["s3"]


@contextlib.contextmanager
def _endpoint_judged() -> Iterator[None]:
    """botocore's own error shows the whole address, and whatever stands before the last @ may be a password."""
    try:
        yield
    except BotoCoreError:
        raise
    except ValueError as error:
        shown = str(error).rpartition("@")[2]
        raise UsageError(f"the endpoint of the AWS configuration cannot be used: {shown}") from error


class _UrlFound(Exception):
    """Ends a request before it is signed."""


def _find_base_url(client: "S3Client", bucket: str) -> str:
    """Of a request that is not sent. A presigned URL would not do: it names AWS's global host for any region."""
    urls: list[str] = []

    def note(request: AWSRequest, **_: Any) -> None:
        urls.append(request.url or "")
        raise _UrlFound

    event_name = "before-sign.s3.PutObject"
    client.meta.events.register_first(event_name, note)
    with contextlib.suppress(_UrlFound):
        client.put_object(Bucket=bucket, Key="k")
    client.meta.events.unregister(event_name, note)
    return urls[0].removesuffix("k")

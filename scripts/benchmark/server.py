"""The one S3 server of a run: SeaweedFS on loopback, with its own count of the requests it answered.

Counted at the server, so that every peer is counted the same way. SeaweedFS tells HEAD and GET apart no better than
AWS's price list does.
"""

import re
import urllib.request
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import botocore.session
from botocore.config import Config

from s3mount.demo.seaweedfs import LOOPBACK, SeaweedServer, free_ports

ACCESS_KEY = "s3mountbench"
SECRET_KEY = "s3mountbenchsecret"
REGION = "us-east-1"
CONNECTIONS_MAX = 16

_COUNT = re.compile(r'^SeaweedFS_s3_request_total\{bucket="([^"]*)",code="\d+",type="([A-Z]+)"\} (\d+)', re.MULTILINE)


class BenchServer:
    """Entered: running. `endpoint_url`, `client` (boto3) and the counts are for everybody."""

    def __init__(self, folder: Path) -> None:
        (metrics_port,) = free_ports(1)
        self._metrics_url = f"http://{LOOPBACK}:{metrics_port}/metrics"
        flags = (f"-metricsPort={metrics_port}",)
        self._server = SeaweedServer(folder, access_key=ACCESS_KEY, secret_key=SECRET_KEY, extra_flags=flags)
        self._own: Counter[tuple[str, str]] = Counter()
        self._buckets = 0
        self.client: Any = None

    def __enter__(self) -> Self:
        self._server.start()
        self.client = botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=CONNECTIONS_MAX),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.client is not None:
            self.client.close()
        self._server.stop()

    @property
    def endpoint_url(self) -> str:
        return self._server.endpoint_url

    def make_bucket(self) -> str:
        self._buckets += 1
        bucket = f"bench-{self._buckets}"
        self.client.create_bucket(Bucket=bucket)
        self._own[bucket, "PUT"] += 1
        return bucket

    def drop_bucket(self, bucket: str) -> None:
        """With all that is in it: SeaweedFS keeps disk volumes for each bucket, and has few."""
        while found := self.client.list_objects_v2(Bucket=bucket).get("Contents", []):
            keys = [{"Key": item["Key"]} for item in found]
            self.client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        self.client.delete_bucket(Bucket=bucket)

    def holds(self, bucket: str, prefix: str = "") -> tuple[int, int]:
        """(objects, bytes), directory markers left out. Its requests are not counted."""
        count = size = 0
        token: dict[str, str] = {}
        while True:
            page = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix, **token)
            self._own[bucket, "LIST"] += 1
            files = [item for item in page.get("Contents", []) if not item["Key"].endswith("/")]
            count += len(files)
            size += sum(item["Size"] for item in files)
            if not page.get("IsTruncated"):
                return count, size
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def version(self, bucket: str, key: str) -> str:
        """The object's ETag. Its request is not counted."""
        found: str = self.client.head_object(Bucket=bucket, Key=key)["ETag"]
        self._own[bucket, "GET"] += 1
        return found

    def requests(self, bucket: str) -> Counter[str]:
        """Requests for this bucket since it was made, by kind, without this benchmark's own."""
        with urllib.request.urlopen(self._metrics_url, timeout=10) as reply:
            text = reply.read().decode()
        counts: Counter[str] = Counter()
        for name, kind, number in _COUNT.findall(text):
            if name == bucket:
                counts[kind] += int(number)
        for (name, kind), number in self._own.items():
            if name == bucket:
                counts[kind] -= number
        return +counts

    def environment(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}

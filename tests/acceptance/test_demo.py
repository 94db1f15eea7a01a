"""`s3mount demo` as a person tries it: started, used, started again, stopped, and started once more over its data."""

import configparser
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from s3mount.control.processes import start_time
from s3mount.demo.seaweedfs import SeaweedServer
from tests.support.cli_mount import CliMount
from tests.support.mount_process import is_mounted
from tests.support.s3_server import S3Server

SAMPLE = "notes/2026/naïve résumé – 日本語.txt"
START_DEADLINE_S = 100.0


def objects_of(folder: Path, endpoint_url: str) -> dict[str, bytes]:
    """The bucket through plain boto3, with the keys that the demo wrote down for its user."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string((folder / "credentials").read_text())
    client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        config=Config(proxies={}),
        **dict(parser["default"]),
    )
    with contextlib.closing(client):
        keys = [found["Key"] for found in client.list_objects_v2(Bucket="demo").get("Contents", [])]
        return {key: client.get_object(Bucket="demo", Key=key)["Body"].read() for key in keys}


def endpoint_in(text: str) -> str:
    found = re.search(r"s3://demo on (http://127\.0\.0\.1:\d+) is mounted at", text)
    assert found is not None, text
    return found[1]

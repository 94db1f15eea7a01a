"""Start a SeaweedFS server that outlives this program, and make a bucket: `s3_server.py FOLDER BUCKET --port PORT`.

For .github/workflows/windows.yml; keys and region are those of the environment. Prints the server's process id.
"""

import argparse
import os
from pathlib import Path

import boto3

from s3mount.demo.seaweedfs import SeaweedServer


def main() -> None:
    parser = argparse.ArgumentParser(description="A SeaweedFS server with a bucket.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("bucket")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    server = SeaweedServer(
        given.folder.resolve(),
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        port=given.port,
    )
    server.start(deadline_s=120.0)
    boto3.client("s3", endpoint_url=server.endpoint_url).create_bucket(Bucket=given.bucket)
    print(server.pid)


if __name__ == "__main__":
    main()

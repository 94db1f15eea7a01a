"""s3mount: a drive over an S3 bucket, made for backup."""

__version__ = "0.1.0"

"""An S3 server on this computer, so that s3mount can be tried and tested without an account."""

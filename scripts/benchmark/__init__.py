"""The benchmark behind scripts/bench: one S3 server, each drive mounted in turn, the same work done on it."""
